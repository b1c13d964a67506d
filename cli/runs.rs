//! Runs of modules, as the program sees them: their ids, what they may use of this machine, what dead ones left.

use crate::context::Context;
use crate::declared;
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::find_repo::create_private_dir;
use crate::guard;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::run_log::{self, LogOf, RunLog, Told};
use crate::state_dir::state_dir;
use dedup_engine::error::Kind;
use dedup_engine::planted::{Bug, planted};
use dedup_modules::catalog::Catalog;
use dedup_modules::child::{Surroundings, Withheld};
use dedup_modules::fsnap;
use dedup_modules::machine::Machine;
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::lifecycle::Keep;
use dedup_modules::manifest::programs::Severity;
use dedup_modules::undo::{Header, Keeping, Left, Undoing, carry_out_left, journal, kept, settle_leftovers};
use jiff::Zoned;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Variables of the environment that programs get which a run starts: what they need to find files, people and words,
/// never what opens a repository.
const HANDED_ON: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "DOCKER_HOST",
];
/// Where programs are looked for if the environment does not say: services often run without `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The directory below that of state whose files are what `store:NAME` of manifests means.
const SECRETS: &str = "secrets";

/// How often a lock is tried.
const LOCK_TICK: Duration = Duration::from_millis(200);

/// A run of modules.
pub struct ModuleRun<'c> {
    /// Held until the end: the kernel lets go of it whatever becomes of this process.
    _lock: File,
    header: Header,
    state_dir: PathBuf,
    around: Surroundings,
    log: RunLog,
    cancelled: Box<dyn Fn() -> bool + Sync + 'c>,
    elapsed: Box<dyn Fn() -> Duration + Sync + 'c>,
}

impl<'c> ModuleRun<'c> {
    /// Begins a run: there is one at a time, and what dead runs left is undone first.
    ///
    /// # Errors
    /// Busy if another run goes on for longer than `patience`. Refused if something of a dead one still stands still:
    /// a second run would take that for the usual state.
    pub fn begin(ctx: &'c Context, operation: &str, patience: Duration) -> Result<Self, Failure> {
        Self::begin_of(ctx, operation, patience, &LogOf::default())
    }

    /// Begins a run, of a job perhaps, with a log that says so.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn begin_of(
        ctx: &'c Context,
        operation: &str,
        patience: Duration,
        of: &LogOf,
    ) -> Result<Self, Failure> {
        let state_dir = state_dir()?;
        create_private_dir(&state_dir)?;
        let lock = lock(ctx, &state_dir, patience)?;
        let left = if planted(Bug::ForgetDeadRuns) { Vec::new() } else { recover(&ctx.output, None)? };
        if let Some(run) = left.iter().find(|run| !run.is_settled()) {
            return Err(Failure::refused(format!(
                "the run {} died, and what it left cannot be undone",
                escape::text(&run.header.run)
            ))
            .hint("mend what is said above, then run `dedup recover`"));
        }
        settle_leftovers(&journal_dir(&state_dir), &state_dir)?;
        let run = guard::guarded_run().unwrap_or_else(new_id);
        let begun = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        let log = RunLog::begin(ctx.output, &state_dir, &run, operation, of)?;
        let interrupt: Interrupt = ctx.interrupt();
        Ok(Self {
            _lock: lock,
            header: Header { run, operation: operation.to_owned(), begun },
            state_dir,
            around: surroundings(),
            log,
            cancelled: Box::new(move || interrupt.asked()),
            elapsed: Box::new(|| ctx.elapsed()),
        })
    }

    /// Returns what of this machine the run works with.
    pub fn machine(&self) -> Machine<'_> {
        Machine {
            run: &self.header.run,
            around: &self.around,
            log: &self.log,
            state_dir: &self.state_dir,
            cancelled: &*self.cancelled,
            elapsed: &*self.elapsed,
        }
    }

    /// Returns the file of its log.
    pub fn log_path(&self) -> &Path {
        self.log.path()
    }

    /// Ends the log of the run with how it ended.
    pub fn finish(&self, result: &Result<Exit, Failure>) {
        if planted(Bug::LogNoEnd) {
            return;
        }
        if let Err(failure) = result {
            // It is the error that the command ends with.
            self.log.note(Severity::Error, None, &failure.message);
        }
        self.log.finish(result.as_ref().map_or_else(|failure| failure.exit, |exit| *exit));
    }

    /// Lets go of restores that are kept longer, or of more of them, than the manifests say (step 17, R16).
    pub fn expire(&self, output: &Output, catalog: &Catalog) {
        let keeping = |id: &str| {
            let named = |manifest: &&Manifest| match &manifest.spaces.id {
                Some(name) => name.eq_ignore_ascii_case(id),
                None => manifest.module.id.as_str() == id,
            };
            match catalog.usable().find(named)?.spaces.keep? {
                Keep::Count(count) => Some(Keeping::Count(usize::try_from(count).unwrap_or(usize::MAX))),
                Keep::For(period) => Some(Keeping::For(period.at_most())),
            }
        };
        match kept::expire(&self.state_dir.join(kept::DIR), SystemTime::now(), &keeping) {
            Ok(gone) => {
                for (id, why) in gone.iter().filter_map(|(id, gone)| Some((id, gone.as_ref().err()?))) {
                    output
                        .warning(&format!("what was kept of {}: it is still there: {why}", escape::text(id)));
                }
            }
            Err(error) => output.warning(&error.to_string()),
        }
    }

    /// Does `work`, undoes what is left of it, and warns of what could not be undone.
    pub fn carry_out<'m, T>(
        &self,
        ctx: &Context,
        machine: &Machine<'m>,
        work: impl FnOnce(&mut Undoing<'m>) -> T,
    ) -> Result<T, Failure> {
        let mut undoing = self.undoing(machine)?;
        let done = {
            let _operation = ctx.operation();
            work(&mut undoing)
        };
        settle(ctx, undoing)?;
        Ok(done)
    }

    /// Begins the list of what must be undone.
    pub fn undoing<'m>(&self, machine: &Machine<'m>) -> Result<Undoing<'m>, Failure> {
        Ok(Undoing::begin(&journal_dir(&self.state_dir), self.header.clone(), *machine)?)
    }
}

/// Undoes what is left of a run, and warns of what could not be undone.
pub fn settle(ctx: &Context, undoing: Undoing<'_>) -> Result<(), Failure> {
    let undone = undoing.finish();
    ctx.progress.finish();
    for failed in undone? {
        ctx.output.warning(&format!("{failed}; `dedup recover` tries it again"));
    }
    Ok(())
}

/// Takes the lock of this machine's runs of modules.
fn lock(ctx: &Context, state_dir: &Path, patience: Duration) -> Result<File, Failure> {
    let path = state_dir.join("run.lock");
    let failed = |error: std::io::Error| Failure::io(format!("cannot lock {}", path.display()), &error);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if planted(Bug::RunTogether) => return Ok(file),
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if begun.elapsed() < patience && !ctx.interrupt().asked() => {
                std::thread::sleep(LOCK_TICK);
            }
            Err(Errno::WOULDBLOCK) => {
                return Err(Failure::new(Kind::Busy, "another run of modules goes on on this machine")
                    .hint("wait for its end, or let this one wait: --lock-wait 1h"));
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
}

/// Makes an id for a run: when it began, and something that no other has.
pub fn new_id() -> String {
    let begun = Zoned::now().strftime("%Y%m%d-%H%M%S");
    format!("{begun}-{:x}", std::process::id())
}

/// Returns what programs get of this process's world.
pub fn surroundings() -> Surroundings {
    let (mut env, mut withheld): (Vec<_>, Vec<_>) =
        std::env::vars_os().partition(|(name, _)| HANDED_ON.iter().any(|handed| name == handed));
    // Nor does anybody else who asks for a password by the name of a variable get what opens a repository.
    withheld.retain(|(name, _)| !name.as_encoded_bytes().starts_with(b"DEDUP_"));
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".into(), PATH.into()));
    }
    let store = state_dir().ok().map(|dir| dir.join(SECRETS));
    Surroundings { env, withheld: Withheld::new(withheld, store) }
}

/// Returns the directory of undo journals.
fn journal_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("runs")
}

/// Works with the machine outside of any run.
pub fn beside<T>(output: Output, work: impl FnOnce(&Machine<'_>) -> T) -> Result<T, Failure> {
    let state_dir = state_dir()?;
    let around = surroundings();
    let begun = Instant::now();
    Ok(work(&Machine {
        run: "",
        around: &around,
        log: &Told(output),
        state_dir: &state_dir,
        cancelled: &|| false,
        elapsed: &move || begun.elapsed(),
    }))
}

/// Works with the machine as a dry run does: no lock, no log, no journal; what dead runs left stays.
pub fn dry<T>(ctx: &Context, work: impl FnOnce(&Machine<'_>) -> T) -> Result<T, Failure> {
    let (run, interrupt) = (new_id(), ctx.interrupt());
    beside(ctx.output, |machine| work(&Machine { run: &run, cancelled: &|| interrupt.asked(), ..*machine }))
}

/// Removes filesystem snapshots and copies that dead runs of this state directory left and no journal knows any more. Returns
/// each with why it could not be removed. Others are only named: somebody else's run may be reading them.
pub fn remove_snapshots(ctx: &Context) -> Result<Vec<(PathBuf, Option<String>)>, Failure> {
    let state_dir = state_dir()?;
    create_private_dir(&state_dir)?;
    // A run that goes on has its own.
    let Ok(_lock) = lock(ctx, &state_dir, Duration::ZERO) else { return Ok(Vec::new()) };
    let around = surroundings();
    let mut removed = Vec::new();
    for left in fsnap::leftovers(&around, declared::copies(&ctx.config)?.as_deref()) {
        if journal::path_of(&journal_dir(&state_dir), &left.run).exists() {
            continue;
        }
        let place = escape::text(&left.place.display().to_string());
        if !run_log::dir(&state_dir).join(format!("{}.log", left.run)).exists() {
            ctx.output.note(&format!(
                "{place} is the filesystem snapshot of a run that is not known here; if it does not go on elsewhere, remove it"
            ));
            continue;
        }
        let failed = fsnap::delete(&around, &left).err().map(|error| error.to_string());
        match &failed {
            None => ctx.output.note(&format!("done: delete the filesystem snapshot {place}")),
            Some(why) => ctx.output.warning(&format!("cannot delete the filesystem snapshot {place}: {why}")),
        }
        removed.push((left.place, failed));
    }
    Ok(removed)
}

/// Undoes what dead runs left, all of them or one, and says what was done.
pub fn recover(output: &Output, only: Option<&str>) -> Result<Vec<Left>, Failure> {
    let left = beside(*output, |machine| carry_out_left(&journal_dir(machine.state_dir), only, machine))??;
    left.iter().for_each(|run| tell(output, run));
    Ok(left)
}

fn tell(output: &Output, run: &Left) {
    let Header { run: id, operation, .. } = &run.header;
    let (id, operation) = (escape::text(id), escape::text(operation));
    output.warning(&format!("the {operation} {id} died; what it left is undone now"));
    if let Some(damage) = &run.damage {
        output.warning(&damage.to_string());
    }
    for carried in &run.carried {
        match &carried.failed {
            None => output.note(&format!("done: {}", carried.what)),
            Some(why) => output.warning(&format!("cannot {}: {why}", carried.what)),
        }
    }
}
