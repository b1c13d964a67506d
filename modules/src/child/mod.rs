//! Programs that are not ours: started, watched, ended.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | what a program is, how it can end, the ways to run one |
//! | `find.rs` | the file that a name means; what keeps it from being run |
//! | `spawn.rs` | the process: its group, user, directory, environment |
//! | `timer.rs` | a timer of the kernel |
//! | `drive.rs` | one loop that reads, writes, waits, counts time and ends the process group |
//! | `lines.rs` | lines of bounded length from whatever bytes come |
//! | `stream.rs` | a program whose output is read as a stream |
//! | `talk.rs` | a program one talks with |
//! | `withheld.rs` | what programs do not get |
//! | `error.rs` | what went wrong, and what to do |
//!
//! Rules for every program:
//! - No shell, unless the arguments name one. Its environment is [`Surroundings`] and [`Program::env`], nothing of this
//!   process's. It begins in `/` if it does not say where; its standard input is empty unless it is fed.
//! - It leads a process group. What is left of the group when it has ended, and [`DRAIN`] later still holds its output, is
//!   killed: nothing of the group outlives the call (except [`launch`], whose purpose that is). A program that is to stay
//!   leaves the group, as daemons do.
//! - If its time is over, or the run is cancelled, the group gets TERM, and KILL [`GRACE`] later.
//! - Memory is bounded: lines are cut at [`MAX_LINE`] bytes, [`TAIL`] bytes of its messages are kept for errors.
//!
//! Time is counted by timers of the kernel (`timerfd`), so nothing here asks a clock. Needs Linux 5.3 (`pidfd`).

mod drive;
mod error;
mod find;
mod lines;
mod spawn;
mod stream;
mod talk;
#[cfg(test)]
mod tests;
mod timer;
mod withheld;

pub use error::ChildError;
pub use stream::Stream;
pub use talk::{Talk, Wrote};
pub use withheld::Withheld;

use drive::{Running, Start};
use lines::Lines;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a program that was told to end has before it is killed.
pub const GRACE: Duration = Duration::from_secs(5);

/// How long the output of a program that has ended is waited for: something else may hold its pipe.
pub const DRAIN: Duration = Duration::from_secs(1);

/// Longest line in bytes; what is beyond is left out.
pub const MAX_LINE: usize = 4096;

/// Bytes of standard error that are kept: the last ones.
pub const TAIL: usize = 4096;

/// The status by which shells and `setpriv` say that a program is there and cannot be run.
const CANNOT_RUN: i32 = 126;
/// The status by which they say that it is not there.
const NOT_FOUND: i32 = 127;

/// What programs that are started get of this process's world; given by the program `dedup`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `PATH`, `HOME`, `LANG` and the like; never passphrases. Programs are looked for in `PATH`.
    pub env: Vec<(OsString, OsString)>,
    /// What they do not get: where passwords may be.
    pub withheld: Withheld,
}

impl Surroundings {
    /// Hands on these variables, and withholds nothing.
    pub fn of(env: Vec<(OsString, OsString)>) -> Self {
        Self { env, withheld: Withheld::default() }
    }

    /// Returns the value of a variable.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
    }

    /// Returns whether there is a program of this name.
    pub fn has(&self, program: &str) -> bool {
        find::find(OsStr::new(program), None, self.get("PATH")).is_ok()
    }
}

/// A program to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments. Without a slash it is looked for in `PATH`; with one, relative to `cwd`.
    pub argv: Vec<OsString>,
    /// As whom, by name or number; `HOME`, `USER` and `LOGNAME` follow. None: as we are.
    pub user: Option<String>,
    /// Where; none: in `/`.
    pub cwd: Option<PathBuf>,
    /// Further variables of its environment; they win over the surroundings.
    pub env: Vec<(OsString, OsString)>,
}

impl Program {
    /// Returns a program that needs nothing but arguments.
    pub fn new<S: Into<OsString>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Returns a text that `/bin/sh -c` reads.
    pub fn shell(text: impl Into<OsString>) -> Self {
        Self::new([OsString::from("/bin/sh"), OsString::from("-c"), text.into()])
    }

    /// Returns the name for messages: the program as it was written.
    pub fn name(&self) -> String {
        self.argv.first().map(|first| shown(first)).unwrap_or_default()
    }

    /// Returns whether the program itself is not there; any other reason not to run is none.
    pub fn is_missing(&self, around: &Surroundings) -> bool {
        let Some(name) = self.argv.first() else { return false };
        matches!(
            find::find(name, self.cwd.as_deref(), self.path(around)),
            Err(ChildError::Missing { .. } | ChildError::NotInPath { .. })
        )
    }

    fn path<'a>(&'a self, around: &'a Surroundings) -> Option<&'a OsStr> {
        let own = self.env.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.as_os_str());
        own.or_else(|| around.get("PATH"))
    }
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How long a program may take; none: as long as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub total: Option<Duration>,
    /// Without a byte of output, while somebody wants one.
    pub idle: Option<Duration>,
}

impl From<Option<Duration>> for Limits {
    fn from(total: Option<Duration>) -> Self {
        Self { total, idle: None }
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this status.
    Exit(i32),
    /// By a signal that was not ours.
    Signal(i32),
    /// By us: its time was over.
    TimedOut(Duration),
    /// By us: it said nothing for so long.
    Silent(Duration),
    /// By us: the run was cancelled.
    Cancelled,
}

/// A program that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How.
    pub ended: Ended,
    /// The last [`TAIL`] bytes it wrote to standard error, made printable.
    pub stderr: String,
}

impl Finished {
    /// Returns whether it exited with 0.
    pub fn is_success(&self) -> bool {
        self.ended == Ended::Exit(0)
    }

    /// Returns an error that tells everything unless it exited with 0.
    pub fn success(self, program: &Program) -> Result<(), ChildError> {
        if self.is_success() { Ok(()) } else { Err(self.into_error(program)) }
    }

    /// Returns an error that tells how it ended.
    pub fn into_error(self, program: &Program) -> ChildError {
        ChildError::Failed { program: program.name(), ended: self.ended, stderr: self.stderr }
    }
}

/// What a program printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// How it ended.
    pub finished: Finished,
    /// Its standard output, from the beginning.
    pub stdout: Vec<u8>,
    /// Whether there was more of it.
    pub was_cut: bool,
}

/// Runs a program to its end; `line` gets what it prints, made printable, line by line as it comes.
///
/// `cancelled` is asked ten times a second.
pub fn run(
    program: &Program,
    around: &Surroundings,
    limits: impl Into<Limits>,
    cancelled: &dyn Fn() -> bool,
    line: &mut dyn FnMut(Channel, &str),
) -> Result<Finished, ChildError> {
    run_lines(program, around, limits.into(), cancelled, line, Start::Empty)
}

/// As [`run`], but what it leaves in its process group goes on: for programs whose purpose is to start something.
///
/// What goes on loses the pipes it may have inherited, [`DRAIN`] after the program has ended.
pub fn launch(
    program: &Program,
    around: &Surroundings,
    limits: impl Into<Limits>,
    cancelled: &dyn Fn() -> bool,
    line: &mut dyn FnMut(Channel, &str),
) -> Result<Finished, ChildError> {
    run_lines(program, around, limits.into(), cancelled, line, Start::Leaving)
}

fn run_lines(
    program: &Program,
    around: &Surroundings,
    limits: Limits,
    cancelled: &dyn Fn() -> bool,
    line: &mut dyn FnMut(Channel, &str),
    start: Start,
) -> Result<Finished, ChildError> {
    let mut running = Running::start(program, around, limits, start)?;
    tell_lines(&mut running, cancelled, line, &mut |_| Ok(()))?;
    running.finish()
}

/// Tells what a program prints until it has ended; `before` is what is done before each wait for it.
fn tell_lines(
    running: &mut Running,
    cancelled: &dyn Fn() -> bool,
    line: &mut dyn FnMut(Channel, &str),
    before: &mut dyn FnMut(&mut Running) -> Result<(), ChildError>,
) -> Result<(), ChildError> {
    let (mut out, mut err) = (Lines::new(), Lines::new());
    loop {
        before(running)?;
        let done = running.turn(cancelled, &mut |channel, bytes| match channel {
            Channel::Out => out.take(bytes, &mut |text| line(channel, text)),
            Channel::Err => err.take(bytes, &mut |text| line(channel, text)),
        })?;
        if done {
            break;
        }
    }
    out.end(&mut |text| line(Channel::Out, text));
    err.end(&mut |text| line(Channel::Err, text));
    Ok(())
}

/// Runs a program to its end and keeps up to `max_bytes` of its standard output.
pub fn output(
    program: &Program,
    around: &Surroundings,
    limits: impl Into<Limits>,
    cancelled: &dyn Fn() -> bool,
    max_bytes: usize,
) -> Result<Captured, ChildError> {
    let mut running = Running::start(program, around, limits.into(), Start::Empty)?;
    let (mut stdout, mut was_cut) = (Vec::new(), false);
    loop {
        let done = running.turn(cancelled, &mut |channel, bytes| {
            if channel == Channel::Out {
                let room = max_bytes.saturating_sub(stdout.len()).min(bytes.len());
                was_cut |= room < bytes.len();
                stdout.extend(bytes.iter().take(room));
            }
        })?;
        if done {
            break;
        }
    }
    Ok(Captured { finished: running.finish()?, stdout, was_cut })
}

/// As [`stream`], with these few bytes as its standard input.
pub fn stream_fed<'a>(
    program: &Program,
    around: &Surroundings,
    limits: impl Into<Limits>,
    cancelled: &'a dyn Fn() -> bool,
    line: &'a mut dyn FnMut(&str),
    input: Zeroizing<Vec<u8>>,
) -> Result<Stream<'a>, ChildError> {
    let start = if input.is_empty() { Start::Empty } else { Start::Fed };
    let running = Running::start(program, around, limits.into(), start)?;
    Ok(Stream::new(running, program, cancelled, line, input))
}

/// Starts a program whose standard output is read as a stream; `line` gets its standard error.
///
/// See [`Stream`] for what its end means.
pub fn stream<'a>(
    program: &Program,
    around: &Surroundings,
    limits: impl Into<Limits>,
    cancelled: &'a dyn Fn() -> bool,
    line: &'a mut dyn FnMut(&str),
) -> Result<Stream<'a>, ChildError> {
    stream_fed(program, around, limits, cancelled, line, Zeroizing::default())
}

/// Runs a program to its end with all of `input` as its standard input.
///
/// An error of `input` ends the program and is returned. A program that exits without having read everything is no
/// error here; the second value says whether everything was written to its pipe.
pub fn feed(
    program: &Program,
    around: &Surroundings,
    limits: impl Into<Limits>,
    cancelled: &dyn Fn() -> bool,
    input: &mut dyn Read,
    line: &mut dyn FnMut(Channel, &str),
) -> Result<(Finished, bool), ChildError> {
    let mut running = Running::start(program, around, limits.into(), Start::Fed)?;
    tell_lines(&mut running, cancelled, line, &mut |running| {
        running.refill(input).map_err(|source| ChildError::Input { program: program.name(), source })
    })?;
    let was_fed = running.was_fed();
    Ok((running.finish()?, was_fed))
}

/// Shows a name in messages: on one line, of bounded length.
fn shown(text: &OsStr) -> String {
    lines::printable(text.as_encoded_bytes())
}

/// Shows a path in messages.
fn shown_path(path: &Path) -> String {
    shown(path.as_os_str())
}
