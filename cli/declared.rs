//! What is declared on this machine, found and read: manifests of `modules.d`, jobs of `jobs.d`.
//!
//! Directories, lowest first: `/etc/dedup`, the user's configuration directory, those of `--modules-dir`.

use crate::config::Config;
use crate::context::Context;
use crate::failure::Failure;
use crate::find_repo;
use dedup_modules::catalog::{
    Catalog, CommandError, Declared, Dir, Entry, Fault, Named, Platforms, Rank, Shelf, Wrong, commands, load,
    shipped,
};
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::lifecycle::SetupState;
use dedup_modules::manifest::paths::Variables;
use dedup_modules::manifest::platform::Platform;
use dedup_modules::trust::{Trust, TrustError};
use std::path::PathBuf;

/// Where further manifests are.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct ModuleDirs {
    /// Read manifests in this directory too; may be given again, and the later one decides
    ///
    /// Manifests are read in /etc/dedup/modules.d and in dedup/modules.d of the user's configuration directory first.
    #[arg(long = "modules-dir", value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
}

/// Returns whose files may decide what this process does.
pub fn trust() -> Trust {
    Trust::of(nix::unistd::geteuid().as_raw())
}

/// Returns the directory for copies, if the configuration names one: others must not be able to put something else into it.
pub fn copies(config: &Config) -> Result<Option<PathBuf>, Failure> {
    let Some(named) = &config.snapshot_copies else { return Ok(None) };
    let whole = std::path::absolute(named)
        .map_err(|error| Failure::io(format!("{} is no usable path", named.display()), &error))?;
    match trust().open_dir(&whole) {
        // That it is not there is told by whoever wants to use it.
        Err(error) if !error.is_missing() => Err(error.into()),
        _ => Ok(Some(whole)),
    }
}

/// Returns the directories of a kind, lowest first.
pub fn dirs(name: &str, given: &[PathBuf]) -> Result<Vec<Dir>, Failure> {
    let mut dirs = vec![Dir { path: PathBuf::from("/etc/dedup").join(name), rank: Rank::System }];
    let user = find_repo::base_dir("XDG_CONFIG_HOME", ".config");
    dirs.extend(user.map(|base| Dir { path: base.join("dedup").join(name), rank: Rank::User }));
    for path in given {
        let whole = std::path::absolute(path)
            .map_err(|error| Failure::io(format!("{} is no usable path", path.display()), &error))?;
        dirs.push(Dir { path: whole, rank: Rank::Given });
    }
    Ok(dirs)
}

/// Reads all manifests.
pub fn catalog(given: &ModuleDirs) -> Result<Catalog, Failure> {
    let mut catalog: Catalog = load(trust(), &dirs(<Manifest as Declared>::NAMES.1, &given.dirs)?);
    let mut platforms: Platforms = load(trust(), &dirs(<Platform as Declared>::NAMES.1, &[])?);
    shipped(&mut platforms);
    // What is wrong with one concerns the modules of it.
    catalog.faults.append(&mut platforms.faults);
    let broken: Vec<Fault> = std::mem::take(&mut platforms.entries)
        .into_iter()
        .filter_map(|(id, entry)| match entry.what {
            Err(wrong) => Some(Fault { path: entry.file, wrong }),
            what => {
                platforms.entries.insert(id, Entry { what, ..entry });
                None
            }
        })
        .collect();
    catalog.faults.extend(broken);
    catalog.on_platforms(&platforms);
    Ok(catalog)
}

/// Warns of what is not used and belongs to no module, and of path variables that nobody has.
pub fn tell_faults(ctx: &Context, catalog: &Catalog) {
    faults(ctx, catalog);
    for name in ctx.config.paths.unused(catalog) {
        ctx.output.warning(&format!("[paths] of the configuration names {name}, which no manifest declares"));
    }
}

/// Warns of what is not used and has no entry of its own.
pub fn faults<T>(ctx: &Context, shelf: &Shelf<T>) {
    for fault in &shelf.faults {
        let hint = fault.wrong.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        let reason = reason(&fault.wrong);
        let reason = match fault.wrong {
            Wrong::Trust(_) => reason,
            _ => format!("{} is not used: {reason}", fault.path.display()),
        };
        ctx.output.warning(&format!("{reason}{hint}"));
    }
    for path in &shelf.hidden {
        ctx.output.detail(&format!("{} may be read by root only", path.display()));
    }
}

/// Says on one line what is wrong; of many problems the first one.
pub fn reason(wrong: &Wrong) -> String {
    let Wrong::Problems(problems) = wrong else { return wrong.to_string() };
    let Some(first) = problems.list.first() else { return wrong.to_string() };
    let more = problems.list.len() + problems.more - 1;
    let and = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}:{}: {}{and}", problems.file, first.place, first.message)
}

/// A program of a module, and where it is, or why it would not be started.
pub type Checked = (Named, Result<Option<PathBuf>, CommandError>);

/// Looks at every program that a manifest names.
pub fn check_programs(manifest: &Manifest, variables: &Variables) -> Vec<Checked> {
    check_all(commands(manifest), variables)
}

/// Looks at programs.
pub fn check_all(all: Vec<Named>, variables: &Variables) -> Vec<Checked> {
    let search: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let uid_of = |name: &str| Some(nix::unistd::User::from_name(name).ok()??.uid.as_raw());
    let check = |named: Named| {
        let result = named.check(trust(), &search, variables, &uid_of);
        (named, result)
    };
    all.into_iter().map(check).collect()
}

/// Refuses a module if somebody else could have written a program that it would run.
///
/// # Errors
/// Which, and why. A program that is not there is none of this: its step tells it.
pub fn assert_trusted(manifest: &Manifest, variables: &Variables) -> Result<(), String> {
    for (named, result) in check_programs(manifest, variables) {
        if let Err(error @ CommandError::Trust(TrustError::Untrusted { .. })) = result {
            return Err(format!("{} is not run: {error}", named.at));
        }
    }
    Ok(())
}

/// Whether a module can take part, without running anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It can.
    Ready,
    /// Its manifest says no.
    Disabled,
    /// It was never set up.
    NeedsSetup(String),
    /// Only a program of the module knows.
    Unknown(String),
    /// Its manifest cannot be used.
    Invalid(String),
}

impl State {
    /// Returns the state of an entry.
    pub fn of(ctx: &Context, entry: &Entry<Manifest>) -> Self {
        let manifest = match &entry.what {
            Ok(manifest) => manifest,
            Err(wrong) => return Self::Invalid(reason(wrong)),
        };
        if !manifest.module.enabled {
            return Self::Disabled;
        }
        match &manifest.setup.state {
            SetupState::AlwaysReady => Self::Ready,
            SetupState::Command(argv) => Self::Unknown(format!("`{}` knows", argv.join(" "))),
            SetupState::File(file) => match file.resolve(&ctx.config.paths.of(manifest)) {
                Ok(path) if path.symlink_metadata().is_ok() => Self::Ready,
                Ok(path) => Self::NeedsSetup(format!("{} is not there", path.display())),
                Err(error) => Self::Invalid(error.to_string()),
            },
        }
    }

    /// Names it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Disabled => "disabled",
            Self::NeedsSetup(_) => "needs-setup",
            Self::Unknown(_) => "unknown",
            Self::Invalid(_) => "invalid",
        }
    }

    /// Says why.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::Disabled => Some("its manifest says enabled = false"),
            Self::NeedsSetup(why) | Self::Unknown(why) | Self::Invalid(why) => Some(why),
        }
    }
}
