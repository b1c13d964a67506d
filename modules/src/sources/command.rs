//! Driver `command`: what a program prints, and a program that reads it again.
//!
//! No shell, no file in between, and the exit status is the truth: a stream whose program did not exit with 0 is
//! void, whatever came out of it.

use super::printed::Printed;
use super::{Head, Load, Said, SourceError, WayBack, World};
use crate::child::{self, Channel, ChildError, Limits, Program, Stream};
use std::io::Read;

/// Starts a program that prints.
pub(super) fn start_dump<'a>(
    argv: &[String],
    limits: Limits,
    world: World<'a>,
    said: &'a mut Said<'a>,
) -> Result<Printed<Stream<'a>>, SourceError> {
    let stream = child::stream(&Program::new(argv), world.around, limits, world.cancelled, said)?;
    Ok(Printed::new(stream, Head { kind: "command".into(), ..Head::default() }))
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
