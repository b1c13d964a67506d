//! Programs of a run that died: they are known by variables that only they have.

use crate::machine::{ACTING_VARIABLE, RUN_VARIABLE};
use rustix::process::{Pid, Signal, getpid, kill_process};
use std::thread::sleep;
use std::time::Duration;

/// How long programs that change the state of something are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often they are looked for.
const TICK: Duration = Duration::from_millis(50);

/// Ends what a dead run's hooks and dumps are still doing, and waits for programs that were stopping or locking
/// something: what is started while its stop goes on would be stopped again.
///
/// What belongs to other users stays out of reach.
pub fn end_marked(run: &str) {
    for pid in marked(RUN_VARIABLE, run) {
        // It may be gone by now.
        let _ = kill_process(pid, Signal::KILL);
    }
    let mut waited = Duration::ZERO;
    while waited < PATIENCE && !marked(ACTING_VARIABLE, run).is_empty() {
        sleep(TICK);
        waited += TICK;
    }
}

/// Returns the processes that have the variable with this value.
fn marked(variable: &str, value: &str) -> Vec<Pid> {
    let mark = format!("{variable}={value}");
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let is_marked = |process: &std::fs::DirEntry| {
        std::fs::read(process.path().join("environ"))
            .is_ok_and(|all| all.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()))
    };
    let pid = |process: std::fs::DirEntry| {
        let number = process.file_name().to_str()?.parse::<i32>().ok()?;
        Pid::from_raw(number).filter(|pid| *pid != getpid() && is_marked(&process))
    };
    processes.flatten().filter_map(pid).collect()
}
