//! The guard: a process that outlives its child and undoes what the child leaves behind.
//!
//! A run that stops services must bring them back whatever becomes of it: a bug, the OOM killer, SIGKILL. So the
//! program starts itself once more, before it has a thread of its own, and only waits. What must be undone stands in
//! the run's journal on disk (`modules/src/undo`), so this process needs to be told nothing; should it die as well,
//! `dedup recover` and the next run find the same journal.
//!
//! Signals: the terminal sends them to both. What reaches the guard is passed on as SIGUSR1, which the child takes as
//! the request to stop, however often it comes: had the guard sent the same signal again, the child would take it for
//! the second one, which ends it at once.

use crate::failure::Failure;
use crate::interrupt;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::Signals;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

/// Tells a child of the guard the id of its run.
const VARIABLE: &str = "DEDUP_GUARDED_RUN";

/// The exit code of a Rust program that panicked.
pub const PANICKED: u8 = 101;

/// Returns the id of the run that this process does under a guard; `None` without one.
pub fn guarded_run() -> Option<String> {
    let id = std::env::var(VARIABLE).ok()?;
    // It becomes a name of files; a person may have set anything.
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!id.is_empty() && id.len() <= 64 && id.bytes().all(is_id)).then_some(id)
}

/// How the child ended.
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<u8>,
    /// That signal.
    pub signal: Option<i32>,
}

/// Runs this program again with the same arguments as the run `id`, and waits for its end.
///
/// To be called before any thread is started.
pub fn watch(id: &str) -> Result<Ended, Failure> {
    let failed = |what: &str| {
        let message = format!("cannot {what} the process that does the run");
        move |error: std::io::Error| Failure::io(message.clone(), &error)
    };
    let mut signals =
        Signals::new(interrupt::signals().chain([SIGCHLD])).map_err(failed("watch for the end of"))?;
    let mut child = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, id)
        .spawn()
        .map_err(failed("start"))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    loop {
        if let Some(status) = child.try_wait().map_err(failed("wait for"))? {
            return Ok(ended(status));
        }
        for signal in signals.wait() {
            if signal != SIGCHLD
                && let Some(pid) = pid
            {
                // If the child is gone, that is what the next turn finds.
                let _ = kill_process(pid, Signal::USR1);
            }
        }
    }
}

fn ended(status: ExitStatus) -> Ended {
    Ended { code: status.code().and_then(|code| u8::try_from(code).ok()), signal: status.signal() }
}
