//! Imports and all that follows their way: the module is told what there is, and pulls what it wants.

use super::data::{ImportData, StoredStream};
use super::desk::Desk;
use super::error::ExternalError;
use super::program::Job;
use super::talker::{Finish, Talker};
use crate::manifest::sections::SectionKind;
use crate::manifest::words::Words;
use crate::protocol::{Event, Message, Name, Op, Said, Shape, Violation, What, WirePath, path_json};
use serde_json::json;
use std::collections::{BTreeSet, VecDeque};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Lets something read a stream.
pub type Reading<'r> = dyn FnMut(&mut dyn Read) -> Result<(), ExternalError> + 'r;

/// What the caller of an import does for it.
pub trait ImportHost {
    /// Lets `reading` have the content of a dump that is there.
    fn dump(&mut self, name: &str, reading: &mut Reading<'_>) -> Result<(), ExternalError>;

    /// Lets `reading` have the content of a stored file; returns whether there is one.
    fn file(&mut self, path: &Path, reading: &mut Reading<'_>) -> Result<bool, ExternalError>;

    /// Makes a directory that is removed when the run ends, and that the module's user owns.
    ///
    /// # Errors
    /// Why it cannot, for people.
    fn scratch(&mut self) -> Result<PathBuf, String>;
}

/// What came of an import that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The module left itself out.
    pub skipped: bool,
    /// What was stored and not taken, in words.
    pub untaken: Vec<String>,
    /// What the module said of level error or above.
    pub grave: Vec<Said>,
}

/// Runs an operation of an importer. What becomes of the spaces that it makes is the caller's business.
pub fn import(
    job: &Job<'_>,
    op: Op,
    data: &ImportData,
    host: &mut dyn ImportHost,
) -> Result<Imported, ExternalError> {
    let talker = job.start(op)?;
    let (queue, taken) = Default::default();
    let mut work = Work { job, op, data, talker, desk: job.desk(), queue, taken, ended: false };
    let ran = work.run(host);
    work.finish(ran)
}

/// What only the caller can do.
enum Due {
    Get(Option<u64>, What),
    Place(Option<u64>, WirePath, Option<WirePath>),
    Scratch(Option<u64>),
}

/// An operation under way.
pub(super) struct Work<'w> {
    job: &'w Job<'w>,
    op: Op,
    data: &'w ImportData,
    pub talker: Talker<'w>,
    desk: Desk,
    queue: VecDeque<Due>,
    taken: BTreeSet<String>,
    pub ended: bool,
}

impl Work<'_> {
    fn run(&mut self, host: &mut dyn ImportHost) -> Result<(), ExternalError> {
        while !self.ended {
            match self.queue.pop_front() {
                None => self.step()?,
                Some(Due::Scratch(id)) => {
                    let made = host.scratch();
                    self.desk.made_scratch(&mut self.talker, id, made);
                }
                Some(Due::Place(id, path, to)) => self.place(id, &path, to.as_ref(), host)?,
                Some(Due::Get(id, what)) => self.get(id, what, host)?,
            }
        }
        Ok(())
    }

    fn finish(self, ran: Result<(), ExternalError>) -> Result<Imported, ExternalError> {
        let Self { job, op, data, talker, mut desk, taken, ended, .. } = self;
        match ran {
            // What the program itself did wrong says more than what followed from it.
            Err(error @ ExternalError::Data(_)) if ended => {
                return Err(talker.finish().err().unwrap_or(error));
            }
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        desk.left_out(&talker, job.log);
        let skipped = talker.finish()? == Finish::Skipped;
        let pulls = matches!(op, Op::Import | Op::Legacy);
        let untaken = if pulls && !skipped { data.untaken(&taken) } else { Vec::new() };
        Ok(Imported { skipped, untaken, grave: desk.grave })
    }

    pub fn step(&mut self) -> Result<(), ExternalError> {
        match self.desk.next(&mut self.talker, self.job.log)? {
            ControlFlow::Break(()) => self.ended = true,
            ControlFlow::Continue(Some(Event::Hello(_))) => self.data.tell(self.op, &mut self.talker),
            ControlFlow::Continue(Some(Event::Message(id, message))) => self.message(id, message)?,
            _ => {}
        }
        Ok(())
    }

    fn message(&mut self, id: Option<u64>, message: Message) -> Result<(), ExternalError> {
        let Some(message) = self.desk.answer(&mut self.talker, id, message)? else { return Ok(()) };
        match message {
            Message::Get(what) => self.queue.push_back(Due::Get(id, what)),
            Message::Place(path, to) => self.queue.push_back(Due::Place(id, path, to)),
            Message::Scratch => self.queue.push_back(Due::Scratch(id)),
            Message::Resolve(variable) => {
                let found = self.job.spec.values.iter().find(|(name, _)| *name == variable);
                match found {
                    Some((_, path)) => self.talker.session.answer(id, json!({ "path": path_json(path) })),
                    None => self.talker.session.deny(id, "absent", "there is no such path variable"),
                }
            }
            Message::Load(name) if self.data.sources.iter().any(|source| source == name.as_str()) => {
                self.talker.session.answer(id, json!({ "outcome": "loaded" }));
            }
            Message::Load(_) => self.talker.session.deny(id, "absent", "no such source was loaded"),
            Message::Take(what) => {
                self.take(&what);
                self.talker.session.answer(id, json!({}));
            }
            _ => {}
        }
        Ok(())
    }

    fn take(&mut self, what: &What) {
        match what {
            What::Stream(shape, Some(name)) => {
                self.taken.insert(format!("{} {}", shape.word(), name.as_str()));
            }
            What::Stream(shape, None) => {
                let of = self.data.streams.iter().filter(|stream| stream.shape == *shape);
                self.taken.extend(of.map(StoredStream::word));
            }
            What::Config(Some(key)) => {
                self.taken.insert(format!("config {}", key.as_str()));
            }
            What::Config(None) => {
                let keys = self.data.collected.configs.keys();
                self.taken.extend(keys.map(|key| format!("config {}", key.as_str())));
            }
            // They are in place, whoever takes them.
            What::File(_) | What::Files | What::Dirs => {}
        }
    }

    fn get(&mut self, id: Option<u64>, what: What, host: &mut dyn ImportHost) -> Result<(), ExternalError> {
        match &what {
            What::Stream(shape, Some(name)) => self.get_stream(id, *shape, name, host)?,
            What::Files | What::Dirs => self.get_items(id, what == What::Dirs)?,
            What::File(Some(path)) => {
                let head = json!({ "name": path_json(path.as_path()) });
                let there = host.file(path.as_path(), &mut |read| self.send_bytes(id, &head, read))?;
                if !there {
                    self.talker.session.deny(id, "absent", "no such file is stored");
                }
            }
            _ => self.talker.session.deny(id, "unsupported", "nothing of that kind can be got"),
        }
        self.take(&what);
        Ok(())
    }

    fn get_stream(
        &mut self,
        id: Option<u64>,
        shape: Shape,
        name: &Name,
        host: &mut dyn ImportHost,
    ) -> Result<(), ExternalError> {
        let found =
            self.data.streams.iter().find(|stream| stream.name == name.as_str() && stream.shape == shape);
        let Some(stream) = found else {
            self.talker.session.deny(id, "absent", &format!("there is no {} of this name", shape.word()));
            return Ok(());
        };
        let mut head = json!({ "name": stream.name, "section": stream.section.word() });
        if shape == Shape::Blob {
            head["size"] = stream.bytes.into();
        }
        if let Some(label) = &stream.label {
            head["kind"] = label.as_str().into();
        }
        host.dump(&stream.name, &mut |read| match shape {
            Shape::Blob => self.send_bytes(id, &head, read),
            Shape::Records | Shape::Tree => self.send_rows(id, shape, &head, read),
        })
    }

    fn get_items(&mut self, id: Option<u64>, dirs: bool) -> Result<(), ExternalError> {
        let items = self.data.collected.items.iter().filter(|(item, _)| item.is_directory == dirs);
        let columns = json!([{"name":"path"},{"name":"kind"},{"name":"base"},{"name":"section"}]);
        let mut text = format!("{}\n", json!({ "records": 1, "schema": { "columns": columns } }));
        for (item, _) in items.clone() {
            let section = item.section.unwrap_or(SectionKind::Data).word();
            text.push_str(&json!([item.path, item.kind, item.base, section]).to_string());
            text.push('\n');
        }
        text.push_str(&format!("{}\n", json!({ "count": items.count() })));
        let head = json!({ "name": if dirs { "dirs" } else { "files" } });
        self.send_rows(id, Shape::Records, &head, &mut text.as_bytes())
    }

    fn place(
        &mut self,
        id: Option<u64>,
        path: &WirePath,
        to: Option<&WirePath>,
        host: &mut dyn ImportHost,
    ) -> Result<(), ExternalError> {
        let Some(to) = to else {
            let known = host.file(path.as_path(), &mut |_| Ok(()))?;
            match known {
                true => self.talker.session.answer(id, json!({ "outcome": "placed" })),
                false => self.talker.session.deny(id, "absent", "no such file is stored"),
            }
            return Ok(());
        };
        let below = self.desk.scratch.as_ref().is_some_and(|scratch| to.as_path().starts_with(scratch));
        if !below {
            self.talker.refuse(Violation::protocol("place: the path does not lie below scratch"));
            return Ok(());
        }
        if self.job.spec.is_foreign() {
            // Its own directory may hold links of its own making.
            self.talker.session.deny(
                id,
                "auth",
                "a module that runs as another user writes its files itself",
            );
            return Ok(());
        }
        let mut written = Ok(());
        let there = host.file(path.as_path(), &mut |read| {
            written = write(to.as_path(), read);
            Ok(())
        })?;
        self.talker.stir()?;
        match (there, written) {
            (false, _) => self.talker.session.deny(id, "absent", "no such file is stored"),
            (true, Ok(())) => self.talker.session.answer(id, json!({ "outcome": "placed" })),
            (true, Err(error)) => self.talker.session.deny(id, "internal", &error.to_string()),
        }
        Ok(())
    }
}

fn write(to: &Path, read: &mut dyn Read) -> std::io::Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = std::fs::File::create_new(to)?;
    std::io::copy(read, &mut file).map(drop)
}
