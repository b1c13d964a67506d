//! One loop for everything that happens to a program: it writes, wants to read, ends, takes too long.
//!
//! ```text
//! running ──limit, silence, cancelled──► TERM, 5 s ──► KILL, 5 s ──► stuck
//!    └───────────── ends ────┴──────────────┴──► output closed, or 1 s ──► KILL to what is left of the group ──► reaped
//! ```
//!
//! The leader is reaped last: until then its number, which is that of the group, cannot be given to anybody else, so no
//! signal can hit a stranger.

use super::spawn::spawn;
use super::timer::Timer;
use super::{Channel, ChildError, DRAIN, Ended, Finished, GRACE, Limits, Program, Surroundings, TAIL, lines};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, test_kill_process_group};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::thread;
use std::time::Duration;

/// How often it is asked whether the run is cancelled.
const ASK: Duration = Duration::from_millis(100);

/// Bytes read or written at a time: the usual size of a pipe.
const BLOCK: usize = 64 << 10;

/// Bytes that are taken at a time to be written.
const SAY: usize = 4 * BLOCK;

/// What a program begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// An empty standard input.
    Empty,
    /// A standard input that is written to.
    Fed,
    /// An empty one; and what it leaves running in its group is left alone.
    Leaving,
}

/// A program that runs.
pub(super) struct Running {
    name: String,
    child: Child,
    group: Pid,
    pidfd: OwnedFd,
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    input: Option<ChildStdin>,
    /// What is to be written next; empty and `input` gone: everything was.
    pending: Vec<u8>,
    fed: bool,
    start: Start,
    limits: Limits,
    limit: Timer,
    idle: Timer,
    grace: Timer,
    /// The leader has ended, and is not reaped.
    ended: bool,
    killed: bool,
    /// Why we ended it.
    why: Option<Ended>,
    tail: VecDeque<u8>,
    reaped: bool,
}

impl Running {
    pub(super) fn start(
        program: &Program,
        around: &Surroundings,
        limits: Limits,
        start: Start,
    ) -> Result<Self, ChildError> {
        let name = program.name();
        let watch = |error: Errno| ChildError::Watch { program: program.name(), source: error.into() };
        // Before there is a program that would have to be ended if there were no timers.
        let (limit, idle, grace) = (Timer::new(), Timer::new(), Timer::new());
        let (limit, idle, grace) = (limit.map_err(watch)?, idle.map_err(watch)?, grace.map_err(watch)?);
        let stdin = if start == Start::Fed { Stdio::piped() } else { Stdio::null() };
        let mut child = spawn(program, around, stdin)?;
        let opened = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH);
        let opened = opened.and_then(|pid| Ok((pid, pidfd_open(pid, PidfdFlags::empty())?)));
        let (group, pidfd) = match opened {
            Ok(both) => both,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(watch(error));
            }
        };
        let running = Self {
            name,
            group,
            pidfd,
            out: child.stdout.take(),
            err: child.stderr.take(),
            input: child.stdin.take(),
            child,
            pending: Vec::new(),
            fed: false,
            start,
            limits,
            limit,
            idle,
            grace,
            ended: false,
            killed: false,
            why: None,
            tail: VecDeque::new(),
            reaped: false,
        };
        if let Some(input) = &running.input {
            let flags = fcntl_getfl(input).and_then(|flags| fcntl_setfl(input, flags | OFlags::NONBLOCK));
            flags.map_err(|error| running.watch(error.into()))?;
        }
        if let Some(total) = limits.total {
            running.limit.set(total).map_err(|error| running.watch(error.into()))?;
        }
        running.stir()?;
        Ok(running)
    }

    /// Waits for the next thing to happen and deals with it; returns whether all is over.
    pub(super) fn turn(
        &mut self,
        cancelled: &dyn Fn() -> bool,
        sink: &mut dyn FnMut(Channel, &[u8]),
    ) -> Result<bool, ChildError> {
        let seen = self.wait().map_err(|error| self.watch(error.into()))?;
        if seen.out {
            self.read(Channel::Out, sink)?;
        }
        if seen.err {
            self.read(Channel::Err, sink)?;
        }
        if seen.input {
            self.write()?;
        }
        if seen.ended && !self.ended {
            self.ended = true;
            // What did not end by TERM keeps the rest of its time.
            if self.why.is_none() {
                self.grace_for(DRAIN)?;
            }
        }
        if self.ended {
            return Ok((self.out.is_none() && self.err.is_none()) || seen.grace || self.killed);
        }
        if self.why.is_none() {
            let limit = self.limits.total.filter(|_| seen.limit).map(Ended::TimedOut);
            let idle = self.limits.idle.filter(|_| seen.idle && !seen.out && !seen.err).map(Ended::Silent);
            let by_us = limit.or(idle).or_else(|| cancelled().then_some(Ended::Cancelled));
            if by_us.is_some() {
                self.why = by_us;
                self.signal(Signal::TERM);
                // One that is stopped would not notice otherwise.
                self.signal(Signal::CONT);
                self.grace_for(GRACE)?;
            }
        } else if seen.grace && !self.killed {
            self.killed = true;
            self.signal(Signal::KILL);
            self.grace_for(GRACE)?;
        } else if seen.grace {
            // Not waited for: that could last for ever.
            self.reaped = true;
            return Err(ChildError::Stuck { program: self.name.clone(), pid: self.child.id() });
        }
        Ok(false)
    }

    /// Ends what is left of the group and returns how the program ended.
    pub(super) fn finish(mut self) -> Result<Finished, ChildError> {
        let left_alone = self.start == Start::Leaving && self.why.is_none();
        if !left_alone {
            self.signal(Signal::KILL);
        }
        let status = self.child.wait();
        self.reaped = true;
        let status = status.map_err(|error| self.watch(error))?;
        if !left_alone {
            await_end_of_group(self.group);
        }
        let ended = self.why.unwrap_or_else(|| match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exit(code),
            (None, signal) => Ended::Signal(signal.unwrap_or_default()),
        });
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        Ok(Finished { ended, stderr: lines::printable_lines(&tail) })
    }

    /// Gets more to write, if there is nothing left.
    pub(super) fn refill(&mut self, from: &mut dyn Read) -> io::Result<()> {
        if self.input.is_none() || !self.pending.is_empty() {
            return Ok(());
        }
        self.pending.resize(BLOCK, 0);
        let count = loop {
            match from.read(&mut self.pending) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.pending.truncate(count);
        if count == 0 {
            self.fed = true;
            self.input = None;
        }
        Ok(())
    }

    /// Takes what is to be written next, if everything before was.
    pub(super) fn say(&mut self, say: &mut Vec<u8>) {
        if self.input.is_none() {
            say.clear();
        } else if self.pending.is_empty() && !say.is_empty() {
            // A part of much: what was written is taken from its beginning.
            let rest = say.split_off(say.len().min(SAY));
            self.pending = std::mem::replace(say, rest);
        }
    }

    /// Returns how many bytes were not written yet.
    pub(super) fn unsaid(&self) -> usize {
        self.pending.len()
    }

    /// Closes its standard input.
    pub(super) fn hang_up(&mut self) {
        self.input = None;
    }

    /// Returns whether it has closed its standard output.
    pub(super) fn is_mute(&self) -> bool {
        self.out.is_none()
    }

    /// Returns the number of its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns whether everything was written to its standard input.
    pub(super) fn was_fed(&self) -> bool {
        self.fed
    }

    fn wait(&self) -> Result<Seen, Errno> {
        let mut fds: Vec<Watched<'_>> = Vec::with_capacity(7);
        let mut add = |fd, flags, mark| fds.push((PollFd::from_borrowed_fd(fd, flags), mark));
        if let Some(out) = &self.out {
            add(out.as_fd(), PollFlags::IN, |seen: &mut Seen| seen.out = true);
        }
        if let Some(err) = &self.err {
            add(err.as_fd(), PollFlags::IN, |seen: &mut Seen| seen.err = true);
        }
        if let Some(input) = self.input.as_ref().filter(|_| !self.pending.is_empty()) {
            add(input.as_fd(), PollFlags::OUT, |seen: &mut Seen| seen.input = true);
        }
        if !self.ended {
            add(self.pidfd.as_fd(), PollFlags::IN, |seen: &mut Seen| seen.ended = true);
        }
        // A timer that has run out stays so: it is looked at only while it matters.
        if self.ended || self.why.is_some() {
            add(self.grace.fd(), PollFlags::IN, |seen: &mut Seen| seen.grace = true);
        } else {
            add(self.limit.fd(), PollFlags::IN, |seen: &mut Seen| seen.limit = true);
            add(self.idle.fd(), PollFlags::IN, |seen: &mut Seen| seen.idle = true);
        }
        let (mut only, marks): (Vec<_>, Vec<_>) = fds.into_iter().unzip();
        let ask = Timespec { tv_sec: 0, tv_nsec: i64::from(ASK.subsec_nanos()) };
        let mut seen = Seen::default();
        match poll(&mut only, Some(&ask)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(seen),
            Err(error) => return Err(error),
        }
        for (fd, mark) in only.iter().zip(marks) {
            if !fd.revents().is_empty() {
                mark(&mut seen);
            }
        }
        Ok(seen)
    }

    /// Reads once, which does not block: there is something, or the other end is closed.
    fn read(&mut self, channel: Channel, sink: &mut dyn FnMut(Channel, &[u8])) -> Result<(), ChildError> {
        let mut block = [0; BLOCK];
        let read = match channel {
            Channel::Out => self.out.as_mut().map(|pipe| pipe.read(&mut block)),
            Channel::Err => self.err.as_mut().map(|pipe| pipe.read(&mut block)),
        };
        let count = match read {
            Some(Ok(count)) => count,
            Some(Err(error)) if error.kind() != ErrorKind::Interrupted => return Err(self.watch(error)),
            _ => return Ok(()),
        };
        if count == 0 {
            match channel {
                Channel::Out => self.out = None,
                Channel::Err => self.err = None,
            }
            return Ok(());
        }
        self.stir()?;
        let bytes = block.get(..count).unwrap_or_default();
        if channel == Channel::Err {
            self.tail.extend(bytes.iter().skip(count.saturating_sub(TAIL)));
            let over = self.tail.len().saturating_sub(TAIL);
            self.tail.drain(..over);
        }
        sink(channel, bytes);
        Ok(())
    }

    fn write(&mut self) -> Result<(), ChildError> {
        let Some(input) = &mut self.input else { return Ok(()) };
        match input.write(&self.pending) {
            Ok(count) => {
                self.pending.drain(..count);
                self.stir()?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            // It reads no more; its status tells whether that was right.
            Err(_) => self.input = None,
        }
        Ok(())
    }

    /// Begins to count silence anew.
    pub(super) fn stir(&self) -> Result<(), ChildError> {
        let set = self.limits.idle.map_or(Ok(()), |idle| self.idle.set(idle));
        set.map_err(|error| self.watch(error.into()))
    }

    fn grace_for(&self, time: Duration) -> Result<(), ChildError> {
        self.grace.set(time).map_err(|error| self.watch(error.into()))
    }

    /// Sends a signal to the group; that nobody is left to get it is fine.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.group, signal);
    }

    fn watch(&self, source: io::Error) -> ChildError {
        ChildError::Watch { program: self.name.clone(), source }
    }
}

/// A program that nobody waits for any more.
impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
            await_end_of_group(self.group);
        }
    }
}

/// What is waited for, and what it means when it comes.
type Watched<'fd> = (PollFd<'fd>, fn(&mut Seen));

/// What has happened.
#[derive(Default)]
struct Seen {
    out: bool,
    err: bool,
    input: bool,
    ended: bool,
    limit: bool,
    idle: bool,
    grace: bool,
}

/// Waits until killed processes are gone: half a second at most, since one whose parent does not ask for it stays.
fn await_end_of_group(group: Pid) {
    for _ in 0..100 {
        if test_kill_process_group(group).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
