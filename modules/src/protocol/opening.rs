//! The opening: what the engine says first, and what the module answers.

use super::names::path_json;
use super::violation::{Violation, shown};
use super::{CREDIT_BYTES, MAX_LINE_BYTES, MAX_WINDOW, VERSION};
use crate::manifest::programs::Severity;
use crate::manifest::words::{Words, words};
use serde::Deserialize;
use serde_json::{Map, json};
use std::path::PathBuf;
use std::time::Duration;

words! {
    /// What a program is started for.
    pub enum Op {
        /// To say what it can do.
        Describe = "describe",
        /// To give what cannot be declared.
        Export = "export",
        /// To take it back.
        Import = "import",
        /// To say whether it could; nothing is changed.
        Check = "check",
        /// To empty the module.
        Reset = "reset",
        /// To take what another product's archive has.
        Legacy = "legacy",
        /// To undo what is its own.
        Revert = "revert",
        /// To do what it is for, with a space.
        Run = "run",
    }
}

words! {
    /// When a module can be exported.
    pub enum Needs {
        /// While its services run.
        Live = "live",
        /// While they do not.
        Stopped = "stopped",
        /// At any time.
        Either = "either",
    }
}

/// What the engine says first.
#[derive(Clone, Debug)]
pub struct Opening {
    /// What for.
    pub op: Op,
    /// The engine, for people: `dedup 0.1.0`.
    pub engine: String,
    /// The module.
    pub module: String,
    /// Its version, of the manifest.
    pub version: String,
    /// The run.
    pub run: String,
    /// What is read in place of `/`.
    pub root: PathBuf,
    /// The path variables of this machine.
    pub values: Vec<(String, PathBuf)>,
    /// The least severity that is kept.
    pub level: Severity,
    /// How long it may be silent.
    pub idle: Option<Duration>,
    /// How long it may take in all.
    pub total: Option<Duration>,
    /// How long it has to end.
    pub grace: Duration,
    /// How much memory it may use, if that is enforced.
    pub memory_bytes: Option<u64>,
    /// What is offered.
    pub offer: Offer,
}

/// What an opening offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The version of the protocol.
    pub version: u64,
    /// Raw frames.
    pub raw: bool,
    /// Rows under keys.
    pub keyed: bool,
    /// A message after hello that no module knows, which it must stand.
    pub unheard: bool,
}

impl Default for Offer {
    fn default() -> Self {
        Self { version: VERSION, raw: true, keyed: true, unheard: false }
    }
}

impl Offer {
    /// Returns the words of what is offered.
    fn features(self) -> impl Iterator<Item = &'static str> {
        [("raw", self.raw), ("keyed", self.keyed)].into_iter().filter_map(|(word, is)| is.then_some(word))
    }
}

impl Opening {
    /// Returns the message.
    pub(super) fn message(&self) -> serde_json::Value {
        let mut limits = json!({
            "grace": self.grace.as_secs(), "line": MAX_LINE_BYTES, "credit": CREDIT_BYTES, "streams": MAX_WINDOW,
        });
        let seconds = |time: Duration| time.as_secs().into();
        let given = [
            ("idle", self.idle.map(seconds)),
            ("total", self.total.map(seconds)),
            ("memory", self.memory_bytes.map(Into::into)),
        ];
        for (key, value) in given {
            if let Some(value) = value {
                limits[key] = value;
            }
        }
        let features: Vec<&str> = self.offer.features().collect();
        let values: Map<_, _> =
            self.values.iter().map(|(name, path)| (name.clone(), path_json(path))).collect();
        json!({
            "t": "hello", "protocols": [self.offer.version], "features": features, "engine": self.engine, "op": self.op.word(),
            "module": self.module, "version": self.version, "run": self.run, "root": path_json(&self.root),
            "values": values, "level": self.level.word(), "limits": limits,
        })
    }
}

/// What the module answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its name, for people.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// When it can be exported.
    pub needs: Needs,
    /// What it can do.
    pub ops: Vec<Op>,
    /// Whether it reads and writes raw frames.
    pub raw: bool,
    /// Whether its records may have keys.
    pub keyed: bool,
}

#[derive(Deserialize)]
struct Answer {
    protocol: u64,
    #[serde(default)]
    features: Option<Vec<String>>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    needs: Option<String>,
    #[serde(default)]
    ops: Option<Vec<String>>,
}

/// Reads the answer to an opening.
pub(super) fn hello(op: Op, offer: Offer, line: &str) -> Result<Hello, Violation> {
    let answer: Answer = super::read::read(line)?;
    if answer.protocol != offer.version {
        let why = format!("it speaks version {}, which was not offered", answer.protocol);
        return Err(Violation { code: "version", message: why });
    }
    let features = answer.features.unwrap_or_default();
    let unknown = |feature: &&String| !offer.features().any(|known| known == **feature);
    if let Some(feature) = features.iter().find(unknown) {
        return Err(Violation::protocol(format!("the feature \"{}\" was not offered", shown(feature))));
    }
    let needs = match answer.needs.as_deref() {
        None => Needs::Either,
        Some(word) => Needs::from_word(word)
            .ok_or_else(|| Violation::protocol("needs must be live, stopped or either"))?,
    };
    // Operations of later versions are none that it will be started for.
    let mut ops: Vec<Op> = answer.ops.iter().flatten().filter_map(|word| Op::from_word(word)).collect();
    ops.extend([Op::Describe, op]);
    ops.sort_unstable();
    ops.dedup();
    let text = |text: Option<String>| shown(&text.unwrap_or_default());
    Ok(Hello {
        name: text(answer.name),
        version: text(answer.version),
        needs,
        ops,
        raw: features.iter().any(|feature| feature == "raw"),
        keyed: features.iter().any(|feature| feature == "keyed"),
    })
}
