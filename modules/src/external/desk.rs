//! What every operation may ask for beside its own data: spaces, and a directory of its own.

use super::error::ExternalError;
use super::program::Log;
use super::talker::{Step, Talker};
use crate::manifest::programs::Severity;
use crate::protocol::{Event, Message, Said, SpaceAct, SpaceCall, Value, Violation};
use crate::spaces::{ObjectKind, Space, SpaceError, Spaces};
use dedup_engine::error::Kind;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Most messages that are told again at the end, as reasons.
const MAX_GRAVE: usize = 100;

/// Spaces, scratch and messages of one operation.
pub struct Desk {
    spaces_dir: PathBuf,
    module: String,
    /// It runs as somebody else, who gets no access to files through us.
    foreign: bool,
    /// The directory of its own, once it was asked for.
    pub scratch: Option<PathBuf>,
    /// What it said of level error or above: the first of it.
    pub grave: Vec<Said>,
    /// The spaces that it made.
    made: BTreeSet<String>,
}

impl Desk {
    /// Makes one; spaces lie in `spaces_dir`.
    pub fn new(spaces_dir: &Path, module: &str, foreign: bool) -> Self {
        let (scratch, grave, made) = Default::default();
        Self { spaces_dir: spaces_dir.to_owned(), module: module.to_owned(), foreign, scratch, grave, made }
    }

    /// Waits for the next thing to happen, and gives back what is not said of the work alone; breaks off when the
    /// program has ended.
    pub fn next(
        &mut self,
        talker: &mut Talker<'_>,
        log: Log<'_>,
    ) -> Result<ControlFlow<(), Option<Event>>, ExternalError> {
        let event = match talker.step()? {
            Step::Event(event) => self.hear(event, log),
            Step::Line(line) => {
                log(Severity::Notice, &line);
                None
            }
            Step::Turn => None,
            Step::End => return Ok(ControlFlow::Break(())),
        };
        Ok(ControlFlow::Continue(event))
    }

    /// Takes what is said of the work; gives back what is none of that.
    fn hear(&mut self, event: Event, log: Log<'_>) -> Option<Event> {
        match event {
            Event::Said(said) => {
                log(said.level, &said.text);
                if said.level <= Severity::Error && self.grave.len() < MAX_GRAVE {
                    self.grave.push(said);
                }
            }
            Event::Progress { done, total, what } => {
                let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
                log(Severity::Debug, &format!("{done}{of} {what}"));
            }
            other => return Some(other),
        }
        None
    }

    /// Notes what was said and not kept.
    pub fn left_out(&mut self, talker: &Talker<'_>, log: Log<'_>) {
        let (count, worst) = talker.session.left_out();
        let Some(worst) = worst else { return };
        let text = format!("{count} more messages were left out");
        log(worst.max(Severity::Error), &text);
        if worst <= Severity::Error {
            self.grave.push(Said { level: worst, text });
        }
    }

    /// Answers a message; gives back what it does not know.
    pub fn answer(
        &mut self,
        talker: &mut Talker<'_>,
        id: Option<u64>,
        message: Message,
    ) -> Result<Option<Message>, ExternalError> {
        match message {
            Message::Scratch if self.scratch.is_some() => self.tell_scratch(talker, id),
            Message::Garbage(path) => {
                let below = self.scratch.as_ref().is_some_and(|scratch| path.as_path().starts_with(scratch));
                if !below {
                    talker.refuse(Violation::protocol("garbage: the path does not lie below scratch"));
                }
                // All of scratch is removed.
                talker.session.answer(id, json!({}));
            }
            Message::Space(call) => {
                match self.space(call) {
                    Ok(Answer::More(more)) => talker.session.answer(id, more),
                    Ok(Answer::Value(value)) => talker.session.answer_value(id, &value),
                    Err((code, why)) => talker.session.deny(id, code, &why),
                }
                talker.stir()?;
            }
            other => return Ok(Some(other)),
        }
        Ok(None)
    }

    /// Answers with a directory that was made.
    pub fn made_scratch(&mut self, talker: &mut Talker<'_>, id: Option<u64>, made: Result<PathBuf, String>) {
        match made {
            Ok(path) => {
                self.scratch = Some(path);
                self.tell_scratch(talker, id);
            }
            Err(why) => talker.session.deny(id, "internal", &why),
        }
    }

    fn tell_scratch(&self, talker: &mut Talker<'_>, id: Option<u64>) {
        let path = self.scratch.as_deref().map(crate::protocol::path_json);
        talker.session.answer(id, json!({ "path": path }));
    }

    /// Ends work with the spaces that it made: persistent ones stay.
    pub fn close_spaces(&mut self, log: Log<'_>) {
        let Ok(spaces) = Spaces::open(&self.spaces_dir) else { return };
        for id in std::mem::take(&mut self.made) {
            if let Err(error) = spaces.close(&id) {
                log(Severity::Warning, &format!("space {id}: {error}"));
            }
        }
    }

    fn space(&mut self, call: SpaceCall) -> Result<Answer, (&'static str, String)> {
        let id = call.space.unwrap_or_else(|| self.module.clone());
        let own =
            id == self.module || id.strip_prefix(&self.module).is_some_and(|rest| rest.starts_with('.'));
        if !own {
            return Err(("auth", format!("the space {id:?} is none of this module")));
        }
        let touches = matches!(
            call.act,
            SpaceAct::PutPath { .. } | SpaceAct::RestoreName { .. } | SpaceAct::RestorePath { .. }
        );
        if self.foreign && touches {
            return Err((
                "auth",
                "a module that runs as another user reads and writes its files itself".into(),
            ));
        }
        let spaces = Spaces::open(&self.spaces_dir).map_err(told)?;
        let persistent = matches!(call.act, SpaceAct::Open { persistent: true });
        let is_new = spaces.existing(&id).is_err();
        let space = spaces.get(&id, persistent).map_err(told)?;
        if is_new {
            self.made.insert(id);
        }
        act(&space, call.act).map_err(|error| match error {
            Told::Space(error) => told(error),
            Told::Code(code, why) => (code, why),
        })
    }
}

enum Answer {
    More(Json),
    Value(Value),
}

enum Told {
    Space(SpaceError),
    Code(&'static str, String),
}

impl From<SpaceError> for Told {
    fn from(error: SpaceError) -> Self {
        Self::Space(error)
    }
}

fn told(error: SpaceError) -> (&'static str, String) {
    let code = match error.kind() {
        Kind::Missing => "absent",
        Kind::Busy => "busy",
        Kind::NoSpace => "no-space",
        Kind::Integrity => "integrity",
        Kind::Permission => "auth",
        Kind::Refused => "conflict",
        _ => "internal",
    };
    (code, error.to_string())
}

fn act(space: &Space, act: SpaceAct) -> Result<Answer, Told> {
    let mut more = json!({});
    match act {
        SpaceAct::Open { .. } => {}
        SpaceAct::PutPath { path, name } => space.put_path(path.as_path(), name.as_deref())?,
        SpaceAct::PutValue { name, value } => space.put_value(&name, value.as_text().as_bytes(), "json")?,
        SpaceAct::Value { name } => return value(space, &name),
        SpaceAct::RestoreName { name, to } => {
            space.restore_name(&name, to.as_ref().map(|to| to.as_path()))?;
        }
        SpaceAct::RestorePath { path, name } => {
            space.restore_path(path.as_path(), name.as_deref())?;
        }
        SpaceAct::Exists { name, path } => {
            more["exists"] = space.exists(name.as_deref(), path.as_ref().map(|path| path.as_path()))?.into();
        }
        SpaceAct::Delete { name } => space.delete(&name)?,
        SpaceAct::List => {
            let names: Vec<String> = space.list()?.into_iter().map(|object| object.name).collect();
            more["names"] = names.into();
            if more.to_string().len() > crate::protocol::MAX_VALUE_BYTES {
                return Err(Told::Code("limit", "there are too many objects for one line".into()));
            }
        }
    }
    Ok(Answer::More(more))
}

/// Returns a value; one that a program of another kind put is text, or bytes.
fn value(space: &Space, name: &str) -> Result<Answer, Told> {
    let is_json = space.list()?.iter().any(|object| {
        object.name == name && matches!(&object.kind, ObjectKind::Value(kind) if kind == "json")
    });
    let bytes = space.value(name)?;
    let text = match String::from_utf8(bytes) {
        Ok(text) if is_json => text,
        Ok(text) => json!(text).to_string(),
        Err(error) => {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(error.as_bytes());
            json!({ "$b": text }).to_string()
        }
    };
    if text.len() > crate::protocol::MAX_VALUE_BYTES {
        return Err(Told::Code("limit", "the value is too long for one line".into()));
    }
    Value::parse(&text).map(Answer::Value).map_err(|error| Told::Code("conflict", error.to_string()))
}
