//! A program one talks with: it reads and writes as it likes, and nobody waits for the other.

use super::drive::{Running, Start};
use super::lines::Lines;
use super::{Channel, ChildError, Finished, Limits, Program, Surroundings};

/// What a program wrote.
#[derive(Debug)]
pub enum Wrote<'w> {
    /// Bytes on standard output, a block at a time.
    Out(&'w [u8]),
    /// A line on standard error, made printable.
    Line(&'w str),
}

/// A program that runs, with both its pipes open. Dropping it kills the program.
pub struct Talk {
    running: Running,
    lines: Lines,
}

impl Talk {
    /// Starts a program.
    pub fn start(program: &Program, around: &Surroundings, limits: Limits) -> Result<Self, ChildError> {
        Ok(Self { running: Running::start(program, around, limits, Start::Fed)?, lines: Lines::new() })
    }

    /// Waits for the next thing to happen, at most a tenth of a second, and deals with it; returns whether all is over.
    ///
    /// Takes what stands in `say` as soon as the program has read what it was given before. While nobody calls this, the
    /// program waits when its pipe is full, and what is held here does not grow. `end` asks it to end, by signals.
    pub fn turn(
        &mut self,
        say: &mut Vec<u8>,
        end: bool,
        wrote: &mut dyn FnMut(Wrote<'_>),
    ) -> Result<bool, ChildError> {
        self.running.say(say);
        let lines = &mut self.lines;
        let over = self.running.turn(&|| end, &mut |channel, bytes| match channel {
            Channel::Out => wrote(Wrote::Out(bytes)),
            Channel::Err => lines.take(bytes, &mut |line| wrote(Wrote::Line(line))),
        })?;
        if over {
            self.lines.end(&mut |line| wrote(Wrote::Line(line)));
        }
        Ok(over)
    }

    /// Returns how many bytes were not written yet.
    pub fn unsaid(&self) -> usize {
        self.running.unsaid()
    }

    /// Begins to count silence anew: what was before was not the program's.
    pub fn stir(&self) -> Result<(), ChildError> {
        self.running.stir()
    }

    /// Closes its standard input.
    pub fn hang_up(&mut self) {
        self.running.hang_up();
    }

    /// Returns whether it has closed its standard output.
    pub fn is_mute(&self) -> bool {
        self.running.is_mute()
    }

    /// Returns the number of its process.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Ends what is left of it and returns how it ended.
    pub fn finish(self) -> Result<Finished, ChildError> {
        self.running.finish()
    }
}
