//! Exports: what the module sends goes where its caller stores it, as it comes; it counts only if all of it came.

use super::collected::Collected;
use super::desk::Desk;
use super::error::ExternalError;
use super::program::Job;
use super::talker::{Finish, Talker};
use crate::protocol::{Event, Hello, Message, Name, Op, Opened, Said, Taken};
use serde_json::json;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// What the caller of an export does for it.
pub trait ExportHost {
    /// Stores a stream. What `read` fails with is void.
    fn store(&mut self, opened: &Opened, read: &mut dyn Read) -> Result<(), StoreError>;

    /// Dumps a source of the manifest; returns the word for what became of it, or none if there is no such source.
    fn dump(&mut self, name: &Name) -> Result<Option<String>, StoreError>;

    /// Makes a directory that is removed when the run ends, and that the module's user owns.
    ///
    /// # Errors
    /// Why it cannot, for people.
    fn scratch(&mut self) -> Result<PathBuf, String>;
}

/// Why a caller did not store something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// It could not be read, or not be stored: the export fails.
    Lost(String),
    /// Nothing more can be stored; the caller knows why.
    Abort,
}

/// What came of an export that did not fail.
#[derive(Debug)]
pub struct Exported {
    /// What was sent beside streams; none if the module left itself out.
    pub collected: Option<Collected>,
    /// What the module said of level error or above.
    pub grave: Vec<Said>,
}

/// Asks a program what it can do.
pub fn describe(job: &Job<'_>) -> Result<Hello, ExternalError> {
    let (mut talker, mut desk, mut hello) = (job.start(Op::Describe)?, job.desk(), None);
    while let ControlFlow::Continue(event) = desk.next(&mut talker, job.log)? {
        if let Some(Event::Hello(found)) = event {
            hello = Some(found);
        }
    }
    match (talker.finish()?, hello) {
        (Finish::Done, Some(hello)) => Ok(hello),
        _ => Err(ExternalError::Data("it left itself out when it was asked what it can do".into())),
    }
}

/// Runs an export. No stream may have one of the names in `reserved`, which are those of the manifest's sources.
pub fn export(
    job: &Job<'_>,
    reserved: &[&str],
    host: &mut dyn ExportHost,
) -> Result<Exported, ExternalError> {
    let mut talker = job.start(Op::Export)?;
    reserved.iter().for_each(|name| talker.session.reserve(name));
    let (queue, collected, desk) = (VecDeque::new(), Collected::default(), job.desk());
    let mut work = Work { job, talker, desk, collected, queue, ended: false };
    let ran = work.run(host);
    let Work { talker, collected, mut desk, ended, .. } = work;
    desk.close_spaces(job.log);
    if let Err(error) = ran {
        // What the program itself did wrong says more than what followed from it.
        return Err(match (ended, error) {
            (true, error @ ExternalError::Data(_)) => talker.finish().err().unwrap_or(error),
            (_, error) => error,
        });
    }
    desk.left_out(&talker, job.log);
    let collected = (talker.finish()? == Finish::Done).then_some(collected);
    Ok(Exported { collected, grave: desk.grave })
}

/// An export under way.
struct Work<'w> {
    job: &'w Job<'w>,
    talker: Talker<'w>,
    desk: Desk,
    collected: Collected,
    /// What waits until the stream before it is stored: bounded by the streams and requests that may be open.
    queue: VecDeque<Due>,
    ended: bool,
}

/// What only the caller can do.
enum Due {
    Stream(Box<Opened>),
    Dump(Option<u64>, Name),
    Scratch(Option<u64>),
}

impl Work<'_> {
    fn run(&mut self, host: &mut dyn ExportHost) -> Result<(), ExternalError> {
        while !self.ended || !self.queue.is_empty() {
            match self.queue.pop_front() {
                Some(due) => self.due(due, host)?,
                None => self.step()?,
            }
        }
        Ok(())
    }

    /// Waits for the next thing to happen, and does what can be done with it.
    fn step(&mut self) -> Result<(), ExternalError> {
        match self.desk.next(&mut self.talker, self.job.log)? {
            ControlFlow::Break(()) => self.ended = true,
            ControlFlow::Continue(Some(Event::Opened(opened))) => {
                self.queue.push_back(Due::Stream(Box::new(opened)))
            }
            ControlFlow::Continue(Some(Event::Message(id, message))) => self.message(id, message)?,
            _ => {}
        }
        Ok(())
    }

    fn message(&mut self, id: Option<u64>, message: Message) -> Result<(), ExternalError> {
        let message = match self.collected.take(message, &self.job.spec.values) {
            Ok(None) => {
                self.talker.session.answer(id, json!({ "outcome": "noted" }));
                None
            }
            Ok(other) => other,
            Err(violation) => {
                self.talker.refuse(violation);
                None
            }
        };
        let Some(message) = message else { return Ok(()) };
        match self.desk.answer(&mut self.talker, id, message)? {
            Some(Message::Dump(name)) => self.queue.push_back(Due::Dump(id, name)),
            Some(Message::Scratch) => self.queue.push_back(Due::Scratch(id)),
            _ => {}
        }
        Ok(())
    }

    fn due(&mut self, due: Due, host: &mut dyn ExportHost) -> Result<(), ExternalError> {
        match due {
            Due::Scratch(id) => {
                let made = host.scratch();
                self.desk.made_scratch(&mut self.talker, id, made);
            }
            Due::Dump(id, name) => {
                let dumped = host.dump(&name);
                self.talker.stir()?;
                match dumped {
                    Ok(Some(word)) => self.talker.session.answer(id, json!({ "outcome": word })),
                    Ok(None) => self.talker.session.deny(id, "absent", "the manifest has no such source"),
                    Err(StoreError::Lost(why)) => self.talker.session.deny(id, "internal", &why),
                    Err(StoreError::Abort) => return Err(ExternalError::Aborted),
                }
            }
            Due::Stream(opened) => {
                let mut read = Incoming { work: self, s: opened.s, broken: None };
                let stored = host.store(&opened, &mut read);
                let broken = read.broken.take();
                self.talker.stir()?;
                match (stored, broken) {
                    (Err(StoreError::Abort), _) => return Err(ExternalError::Aborted),
                    (_, Some(Broken::Work(error))) => return Err(error),
                    // By the module's own word, which was heard and makes it partial; nothing of it is stored.
                    (Err(StoreError::Lost(_)), Some(Broken::Void)) | (Ok(()), None) => {}
                    (Err(StoreError::Lost(why)), None | Some(Broken::End)) => {
                        return Err(ExternalError::Data(format!("{}: {why}", opened.name.as_str())));
                    }
                    (Ok(()), Some(_)) => {
                        let why = format!("{}: half of it was taken for the whole", opened.name.as_str());
                        return Err(ExternalError::Data(why));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Why a stream did not come to its end.
enum Broken {
    /// The operation has failed.
    Work(ExternalError),
    /// The program has ended.
    End,
    /// The module broke it off.
    Void,
}

/// A stream of the module, as it comes.
struct Incoming<'i, 'w> {
    work: &'i mut Work<'w>,
    s: u64,
    broken: Option<Broken>,
}

impl Incoming<'_, '_> {
    fn breaks(&mut self, why: Broken, text: &str) -> io::Error {
        self.broken = Some(why);
        io::Error::other(text.to_owned())
    }
}

impl Read for Incoming<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.broken.is_some() {
            return Err(io::Error::other("the stream broke off before"));
        }
        let mut waited = false;
        loop {
            match self.work.talker.session.take(self.s, buffer) {
                Taken::Bytes(count) => return Ok(count),
                Taken::End => return Ok(0),
                Taken::Void(why) => return Err(self.breaks(Broken::Void, &why)),
                Taken::Wait if buffer.is_empty() => return Ok(0),
                Taken::Wait => {}
            }
            if self.work.ended {
                return Err(self.breaks(Broken::End, "the program ended in the middle of a stream"));
            }
            // That nobody wanted anything was not the program's silence.
            let stirred = if waited { Ok(()) } else { self.work.talker.stir() };
            waited = true;
            if let Err(error) = stirred.and_then(|()| self.work.step()) {
                let text = error.to_string();
                return Err(self.breaks(Broken::Work(error), &text));
            }
        }
    }
}
