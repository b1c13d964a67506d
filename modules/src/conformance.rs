//! The conformance suite: whether a program keeps to the line protocol, and what it does wrong.
//!
//! Operations that change nothing (`describe`, `export`, `check`) are tried as they are; those that do only if it is asked
//! for. What an export gives goes nowhere but into digests.

use crate::external::{
    Around, Collected, ExportHost, ExternalError, ImportData, ImportHost, Job, Reading, Spec, StoreError,
    StoredStream, describe, export, import,
};
use crate::manifest::programs::Severity;
use crate::protocol::{Name, Offer, Op, Opened};
use serde_json::json;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the suite works with.
#[derive(Clone, Copy)]
pub struct Suite<'a> {
    /// The program.
    pub spec: &'a Spec,
    /// Whether operations are tried that change something here.
    pub changes: bool,
    /// A directory for what they get and keep; the caller removes it.
    pub scratch: &'a Path,
    /// What the program gets of this process's world.
    pub around: &'a crate::child::Surroundings,
    /// Whether the person asked to stop.
    pub cancelled: &'a dyn Fn() -> bool,
    /// A monotonic clock.
    pub elapsed: &'a dyn Fn() -> Duration,
    /// Takes what the program says.
    pub log: &'a dyn Fn(Severity, &str),
}

/// How one of the checks came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was tried.
    pub name: &'static str,
    /// What it came to.
    pub outcome: Outcome,
}

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Right,
    /// Not as it should; what.
    Wrong(String),
    /// Not tried; why.
    Skipped(&'static str),
}

impl Outcome {
    fn of(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::Right,
            Err(why) => Self::Wrong(why),
        }
    }
}

/// Runs the suite over a program; `each` hears of every check as it ends.
pub fn run(suite: &Suite<'_>, each: &mut dyn FnMut(&Check)) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |name, outcome| {
        let check = Check { name, outcome };
        each(&check);
        checks.push(check);
    };
    let usual = Offer::default();
    let ops = match suite.try_describe(usual) {
        Ok(ops) => {
            add("describe: says hello, done, and exits with 0", Outcome::Right);
            ops
        }
        Err(why) => {
            add("describe: says hello, done, and exits with 0", Outcome::Wrong(why));
            return checks;
        }
    };
    add("an unknown version is refused with status 78", Outcome::of(suite.refuses_version()));
    let raw = Offer { raw: false, ..usual };
    let unheard = Offer { unheard: true, ..usual };
    let mut exported = None;
    if ops.contains(&Op::Export) {
        let first = suite.try_export(usual, Until::End);
        add(
            "export: every stream ends as it should, then done, and status 0",
            Outcome::of(first.as_ref().map(drop).map_err(Clone::clone)),
        );
        if let Ok(first) = first {
            let again = suite.try_export(raw, Until::End);
            let same = again.and_then(|again| first.assert_same(&again));
            add("export without raw frames gives the same", Outcome::of(same));
            let again = suite.try_export(unheard, Until::End);
            add("export stands a message that it does not know", Outcome::of(again.map(drop)));
            exported = Some(first);
        }
        add("export stops when it is cancelled before hello", Outcome::of(suite.stops(Until::Never)));
        let middle = match &exported {
            Some(Sink { bytes: 1.., .. }) => Outcome::of(suite.stops(Until::Bytes)),
            _ => Outcome::Skipped("it sends no bytes"),
        };
        add("export stops when it is cancelled in a stream", middle);
    } else {
        add("export", Outcome::Skipped("the program does not have it"));
    }
    for (op, name) in [
        (Op::Check, "check: takes what there is, and changes nothing by its word"),
        (Op::Import, "import: takes what was exported"),
        (Op::Reset, "reset"),
        (Op::Revert, "revert"),
        (Op::Run, "run"),
        (Op::Legacy, "legacy: stands an archive that has nothing for it"),
    ] {
        let outcome = match () {
            () if !ops.contains(&op) => Outcome::Skipped("the program does not have it"),
            () if op != Op::Check && !suite.changes => Outcome::Skipped("it would change this machine"),
            () => {
                let exported = exported.as_ref().filter(|_| op != Op::Legacy);
                Outcome::of(suite.try_import(op, usual, exported))
            }
        };
        add(name, outcome);
    }
    if ops.contains(&Op::Check) {
        let stood = suite.try_import(Op::Check, unheard, exported.as_ref());
        add("check stands a message that it does not know", Outcome::of(stood));
    }
    let missing =
        [Op::Legacy, Op::Run, Op::Reset, Op::Revert, Op::Import].into_iter().find(|op| !ops.contains(op));
    let outcome = match missing {
        Some(op) => Outcome::of(suite.refuses_op(op)),
        None => Outcome::Skipped("it has them all"),
    };
    add("an operation that it does not have is refused as unsupported", outcome);
    checks
}

/// When an export is cancelled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// At once.
    Never,
    /// When the first bytes of a stream came.
    Bytes,
    /// Not at all.
    End,
}

impl Suite<'_> {
    fn with_job<T>(&self, offer: Offer, stop: &Cell<bool>, work: impl FnOnce(&Job<'_>) -> T) -> T {
        let cancelled = || stop.get() || (self.cancelled)();
        work(&Job {
            spec: self.spec,
            run: "conformance",
            root: Path::new("/"),
            spaces_dir: &self.scratch.join("spaces"),
            log: self.log,
            offer,
            world: Around { around: self.around, cancelled: &cancelled, elapsed: self.elapsed },
        })
    }

    fn try_describe(&self, offer: Offer) -> Result<Vec<Op>, String> {
        let hello = self.with_job(offer, &Cell::new(false), describe).map_err(|error| error.to_string())?;
        Ok(hello.ops)
    }

    fn refuses_version(&self) -> Result<(), String> {
        let offer = Offer { version: 999, ..Offer::default() };
        match self.with_job(offer, &Cell::new(false), describe) {
            Err(ExternalError::Failed { failure, ended, .. }) if failure.code == "version" => match ended {
                crate::child::Ended::Exit(78) => Ok(()),
                ended => Err(format!("it refused, but ended otherwise: {ended:?}")),
            },
            Err(error) => Err(error.to_string()),
            Ok(_) => Err("it went on with a version that it cannot know".into()),
        }
    }

    fn refuses_op(&self, op: Op) -> Result<(), String> {
        let mut sink = Sink::new(self, Cell::new(false), Until::End)?;
        let data = ImportData { begin: json!({}), ..ImportData::default() };
        match self.with_job(Offer::default(), &Cell::new(false), |job| import(job, op, &data, &mut sink)) {
            Err(ExternalError::Failed { failure, .. }) if failure.code == "unsupported" => Ok(()),
            Err(error) => Err(format!("{op}: {error}")),
            Ok(_) => Err(format!("{op}: it did what it does not name among its operations")),
        }
    }

    fn try_export(&self, offer: Offer, until: Until) -> Result<Sink, String> {
        let stop = Cell::new(until == Until::Never);
        let mut sink = Sink::new(self, stop, until)?;
        let stop = std::rc::Rc::clone(&sink.stop);
        let exported = self.with_job(offer, &stop, |job| export(job, &[], &mut sink));
        let exported = exported.map_err(|error| error.to_string())?;
        match exported.collected {
            None => Err("it left itself out with status 75, so there is nothing to look at".into()),
            Some(_) if !exported.grave.is_empty() => Err(format!("it says: {}", exported.grave[0].text)),
            Some(collected) => Ok(Sink { collected, ..sink }),
        }
    }

    fn stops(&self, until: Until) -> Result<(), String> {
        let mut sink = Sink::new(self, Cell::new(until == Until::Never), until)?;
        let stop = std::rc::Rc::clone(&sink.stop);
        match self.with_job(Offer::default(), &stop, |job| export(job, &[], &mut sink)) {
            Err(ExternalError::Stopped { answered: true, .. }) => Ok(()),
            Err(ExternalError::Stopped { .. }) => {
                Err("it did not answer with cancelled and exit with status 0 within its grace".into())
            }
            Err(error) => Err(error.to_string()),
            // It was quicker.
            Ok(_) => Ok(()),
        }
    }

    fn try_import(&self, op: Op, offer: Offer, exported: Option<&Sink>) -> Result<(), String> {
        let mut data = ImportData::default();
        if let Some(sink) = exported {
            data.collected = sink.collected.clone();
            data.streams = sink.streams.values().map(|(stream, _)| stream.clone()).collect();
        }
        data.begin = match op {
            Op::Revert | Op::Run => json!({ "space": self.spec.module }),
            Op::Legacy => {
                // An empty file is a database of SQLite without tables.
                let database = self.scratch.join("legacy.sqlite");
                std::fs::write(&database, b"").map_err(|error| error.to_string())?;
                json!({ "format": "tar", "database": database, "tables": [], "unknown_tables": [], "manifest": {} })
            }
            _ => json!({
                "module_version": "0", "older": false, "newer": false, "dependencies": [], "skip_reset": false,
            }),
        };
        let mut sink = Sink::new(self, Cell::new(false), Until::End)?;
        if let Some(exported) = exported {
            sink.streams = exported.streams.clone();
        }
        let imported = self.with_job(offer, &Cell::new(false), |job| import(job, op, &data, &mut sink));
        let imported = imported.map_err(|error| error.to_string())?;
        if let Some(said) = imported.grave.first() {
            return Err(format!("it says: {}", said.text));
        }
        match &imported.untaken[..] {
            [] => Ok(()),
            list => Err(format!("it did not take {}", list.join(", "))),
        }
    }
}

/// Keeps what was exported in files.
struct Sink {
    dir: PathBuf,
    stop: std::rc::Rc<Cell<bool>>,
    until: Until,
    collected: Collected,
    streams: BTreeMap<String, (StoredStream, blake3::Hash)>,
    bytes: u64,
}

impl Sink {
    fn new(suite: &Suite<'_>, stop: Cell<bool>, until: Until) -> Result<Self, String> {
        let told = |error: io::Error| format!("{}: {error}", suite.scratch.display());
        std::fs::create_dir_all(suite.scratch.join("streams")).map_err(told)?;
        let dir = match until {
            Until::End => suite.scratch.join("streams"),
            // One of its own: what is cancelled must not write into the streams that are imported later.
            Until::Never | Until::Bytes => fresh(suite.scratch)?,
        };
        let (collected, streams) = Default::default();
        Ok(Self { dir, stop: std::rc::Rc::new(stop), until, collected, streams, bytes: 0 })
    }

    fn assert_same(&self, other: &Self) -> Result<(), String> {
        if self.collected != other.collected {
            return Err("configuration, files or dependencies differ: what has not changed must not".into());
        }
        let differs = self.streams.iter().find(|(name, own)| other.streams.get(*name) != Some(own));
        match differs {
            Some((name, _)) => Err(format!("{name} differs: what has not changed must be the same bytes")),
            None if self.streams.len() != other.streams.len() => Err("the streams are others".into()),
            None => Ok(()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(blake3::hash(name.as_bytes()).to_hex().as_str())
    }
}

impl ExportHost for Sink {
    fn store(&mut self, opened: &Opened, read: &mut dyn Read) -> Result<(), StoreError> {
        let name = opened.name.as_str().to_owned();
        let lost = |error: io::Error| StoreError::Lost(error.to_string());
        let mut file = std::fs::File::create(self.path(&name)).map_err(lost)?;
        let (mut hasher, mut block, mut bytes) = (blake3::Hasher::new(), vec![0; 64 << 10], 0);
        loop {
            let count = read.read(&mut block).map_err(lost)?;
            let part = block.get(..count).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            if self.until == Until::Bytes {
                self.stop.set(true);
            }
            hasher.update(part);
            file.write_all(part).map_err(lost)?;
            bytes += count as u64;
        }
        self.bytes += bytes;
        let stream = StoredStream {
            name: name.clone(),
            section: opened.section,
            shape: opened.shape,
            label: opened.kind.clone(),
            bytes,
            keyed: !opened.key.is_empty(),
        };
        self.streams.insert(name, (stream, hasher.finalize()));
        Ok(())
    }

    fn dump(&mut self, _name: &Name) -> Result<Option<String>, StoreError> {
        Ok(Some("stored".into()))
    }

    fn scratch(&mut self) -> Result<PathBuf, String> {
        fresh(&self.dir)
    }
}

impl ImportHost for Sink {
    fn dump(&mut self, name: &str, reading: &mut Reading<'_>) -> Result<(), ExternalError> {
        let opened = std::fs::File::open(self.path(name));
        let mut file = opened.map_err(|error| ExternalError::Data(error.to_string()))?;
        reading(&mut file)
    }

    fn file(&mut self, path: &Path, reading: &mut Reading<'_>) -> Result<bool, ExternalError> {
        match std::fs::File::open(path) {
            Ok(mut file) => reading(&mut file).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    fn scratch(&mut self) -> Result<PathBuf, String> {
        fresh(&self.dir)
    }
}

/// Makes a directory that was not there; each operation asks for one at most.
fn fresh(dir: &Path) -> Result<PathBuf, String> {
    let told = |error: io::Error| error.to_string();
    for n in 0..1000 {
        let path = dir.join(format!("scratch-{n}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(told(error)),
        }
    }
    Err("too many".into())
}
