//! What messages of a module say.

use super::canon::Value;
use super::names::{Key, Name, WirePath};
use super::read::section;
use crate::manifest::programs::Severity;
use crate::manifest::sections::SectionKind;
use crate::version::Requirement;
use serde::{Deserialize, Serialize};

/// A message that is none of streams, opening and ending: those are the session's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// One entry of the configuration; without a value it is noted as absent.
    Config(SectionKind, Key, Option<Value>),
    /// Several; whether those sent before are forgotten.
    Configs(SectionKind, Vec<(Key, Value)>, bool),
    /// A module to restore before.
    Depend(Depend),
    /// A file or directory to store.
    Item(Item),
    /// A source of the manifest to dump now.
    Dump(Name),
    /// What to remove at the end.
    Garbage(WirePath),
    /// A directory of its own is wanted.
    Scratch,
    /// A restore must not empty the module first.
    SkipReset,
    /// Something stored is wanted.
    Get(What),
    /// A stored file, where it belongs or elsewhere.
    Place(WirePath, Option<WirePath>),
    /// The value of a path variable.
    Resolve(String),
    /// Something is consumed.
    Take(What),
    /// Whether a source of the manifest was loaded.
    Load(Name),
    /// Something of a space.
    Space(SpaceCall),
}

/// A module to restore before this one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Depend {
    /// Which.
    pub module: String,
    /// A condition on its version.
    #[serde(default)]
    pub version: Option<String>,
    /// Only order.
    #[serde(default)]
    pub after: Option<bool>,
}

impl Depend {
    /// Returns it as manifests write it: `core >= 13.0.22`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn requirement(&self) -> Result<String, String> {
        let text = [&self.module, self.version.as_deref().unwrap_or_default()].join(" ");
        let text = Requirement::parse(text.trim())?.to_string();
        // What an account holds of one (`FORMAT.md` 12).
        if text.len() > 255 { Err("a dependency is longer than 255 bytes".into()) } else { Ok(text) }
    }
}

/// A file or directory that an exporter names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Item {
    /// Where it is.
    pub path: WirePath,
    /// A label for the importer.
    #[serde(default)]
    pub kind: Option<String>,
    /// The variable it moves with.
    #[serde(default)]
    pub base: Option<String>,
    /// Where it belongs.
    #[serde(default, deserialize_with = "section")]
    pub section: Option<SectionKind>,
    /// Whether its absence is not worth a warning.
    #[serde(default)]
    pub optional: Option<bool>,
    /// Whether it is a directory; of the message's type.
    #[serde(skip)]
    pub is_directory: bool,
    /// With what is below it.
    #[serde(default)]
    pub recurse: Option<bool>,
    /// What of that is left out.
    #[serde(default)]
    pub exclude: Option<Vec<String>>,
}

/// What an importer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The blob, records or tree of this name; the shape that is expected.
    Stream(Shape, Option<Name>),
    /// All files, or one.
    File(Option<WirePath>),
    /// All files that an exporter sent.
    Files,
    /// All directories.
    Dirs,
    /// The configuration, or one key of it.
    Config(Option<Key>),
}

/// The shape of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Bytes.
    Blob,
    /// Rows.
    Records,
    /// Rows of a path of keys and a value.
    Tree,
}

impl Shape {
    /// Returns the word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Records => "records",
            Self::Tree => "tree",
        }
    }
}

/// What a stream is, as it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub s: u64,
    /// Its shape.
    pub shape: Shape,
    /// Its name.
    pub name: Name,
    /// Where it belongs.
    pub section: SectionKind,
    /// A label for the importer.
    pub kind: Option<String>,
    /// How many bytes there will be, as far as is known.
    pub size: Option<u64>,
    /// When what it holds was changed, in seconds since 1970.
    pub mtime: Option<i64>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Of records.
    pub schema: Option<Value>,
    /// The columns that its rows are stored under; none: in their order.
    pub key: Vec<String>,
}

/// A call of a space; the space is the module's own if none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceCall {
    /// Which.
    pub space: Option<String>,
    /// What.
    pub act: SpaceAct,
}

/// What is done with a space.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "section 7 of PROTOCOL.md has them")]
pub enum SpaceAct {
    Open { persistent: bool },
    PutPath { path: WirePath, name: Option<String> },
    PutValue { name: String, value: Value },
    Value { name: String },
    RestoreName { name: String, to: Option<WirePath> },
    RestorePath { path: WirePath, name: Option<String> },
    Exists { name: Option<String>, path: Option<WirePath> },
    Delete { name: String },
    List,
}

/// A message for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// How much it matters.
    pub level: Severity,
    /// What.
    pub text: String,
}
