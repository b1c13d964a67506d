//! Driver `command`: what a program prints, and a program that reads it again.
//!
//! No shell, no file in between, and the exit status is the truth: a stream whose program did not exit with 0 is
//! void, whatever came out of it.

use super::{Dump, Head, Load, Said, SourceError, WayBack, World};
use crate::child::{self, Channel, ChildError, Limits, Program, Stream};
use std::io::{self, Read};

/// A program that prints.
pub(super) struct CommandDump<'a> {
    stream: Stream<'a>,
    head: Head,
    bytes: u64,
    at_end: bool,
    failed: Option<SourceError>,
}

impl<'a> CommandDump<'a> {
    pub(super) fn start(
        argv: &[String],
        limits: Limits,
        world: World<'a>,
        said: &'a mut Said<'a>,
    ) -> Result<Self, SourceError> {
        let stream = child::stream(&Program::new(argv), world.around, limits, world.cancelled, said)?;
        let head = Head { kind: "command".into(), ..Head::default() };
        Ok(Self { stream, head, bytes: 0, at_end: false, failed: None })
    }
}

impl Read for CommandDump<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        match self.stream.read(out) {
            Ok(count) => {
                self.bytes = self.bytes.saturating_add(count as u64);
                self.at_end = count == 0;
                Ok(count)
            }
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                if self.failed.is_none() {
                    self.failed = Some(match error.downcast::<ChildError>() {
                        Ok(child) => child.into(),
                        Err(other) => SourceError::Stream(other),
                    });
                }
                Err(told)
            }
        }
    }
}

impl Dump for CommandDump<'_> {
    fn head(&self) -> &Head {
        &self.head
    }

    fn finish(self: Box<Self>) -> Result<u64, SourceError> {
        match self.failed {
            Some(failed) => Err(failed),
            None if self.at_end => Ok(self.bytes),
            None => Err(SourceError::Unfinished),
        }
    }
}

/// A program that reads.
pub(super) struct CommandLoad<'a> {
    program: Program,
    limits: Limits,
    world: World<'a>,
    said: &'a mut Said<'a>,
}

impl<'a> CommandLoad<'a> {
    pub(super) fn new(
        argv: &[String],
        limits: Limits,
        world: World<'a>,
        said: &'a mut Said<'a>,
    ) -> Result<Self, SourceError> {
        match argv.is_empty() {
            true => Err(SourceError::NoLoad),
            false => Ok(Self { program: Program::new(argv), limits, world, said }),
        }
    }
}

impl Load for CommandLoad<'_> {
    fn check(&mut self) -> Result<(), SourceError> {
        match self.program.is_missing(self.world.around) {
            true => Err(SourceError::NoProgram { program: self.program.name() }),
            false => Ok(()),
        }
    }

    fn prepare(&mut self, _: &mut dyn Read) -> Result<WayBack, SourceError> {
        Ok(WayBack::DumpFirst)
    }

    fn put(self: Box<Self>, bytes: &mut dyn Read) -> Result<(), SourceError> {
        let Self { program, limits, world, said } = *self;
        let mut line = |channel, text: &str| {
            if channel == Channel::Err {
                said(text);
            }
        };
        let fed = child::feed(&program, world.around, limits, world.cancelled, bytes, &mut line);
        let (finished, was_fed) = match fed {
            Err(ChildError::Input { source, .. }) => return Err(SourceError::Stream(source)),
            result => result?,
        };
        finished.success(&program)?;
        match was_fed {
            true => Ok(()),
            false => Err(SourceError::NotAllRead { program: program.name() }),
        }
    }
}
