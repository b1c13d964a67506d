//! One operation of a program: the session, the process, and the time both may take.

use super::error::ExternalError;
use super::memory::Fence;
use crate::child::{Ended, Finished, Limits, Program, Surroundings, Talk, Wrote};
use crate::protocol::{Event, Failure, HELLO_LIMIT, Opening, Session, Violation};
use std::time::Duration;

/// The status by which a module says: leave me out.
const SKIP: i32 = 75;

/// What of its caller an operation works with.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// What the program gets of this process's world.
    pub around: &'a Surroundings,
    /// Whether the person asked to stop.
    pub cancelled: &'a dyn Fn() -> bool,
    /// A monotonic clock.
    pub elapsed: &'a dyn Fn() -> Duration,
}

/// What has happened.
#[derive(Debug)]
pub enum Step {
    /// Something that the caller must know.
    Event(Event),
    /// A line of standard error.
    Line(String),
    /// Time has passed, or bytes of a stream came.
    Turn,
    /// The program has ended; [`Talker::finish`] says how.
    End,
}

/// How an operation ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// As it should.
    Done,
    /// By its own choice, before it began.
    Skipped,
}

/// A program in an operation.
pub struct Talker<'a> {
    /// What is said and heard.
    pub session: Session,
    talk: Talk,
    world: Around<'a>,
    name: String,
    begun: Duration,
    total: Option<Duration>,
    grace: Duration,
    /// When it was told to stop, or said that it was done, or closed its output.
    ending: Option<Duration>,
    stopped: Option<(String, bool)>,
    violation: Option<Violation>,
    failure: Option<Failure>,
    cancelled: bool,
    no_hello: bool,
    ended: bool,
    lines: Vec<String>,
    _fence: Option<Fence>,
}

impl<'a> Talker<'a> {
    /// Starts a program for an operation.
    pub fn start(
        program: &Program,
        opening: &Opening,
        fence: Option<Fence>,
        world: Around<'a>,
    ) -> Result<Self, ExternalError> {
        let limits = Limits { total: None, idle: opening.idle };
        let talk = Talk::start(program, world.around, limits)?;
        if let Some(fence) = &fence {
            fence.enclose(talk.pid());
        }
        Ok(Self {
            session: Session::new(opening),
            talk,
            world,
            name: program.name(),
            begun: (world.elapsed)(),
            total: opening.total,
            grace: opening.grace,
            ending: None,
            stopped: None,
            violation: None,
            failure: None,
            cancelled: false,
            no_hello: false,
            ended: false,
            lines: Vec::new(),
            _fence: fence,
        })
    }

    /// Says that the caller did something else meanwhile: that was not the program's silence.
    pub fn stir(&self) -> Result<(), ExternalError> {
        Ok(self.talk.stir()?)
    }

    /// Returns how many bytes wait to be read by the program.
    pub fn unsaid(&mut self) -> usize {
        self.talk.unsaid().saturating_add(self.session.out().len())
    }

    /// Waits for the next thing to happen.
    pub fn step(&mut self) -> Result<Step, ExternalError> {
        if let Some(line) = self.lines.pop() {
            return Ok(Step::Line(line));
        }
        match self.session.next() {
            Ok(Some(event)) => {
                match &event {
                    Event::Failed(failure) => self.failure = Some(failure.clone()),
                    Event::Cancelled => self.cancelled = true,
                    _ => {}
                }
                return Ok(Step::Event(event));
            }
            Ok(None) => {}
            Err(violation) => self.break_with(violation),
        }
        if self.ended {
            return Ok(Step::End);
        }
        let end = self.watch_time();
        let nothing_more = self.session.is_done() || self.session.is_over();
        if nothing_more && self.session.out().is_empty() && self.talk.unsaid() == 0 {
            self.talk.hang_up();
        }
        let Self { session, talk, lines, .. } = self;
        let mut say = std::mem::take(session.out());
        let mut violation = None;
        let turned = talk.turn(&mut say, end, &mut |wrote| match wrote {
            Wrote::Out(bytes) => session.push(bytes),
            Wrote::Line(line) => match session.heard() {
                Ok(true) => lines.push(line.to_owned()),
                Ok(false) => {}
                Err(error) => violation = Some(error),
            },
        });
        // What the session said meanwhile comes after what is still to be said.
        say.append(session.out());
        *session.out() = say;
        lines.reverse();
        if let Some(violation) = violation {
            self.break_with(violation);
        }
        self.ended = turned?;
        Ok(Step::Turn)
    }

    /// Notes a violation; the program has been told, and is ended.
    fn break_with(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// Ends the operation for a reason of the caller's: what was asked cannot be.
    pub fn refuse(&mut self, violation: Violation) {
        self.session.refuse(&violation);
        self.break_with(violation);
    }

    /// Tells it to stop.
    pub fn stop(&mut self, why: &str, text: String) {
        if self.stopped.is_none() {
            self.session.cancel(why);
            self.stopped = Some((text, why == "user"));
            self.ending = Some((self.world.elapsed)());
        }
    }

    /// Returns whether nothing that is sent will be of use: it was told to stop, has failed, or has done.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some() || self.violation.is_some() || self.session.is_over() || self.session.is_done()
    }

    /// Looks whether its time is over; returns whether it is to be ended by signals.
    fn watch_time(&mut self) -> bool {
        let now = (self.world.elapsed)();
        let since = now.saturating_sub(self.begun);
        if (self.world.cancelled)() {
            self.stop("user", "the run is cancelled".into());
        } else if let Some(total) = self.total.filter(|total| since > *total) {
            self.stop("timeout", format!("it took longer than {}", crate::units::show_duration(total)));
        }
        if self.violation.is_some() {
            return true;
        }
        if !self.session.has_opened() && !self.session.is_over() && since > HELLO_LIMIT {
            self.no_hello = true;
            return true;
        }
        if self.ending.is_none() && (self.session.is_done() || self.session.is_over() || self.talk.is_mute())
        {
            self.ending = Some(now);
        }
        self.ending.is_some_and(|ending| now.saturating_sub(ending) > self.grace)
    }

    /// Returns how the operation ended; to be called after [`Step::End`].
    pub fn finish(self) -> Result<Finish, ExternalError> {
        let Self {
            session,
            talk,
            name: program,
            grace,
            stopped,
            violation,
            failure,
            no_hello,
            cancelled: heard,
            ..
        } = self;
        let Finished { ended, stderr } = talk.finish()?;
        if let Some(violation) = violation {
            return Err(ExternalError::Violation { program, violation });
        }
        if let Some(failure) = failure {
            return Err(ExternalError::Failed { program, failure, ended });
        }
        if let Some((why, cancelled)) = stopped {
            // What was done before it heard of it is done.
            if session.is_done() && ended == Ended::Exit(0) && !cancelled {
                return Ok(Finish::Done);
            }
            let answered = (heard || session.is_done()) && ended == Ended::Exit(0);
            return Err(ExternalError::Stopped { program, why, cancelled, answered });
        }
        if no_hello {
            return Err(ExternalError::NoHello { program, limit: HELLO_LIMIT });
        }
        match ended {
            Ended::Exit(0) if session.is_done() => Ok(Finish::Done),
            Ended::Exit(SKIP) if !session.has_begun() && !session.is_done() && session.has_opened() => {
                Ok(Finish::Skipped)
            }
            Ended::Cancelled | Ended::Silent(_) if session.is_done() => {
                Err(ExternalError::NoExit { program, grace })
            }
            ended if session.is_done() => Err(Finished { ended, stderr }.into_error(&named(&program)).into()),
            ended => Err(ExternalError::NotDone { program, ended, stderr }),
        }
    }
}

fn named(program: &str) -> Program {
    Program::new([program])
}
