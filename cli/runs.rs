//! Runs of modules, as the program sees them: their ids, what they may use of this machine, what dead ones left.

use crate::context::Context;
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::find_repo::create_private_dir;
use crate::guard;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::run_log::{RunLog, Told};
use crate::state_dir::state_dir;
use dedup_engine::error::Kind;
use dedup_modules::child::{Surroundings, Withheld};
use dedup_modules::log::Log;
use dedup_modules::machine::Machine;
use dedup_modules::manifest::programs::Severity;
use dedup_modules::undo::{Header, Left, Undoing, carry_out_left, settle_leftovers};
use jiff::Zoned;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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
        let state_dir = state_dir()?;
        create_private_dir(&state_dir)?;
        let lock = lock(ctx, &state_dir, patience)?;
        let left = recover(&ctx.output, None)?;
        if let Some(run) = left.iter().find(|run| !run.is_settled()) {
            return Err(Failure::refused(format!(
                "the run {} died, and what it left cannot be undone",
                escape::text(&run.header.run)
            ))
            .hint("mend what is said above, then run `dedup recover`"));
        }
        settle_leftovers(&journal_dir(&state_dir), &state_dir.join("aside"))?;
        let run = guard::guarded_run().unwrap_or_else(new_id);
        let begun = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        let log = RunLog::begin(ctx.output, &state_dir, &run, operation)?;
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

    /// Ends the log of the run with how it ended.
    pub fn finish(&self, result: &Result<Exit, Failure>) {
        if let Err(failure) = result {
            self.log.log(Severity::Error, None, &failure.message);
        }
        self.log.finish(result.as_ref().map_or_else(|failure| failure.exit, |exit| *exit));
    }

    /// Begins the list of what must be undone.
    pub fn undoing<'m>(&self, machine: &Machine<'m>) -> Result<Undoing<'m>, Failure> {
        Ok(Undoing::begin(&journal_dir(&self.state_dir), self.header.clone(), *machine)?)
    }
}

/// Takes the lock of this machine's runs of modules.
fn lock(ctx: &Context, state_dir: &Path, patience: Duration) -> Result<File, Failure> {
    let path = state_dir.join("run.lock");
    let failed = |error: std::io::Error| Failure::io(format!("cannot lock {}", path.display()), &error);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
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
