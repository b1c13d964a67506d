//! Every program that a manifest names, and whether it may be started.

use crate::manifest::Manifest;
use crate::manifest::drivers::Driver;
use crate::manifest::endpoint::{Endpoint, mysql_dump_program};
use crate::manifest::hooks::{Hook, Where};
use crate::manifest::job::Job;
use crate::manifest::lifecycle::{LockdownWay, Revert, SetupState};
use crate::manifest::paths::{ManifestPath, Variables};
use crate::manifest::programs::Program;
use crate::manifest::secret::Secret;
use crate::trust::{Trust, TrustError};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A program that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The key where it stands: `hooks.backup_pre`, `setup.install`, `service.NAME.stop`.
    pub at: String,
    /// The program and its arguments; with `shell`, one text.
    pub argv: Vec<String>,
    /// Whether a shell reads it.
    pub shell: bool,
    /// As whom it runs, if not as who runs `dedup`.
    pub user: Option<String>,
    /// The container it runs in; none: this machine.
    pub container: Option<String>,
    /// The directory it runs in.
    pub cwd: Option<ManifestPath>,
}

/// Why a program is not started.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is not there, or somebody else could have written it.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The user is not known.
    #[error("there is no user {0}")]
    NoUser(String),
    /// A path variable has no value.
    #[error(transparent)]
    Variable(#[from] crate::manifest::paths::UnknownVariable),
}

impl CommandError {
    /// Says what to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Trust(error) => error.hint(),
            _ => None,
        }
    }
}

impl Named {
    /// Checks the program by the rules of who runs it: with `user`, of that user, who could do no more by it than
    /// without. Returns its path without links; `None` for what runs in a container or is read by a shell, of which the
    /// manifest is all there is to trust.
    pub fn check(
        &self,
        trust: Trust,
        search: &[PathBuf],
        variables: &Variables,
        uid_of: &dyn Fn(&str) -> Option<u32>,
    ) -> Result<Option<PathBuf>, CommandError> {
        if self.container.is_some() || self.shell {
            return Ok(None);
        }
        let rules = match &self.user {
            None => trust,
            Some(user) => Trust::of(uid_of(user).ok_or_else(|| CommandError::NoUser(user.clone()))?),
        };
        let mut argv: Vec<OsString> = self.argv.iter().map(OsString::from).collect();
        if let Some(cwd) = &self.cwd {
            let cwd = cwd.resolve(variables)?;
            // As the system looks it up once it is there; a bare name is looked for in PATH.
            for path in argv.iter_mut().filter(|path| path.to_string_lossy().contains('/')) {
                if Path::new(path).is_relative() {
                    *path = cwd.join(&path).into();
                }
            }
        }
        Ok(Some(rules.command(&argv, search)?))
    }
}

/// Returns every program that a manifest names, in the order of the guide.
pub fn commands(manifest: &Manifest) -> Vec<Named> {
    let mut found = Vec::new();
    let mut add = |at: String, argv: &[String]| {
        if !argv.is_empty() {
            let argv = argv.to_vec();
            found.push(Named { at, argv, shell: false, user: None, container: None, cwd: None });
        }
    };
    for source in &manifest.sources {
        let name = &source.name;
        add(format!("source.{name}.dump"), &source.dump);
        add(format!("source.{name}.load"), &source.load);
        let endpoints = [("endpoint", &source.endpoint), ("restore_endpoint", &source.restore_endpoint)];
        for (key, endpoint) in endpoints.into_iter().filter_map(|(key, it)| Some((key, it.as_ref()?))) {
            of_endpoint(&mut add, &format!("source.{name}.{key}"), source.driver, endpoint);
        }
    }
    for service in &manifest.services {
        let (name, of) = (&service.name, &service.commands);
        for (key, argv) in [("status", &of.status), ("stop", &of.stop), ("start", &of.start)] {
            add(format!("service.{name}.{key}"), argv);
        }
    }
    if let Some(LockdownWay::Commands { on, off, status }) = manifest.lockdown.as_ref().map(|lock| &lock.way)
    {
        for (key, argv) in [("on", on), ("off", off), ("status", status)] {
            add(format!("lockdown.{key}"), argv);
        }
    }
    if let SetupState::Command(argv) = &manifest.setup.state {
        add("setup.state".into(), argv);
    }
    add("setup.install".into(), &manifest.setup.install);
    add("setup.upgrade".into(), &manifest.setup.upgrade);
    if let Revert::Command(argv) = &manifest.spaces.revert {
        add("spaces.revert".into(), argv);
    }
    for legacy in &manifest.legacy {
        add("legacy.command".into(), &legacy.command);
    }
    for (at, external) in [("exporter", &manifest.exporter), ("importer", &manifest.importer)] {
        let Some(external) = external else { continue };
        let Program::Command(argv) = &external.program else { continue };
        found.push(Named {
            at: at.into(),
            argv: argv.clone(),
            shell: false,
            user: external.user.clone(),
            container: None,
            cwd: external.cwd.clone(),
        });
    }
    found.extend(manifest.hooks.all().map(|(point, hook)| of_hook(point, hook)));
    found
}

/// Returns every program that a job file names.
pub fn commands_of_job(job: &Job) -> Vec<Named> {
    let points = [("before", &job.hooks.before), ("after", &job.hooks.after), ("error", &job.hooks.error)];
    let hooks = points.iter().flat_map(|(point, hooks)| hooks.iter().map(move |hook| of_hook(point, hook)));
    let command = job.notify.iter().filter(|notify| !notify.command.is_empty()).map(|notify| Named {
        at: "notify.command".into(),
        argv: notify.command.clone(),
        shell: false,
        user: None,
        container: None,
        cwd: None,
    });
    hooks.chain(command).collect()
}

fn of_hook(point: &str, hook: &Hook) -> Named {
    let container = match &hook.place {
        Where::Host => None,
        Where::Container(name) => Some(name.clone()),
    };
    Named {
        at: format!("hooks.{point}"),
        argv: hook.run.clone(),
        shell: hook.shell,
        user: hook.user.clone(),
        container,
        cwd: hook.cwd.clone(),
    }
}

fn of_endpoint(add: &mut dyn FnMut(String, &[String]), at: &str, driver: Driver, endpoint: &Endpoint) {
    if let Some(Secret::Exec(argv)) = &endpoint.password {
        add(format!("{at}.password"), argv);
    }
    if let Some(client) = &endpoint.client
        && endpoint.container.is_none()
        && endpoint.compose_service.is_none()
    {
        add(format!("{at}.client"), std::slice::from_ref(client));
        if matches!(driver, Driver::Mariadb | Driver::Mysql) {
            add(format!("{at}.client"), &[mysql_dump_program(client)]);
        }
    }
}
