//! A program whose output is read as it comes.

use super::drive::Running;
use super::lines::Lines;
use super::{Channel, ChildError, Finished, Program};
use std::io::{self, Cursor, Read};
use zeroize::Zeroizing;

/// The standard output of a program that runs.
///
/// The stream ends with `Ok(0)` only after the program has exited with status 0; any other end, a time limit and a
/// cancelled run are an error of `read`, whose cause is a [`ChildError`]. So who reads to the end has everything, and
/// who gets an error must throw away what was read. Dropping it kills the program.
pub struct Stream<'a> {
    running: Option<Running>,
    program: Program,
    cancelled: &'a dyn Fn() -> bool,
    line: &'a mut dyn FnMut(&str),
    lines: Lines,
    input: Cursor<Zeroizing<Vec<u8>>>,
    /// What was read from the pipe and not from here.
    waiting: Vec<u8>,
    at: usize,
    done: bool,
    end: Option<Finished>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        running: Running,
        program: &Program,
        cancelled: &'a dyn Fn() -> bool,
        line: &'a mut dyn FnMut(&str),
        input: Zeroizing<Vec<u8>>,
    ) -> Self {
        Self {
            running: Some(running),
            program: program.clone(),
            cancelled,
            line,
            lines: Lines::new(),
            input: Cursor::new(input),
            waiting: Vec::new(),
            at: 0,
            done: false,
            end: None,
        }
    }

    /// Reads until there is something, or the program has ended.
    fn fill(&mut self) -> Result<(), ChildError> {
        self.waiting.clear();
        self.at = 0;
        if let Some(running) = &self.running {
            // That nobody wanted anything was not the program's silence.
            running.stir()?;
        }
        while self.waiting.is_empty() && !self.done {
            let Some(running) = &mut self.running else { break };
            // Bytes in memory, which cannot fail.
            let _ = running.refill(&mut self.input);
            let (waiting, lines, line) = (&mut self.waiting, &mut self.lines, &mut *self.line);
            self.done = running.turn(self.cancelled, &mut |channel, bytes| match channel {
                Channel::Out => waiting.extend_from_slice(bytes),
                Channel::Err => lines.take(bytes, line),
            })?;
        }
        if self.done
            && let Some(running) = self.running.take()
        {
            self.lines.end(&mut *self.line);
            self.end = Some(running.finish()?);
        }
        Ok(())
    }

    /// Returns how the program ended, whatever it was; none before it has ended.
    pub fn finished(&self) -> Option<&Finished> {
        self.end.as_ref()
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if self.at == self.waiting.len() {
            self.fill().map_err(io::Error::other)?;
        }
        let rest = self.waiting.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return match &self.end {
                Some(end) => end.clone().success(&self.program).map(|()| 0).map_err(io::Error::other),
                // An earlier error ended it.
                None => Err(io::Error::other("the program was ended by an earlier error")),
            };
        }
        let count = rest.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(rest) {
            *to = *from;
        }
        self.at += count;
        Ok(count)
    }
}
