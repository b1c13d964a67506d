//! A client program that is confided in: of this machine, or of a container.

use super::confide::Confided;
use super::container::Container;
use super::{Asking, EndpointError};
use crate::child::{self, Captured, Channel, ChildError, Finished, Limits, Program, Stream, Surroundings};
use std::ffi::OsString;
use std::io::{self, Cursor, Read};
use std::time::Duration;
use zeroize::Zeroizing;

/// What a shell in a container does: so many bytes of its standard input become a file that has no name any more and
/// only this program can open; the rest stays for the program.
const SCRIPT: &str = r#"umask 077
f=$(mktemp) || exit 125
n=$1
shift
dd bs=1 count="$n" of="$f" 2>/dev/null || { rm -f "$f"; exit 125; }
exec 3<"$f"
rm -f "$f"
exec "$@""#;
/// How the program there opens it.
const THERE: &str = "/proc/self/fd/3";
/// How long a look whether a program is there may take.
const ASK: Duration = Duration::from_secs(60);

/// Where a client runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    Here,
    /// In a container.
    In(Container),
}

/// What only the client may read, and how it learns where.
#[derive(Clone)]
pub struct Confidence {
    /// The content of the file.
    pub content: Zeroizing<Vec<u8>>,
    /// By an argument that ends with its path (`--defaults-extra-file=`), or a variable of its environment
    /// (`PGPASSFILE`).
    pub by: By,
}

/// How a client learns where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The first argument: this, and the path.
    Argument(&'static str),
    /// This variable.
    Variable(&'static str),
}

/// A client program, what it is told openly, and what in confidence.
#[derive(Clone)]
pub struct Call {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// Further variables of its environment.
    pub env: Vec<(OsString, OsString)>,
    /// What nobody else may see.
    pub confidence: Option<Confidence>,
}

/// A client that can be started.
pub struct Client {
    program: Program,
    /// What its standard input begins with.
    first: Zeroizing<Vec<u8>>,
    /// Kept as long as the client runs.
    _confided: Option<Confided>,
}

impl Place {
    /// Makes a client ready to start.
    pub fn client(&self, call: Call) -> Result<Client, EndpointError> {
        let Call { mut argv, mut env, confidence } = call;
        let name = argv.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut confided = None;
        let mut content = Zeroizing::default();
        if let Some(confidence) = confidence {
            let path = match self {
                Self::Here => {
                    let made = Confided::new(&name, &confidence.content);
                    let made = made.map_err(|source| EndpointError::Confide { program: name, source })?;
                    confided.insert(made).path().into_os_string()
                }
                Self::In(_) => {
                    content = confidence.content;
                    THERE.into()
                }
            };
            match confidence.by {
                By::Argument(begin) => {
                    let mut argument = OsString::from(begin);
                    argument.push(path);
                    argv.insert(1.min(argv.len()), argument);
                }
                By::Variable(name) => env.push((name.into(), path)),
            }
        }
        let program = match self {
            Self::Here => Program { env, ..Program::new(argv) },
            Self::In(container) => {
                let mut words: Vec<OsString> = Vec::new();
                if !env.is_empty() {
                    words.push("env".into());
                    words.extend(env.into_iter().map(|(name, mut value)| {
                        let mut word = name;
                        word.push("=");
                        word.push(std::mem::take(&mut value));
                        word
                    }));
                }
                words.extend(argv);
                if !content.is_empty() {
                    let sh = ["sh", "-c", SCRIPT, "sh"].map(OsString::from);
                    let count = OsString::from(content.len().to_string());
                    words = sh.into_iter().chain([count]).chain(words).collect();
                }
                container.exec(words, true)
            }
        };
        Ok(Client { program, first: content, _confided: confided })
    }

    /// Returns whether there is a program of this name.
    pub fn has(&self, program: &str, asking: Asking<'_>) -> Result<bool, EndpointError> {
        let Self::In(container) = self else {
            return Ok(!Program::new([program]).is_missing(asking.around));
        };
        let look = container.exec(["sh", "-c", "command -v \"$1\"", "sh", program], false);
        let captured = child::output(&look, asking.around, Some(ASK), asking.cancelled, 0)?;
        Ok(captured.finished.is_success())
    }
}

impl Client {
    /// Returns the program, for messages.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Starts it; what it prints is read as a stream.
    pub fn stream<'a>(
        self,
        around: &Surroundings,
        limits: impl Into<Limits>,
        cancelled: &'a dyn Fn() -> bool,
        line: &'a mut dyn FnMut(&str),
    ) -> Result<Running<'a>, ChildError> {
        let stream = child::stream_fed(&self.program, around, limits, cancelled, line, self.first.clone())?;
        Ok(Running { stream, client: self })
    }

    /// Runs it to its end and keeps up to `max_bytes` of what it prints.
    pub fn output(
        self,
        around: &Surroundings,
        limits: impl Into<Limits>,
        cancelled: &dyn Fn() -> bool,
        max_bytes: usize,
    ) -> Result<Captured, ChildError> {
        let mut ignored = |_: &str| {};
        let stream = &mut self.stream(around, limits, cancelled, &mut ignored)?;
        let (mut stdout, mut block, mut was_cut) = (Vec::new(), [0; 8192], false);
        while let Ok(count @ 1..) = stream.read(&mut block) {
            let room = max_bytes.saturating_sub(stdout.len()).min(count);
            was_cut |= room < count;
            stdout.extend(block.iter().take(room));
        }
        match stream.stream.finished() {
            Some(finished) => Ok(Captured { finished: finished.clone(), stdout, was_cut }),
            None => Err(ChildError::Watch {
                program: stream.client.program.name(),
                source: io::Error::other("its output could not be read"),
            }),
        }
    }

    /// Runs it to its end with all of `input` as its standard input; see [`child::feed`].
    pub fn feed(
        self,
        around: &Surroundings,
        limits: impl Into<Limits>,
        cancelled: &dyn Fn() -> bool,
        input: &mut dyn Read,
        line: &mut dyn FnMut(Channel, &str),
    ) -> Result<(Finished, bool), ChildError> {
        let mut input = Cursor::new(&*self.first).chain(input);
        child::feed(&self.program, around, limits, cancelled, &mut input, line)
    }
}

/// A client that runs, read as a stream; see [`Stream`].
pub struct Running<'a> {
    stream: Stream<'a>,
    client: Client,
}

impl Running<'_> {
    /// Returns the program, for messages.
    pub fn program(&self) -> &Program {
        &self.client.program
    }
}

impl Read for Running<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf)
    }
}
