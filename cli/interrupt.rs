//! Interruptions: the first one asks a long operation to stop and keep what is finished, the second ends
//! the process at once. Outside of long operations the first one does that already.

use crate::failure::Failure;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What SIGINT, SIGTERM and SIGHUP do.
#[derive(Clone, Debug)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    at_once: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes the signals over.
    pub fn install() -> Result<Self, Failure> {
        let interrupt = Self { asked: Arc::default(), at_once: Arc::new(AtomicBool::new(true)) };
        let code = crate::exit::Exit::Interrupted.code().into();
        for signal in signals() {
            // In this order: the second signal finds the mark that the first one left.
            flag::register_conditional_shutdown(signal, code, Arc::clone(&interrupt.at_once))
                .and_then(|_| flag::register_conditional_shutdown(signal, code, Arc::clone(&interrupt.asked)))
                .and_then(|_| flag::register(signal, Arc::clone(&interrupt.asked)))
                .map_err(|error| Failure::io("cannot watch for signals", &error))?;
        }
        if crate::guard::guarded_run().is_some() {
            // From the guard, perhaps beside one of the others: never the second one.
            flag::register_conditional_shutdown(SIGUSR1, code, Arc::clone(&interrupt.at_once))
                .and_then(|_| flag::register(SIGUSR1, Arc::clone(&interrupt.asked)))
                .map_err(|error| Failure::io("cannot watch for signals", &error))?;
        }
        Ok(interrupt)
    }

    /// Lets the first signal be a request from here on, until the guard is dropped.
    pub fn operation(&self) -> Operation<'_> {
        self.at_once.store(false, Ordering::SeqCst);
        Operation(self)
    }

    /// Returns whether the person asked to stop.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Returns the signals that ask this process to stop. The one that says that the terminal is gone is none of them under
/// `nohup`, which has it ignored.
pub fn signals() -> impl Iterator<Item = i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let stays = ignored & (1 << (SIGHUP - 1)) != 0;
    [SIGINT, SIGTERM].into_iter().chain((!stays).then_some(SIGHUP))
}

/// A long operation, which ends by itself when asked to.
#[derive(Debug)]
pub struct Operation<'a>(&'a Interrupt);

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        self.0.at_once.store(true, Ordering::SeqCst);
    }
}
