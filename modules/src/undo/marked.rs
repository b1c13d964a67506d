//! Programs of a run that died: they are known by a variable that only they have.

use rustix::process::{Pid, Signal, getpid, kill_process};

/// The variable that every program of a run has, but for those that start services.
pub const RUN_VARIABLE: &str = "DEDUP_RUN";

/// Ends what a dead run's programs are still doing; what belongs to other users stays out of reach.
pub fn end_marked(run: &str) {
    let mark = format!("{RUN_VARIABLE}={run}");
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        let number = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(pid) = number.and_then(Pid::from_raw).filter(|pid| *pid != getpid()) else { continue };
        let Ok(environment) = std::fs::read(process.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            // It may be gone by now.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
