//! Which modules take part in a backup, and how: arguments, in the form that a job has too.

use crate::declared;
use crate::jobs::JobDirs;
use dedup_modules::id::ModuleId;
use dedup_modules::manifest::job::{Modules, UseSnapshot};
use dedup_modules::manifest::words::Words;
use std::ffi::OsString;
use std::time::Duration;

/// Arguments about modules.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Modules")]
pub struct ModuleArgs {
    /// Back up this module, and what it requires (repeatable)
    #[arg(long = "module", short, value_name = "MODULE")]
    pub modules: Vec<ModuleId>,
    /// Leave this module out of all, or of what others require (repeatable)
    #[arg(long, value_name = "MODULE")]
    pub ignore: Vec<ModuleId>,
    /// Take the named modules only, not what they require
    #[arg(long)]
    pub no_dependencies: bool,
    /// Do what this job says: its id, or the path of its file
    ///
    /// The job says which modules take part, which repository it is, what runs before and after, what is verified, and who is
    /// told. What the command line says wins, or is added.
    #[arg(long, value_name = "NAME|PATH", conflicts_with_all = ["paths", "modules"])]
    pub job: Option<OsString>,
    /// Whether to read a filesystem snapshot, so that services stand still only while it is taken
    ///
    /// auto (default): if one covers all paths; require: fail without; off: never.
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub fs_snapshot: Option<UseSnapshot>,
    /// Wait so long for another run of modules on this machine [default: 0s; with --job what that says]
    #[arg(long, value_name = "TIME", value_parser = dedup_modules::units::duration)]
    pub lock_wait: Option<Duration>,
    #[command(flatten)]
    pub dirs: declared::ModuleDirs,
    #[command(flatten)]
    pub job_dirs: JobDirs,
}

impl ModuleArgs {
    /// Returns which modules take part, and how.
    pub fn wanted(&self) -> Wanted {
        let modules =
            if self.modules.is_empty() { Modules::All } else { Modules::Named(self.modules.clone()) };
        Wanted {
            modules,
            unselected: self.ignore.clone(),
            dependencies: !self.no_dependencies,
            use_snapshot: self.fs_snapshot.unwrap_or(UseSnapshot::Auto),
            lock_wait: self.lock_wait.unwrap_or_default(),
            allow_partial: true,
            is_of_job: false,
            dirs: self.dirs.clone(),
        }
    }
}

/// Which modules take part, and how: as the command line or a job has it.
pub struct Wanted {
    /// Which.
    pub modules: Modules,
    /// Which not.
    pub unselected: Vec<ModuleId>,
    /// Whether what they require takes part too.
    pub dependencies: bool,
    /// Whether a filesystem snapshot is read.
    pub use_snapshot: UseSnapshot,
    /// How long another run is waited for.
    pub lock_wait: Duration,
    /// Whether a snapshot is published that lacks something.
    pub allow_partial: bool,
    /// Whether a job says so.
    pub is_of_job: bool,
    /// Where further manifests are.
    pub dirs: declared::ModuleDirs,
}

impl Wanted {
    /// Returns whether a module is named.
    pub fn names(&self, id: &ModuleId) -> bool {
        matches!(&self.modules, Modules::Named(ids) if ids.contains(id))
    }
}

fn when(text: &str) -> Result<UseSnapshot, String> {
    UseSnapshot::from_word(text).ok_or_else(|| "it is auto, require or off".into())
}
