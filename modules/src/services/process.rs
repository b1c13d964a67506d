//! Processes by their name: told to end by TERM, and waited for; never killed, and never started.
//!
//! A name is that of the program's file, or the kernel's short name of the process (15 bytes). Only processes of our own
//! PID namespace count: a container may have one of the same name, which is another thing.

use super::tool::{To, late};
use super::{Controller, LIMIT, Noted, ServiceError, ServiceSpec};
use crate::machine::Machine;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// Longest short name of a process in bytes.
const SHORT: usize = 15;

/// How often it is looked whether a process has ended.
const STEP: Duration = Duration::from_millis(100);

/// Processes of one name.
pub(super) struct Process;

/// Returns the processes of a name.
fn find(name: &str) -> Result<Vec<Pid>, ServiceError> {
    let own = fs::read_link("/proc/self/ns/pid").map_err(ServiceError::Processes)?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(ServiceError::Processes)? {
        let entry = entry.map_err(ServiceError::Processes)?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw).filter(|pid| *pid != getpid()) else { continue };
        // One that ends meanwhile has nothing to read.
        let is_ours = fs::read_link(entry.path().join("ns/pid")).is_ok_and(|theirs| theirs == own);
        if is_ours && is_named(&entry.path(), name) {
            found.push(pid);
        }
    }
    found.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
    Ok(found)
}

/// Returns whether the process of a directory of `/proc` has a name, and is not only waiting to be buried.
fn is_named(process: &Path, name: &str) -> bool {
    let exe = fs::read_link(process.join("exe")).ok();
    let file = exe.as_deref().and_then(Path::file_name).map(|file| file.to_string_lossy().into_owned());
    let short = fs::read_to_string(process.join("comm")).unwrap_or_default();
    let named = file.is_some_and(|file| file.trim_end_matches(" (deleted)") == name);
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
        && (named || (name.len() <= SHORT && short.trim_end_matches('\n') == name))
}

impl Controller for Process {
    fn note(&self, service: &ServiceSpec, _: &Machine<'_>) -> Result<Noted, ServiceError> {
        Ok(Noted::parts(find(&service.name)?.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect()))
    }

    fn stop(&self, service: &ServiceSpec, _: &Noted, _: &Machine<'_>) -> Result<(), ServiceError> {
        // Opened before they are told: another process cannot get the number of one whose descriptor we hold.
        let open: Vec<OwnedFd> = find(&service.name)?
            .into_iter()
            .filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
            .collect();
        for process in &open {
            match pidfd_send_signal(process, Signal::TERM) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => {
                    let said = std::io::Error::from(error).to_string();
                    return Err(ServiceError::NotStopped { name: service.name.clone(), said });
                }
            }
        }
        let limit = service.stop_limit.unwrap_or(LIMIT);
        let steps = limit.as_millis().div_ceil(STEP.as_millis());
        for process in &open {
            let mut step = 0;
            while !has_ended(process) {
                step += 1;
                if step > steps {
                    return Err(late(&service.name, To::Stop, limit));
                }
            }
        }
        if find(&service.name)?.is_empty() {
            return Ok(());
        }
        let state = "running again".to_owned();
        Err(ServiceError::Stubborn { name: service.name.clone(), state, told: "end" })
    }

    fn start(&self, service: &ServiceSpec, _: &Noted, _: &Machine<'_>) -> Result<(), ServiceError> {
        // Somebody else may have started it.
        let is_back = !find(&service.name)?.is_empty();
        if is_back { Ok(()) } else { Err(ServiceError::CannotStart(service.name.clone())) }
    }
}

/// Waits a little for a process; returns whether it has ended.
fn has_ended(process: &OwnedFd) -> bool {
    let step = Timespec { tv_sec: 0, tv_nsec: i64::from(STEP.subsec_nanos()) };
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&step)), Ok(1..))
}
