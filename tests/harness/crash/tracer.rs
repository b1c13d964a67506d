//! Kills a program at its n-th system call that changes a file system, counted over all of its threads.
//!
//! `strace -e inject=…:when=n` counts for each thread by itself, so most calls of a program with threads cannot
//! be named to it. This tracer stops every call, counts in the order of arrival, and can let a write write
//! less than it was asked to before the process dies.

use super::program::{Outputs, PATIENCE, Said};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};

/// Stops itself, so that the tracer can take hold of it, and becomes the program.
pub const WRAPPER: [&str; 4] = ["/bin/sh", "-c", "kill -STOP $$; exec \"$@\"", "sh"];

/// When the program dies.
#[derive(Clone, Copy, Debug)]
pub enum Death {
    /// Never.
    Never,
    /// When it enters this call, counted from 0: the call has no effect.
    Before(u64),
    /// When it leaves this call; of a write only so many 256ths of its bytes are written.
    Within(u64, u8),
    /// Never, but syncs of directories do nothing and say that all is well: a planted bug, to be found.
    NeverWithoutFolderSyncs,
}

/// What was seen of a run.
pub struct Trace {
    pub said: Said,
    /// Calls that were entered.
    pub calls: u64,
    /// Whether the tracer killed it.
    pub is_killed: bool,
}

/// Runs a command, which starts with [`WRAPPER`], to the death that it is to have.
pub fn run(mut command: Command, death: Death) -> Trace {
    let outputs = Outputs::of(&mut command);
    // What a thread traces, it alone can wait for.
    let traced = std::thread::spawn(move || trace(command, death)).join();
    let (code, calls, is_killed) = traced.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Trace { said: outputs.read(code), calls, is_killed }
}

#[expect(clippy::zombie_processes, reason = "it is waited for as a traced thread")]
fn trace(mut command: Command, death: Death) -> (Option<i32>, u64, bool) {
    let child = command.spawn().unwrap();
    let leader = Pid::from_raw(child.id().cast_signed());
    let stopped = waitpid(leader, Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert_eq!(stopped, WaitStatus::Stopped(leader, Signal::SIGSTOP));
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    ptrace::seize(leader, options).unwrap();
    kill(leader, Signal::SIGCONT).unwrap();

    let (ended, watch) = channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let is_late = watch.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if is_late {
            let _ = kill(leader, Signal::SIGKILL);
        }
        is_late
    });
    let (mut calls, mut is_killed, mut leaving) = (0, false, None);
    let mut swallowed = BTreeSet::new();
    let code = loop {
        let status = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Err(Errno::EINTR) => continue,
            status => status.unwrap(),
        };
        match status {
            WaitStatus::PtraceSyscall(tid) => {
                if let Some(len) = durable_call(tid) {
                    match death {
                        Death::Before(n) if n == calls => die(leader, &mut is_killed),
                        Death::Within(n, share) if n == calls => {
                            shorten(tid, len, share);
                            leaving = Some(tid);
                        }
                        Death::NeverWithoutFolderSyncs if swallow_folder_sync(tid) => {
                            swallowed.insert(tid.as_raw());
                        }
                        _ => {}
                    }
                    calls += 1;
                } else if swallowed.remove(&tid.as_raw()) {
                    let mut registers = ptrace::getregs(tid).unwrap();
                    registers.rax = 0;
                    ptrace::setregs(tid, registers).unwrap();
                } else if leaving == Some(tid) {
                    die(leader, &mut is_killed);
                }
                resume(tid, None);
            }
            WaitStatus::Stopped(tid, signal) => resume(tid, Some(signal)),
            WaitStatus::PtraceEvent(tid, ..) => resume(tid, None),
            WaitStatus::Exited(tid, code) if tid == leader => break Some(code),
            WaitStatus::Signaled(tid, ..) if tid == leader => break None,
            _ => {}
        }
    };
    drop(ended);
    assert!(!watchdog.join().unwrap(), "a run did not end in {PATIENCE:?}");
    (code, calls, is_killed)
}

fn die(leader: Pid, is_killed: &mut bool) {
    *is_killed = kill(leader, Signal::SIGKILL).is_ok();
}

/// Lets a thread go on; one that has died meanwhile need not.
fn resume(tid: Pid, signal: Option<Signal>) {
    match ptrace::syscall(tid, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Returns whether a thread enters a call that changes a file system, and for a write how many bytes.
fn durable_call(tid: Pid) -> Option<Option<u64>> {
    /// What the kernel has put in `rax` when a call is entered.
    const ENTERED: u64 = (-(libc::ENOSYS as i64)).cast_unsigned();
    let registers = ptrace::getregs(tid).ok().filter(|registers| registers.rax == ENTERED)?;
    let number = registers.orig_rax.cast_signed();
    match number {
        libc::SYS_write | libc::SYS_pwrite64 => Some(Some(registers.rdx)),
        libc::SYS_openat => (registers.rdx & libc::O_CREAT as u64 != 0).then_some(None),
        libc::SYS_open => (registers.rsi & libc::O_CREAT as u64 != 0).then_some(None),
        _ => CALLS.contains(&number).then_some(None),
    }
}

/// What changes a file system beside writes and calls that may create a file.
const CALLS: [libc::c_long; 36] = [
    libc::SYS_creat,
    libc::SYS_writev,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_copy_file_range,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_syncfs,
    libc::SYS_sync,
    libc::SYS_msync,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_rmdir,
    libc::SYS_mknodat,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_fremovexattr,
];

/// If a thread is about to sync a directory, makes it do nothing instead; what that returns is set later.
fn swallow_folder_sync(tid: Pid) -> bool {
    let mut registers = ptrace::getregs(tid).unwrap();
    let is_sync = registers.orig_rax.cast_signed() == libc::SYS_fsync;
    let path = format!("/proc/{tid}/fd/{}", registers.rdi);
    if !is_sync || !std::fs::metadata(path).is_ok_and(|there| there.is_dir()) {
        return false;
    }
    // No call has this number.
    registers.orig_rax = u64::MAX;
    ptrace::setregs(tid, registers).is_ok()
}

/// Makes a write that is being entered write less.
fn shorten(tid: Pid, len: Option<u64>, share: u8) {
    if let Some(len) = len
        && let Ok(mut registers) = ptrace::getregs(tid)
    {
        registers.rdx = (u128::from(len) * u128::from(share) / 256) as u64;
        // The thread may have been killed meanwhile, by a watchdog.
        let _ = ptrace::setregs(tid, registers);
    }
}
