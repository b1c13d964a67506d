//! Messages of a module, read and checked.

use super::canon::Value;
use super::message::{Item, Message, Opened, Shape, SpaceAct, SpaceCall, What};
use super::names::{Key, Name, WirePath};
use super::violation::{Violation, shown};
use crate::manifest::sections::SectionKind;
use crate::manifest::words::Words;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// What every message has.
#[derive(Deserialize)]
pub(super) struct Head<'m> {
    #[serde(borrow)]
    pub t: Cow<'m, str>,
    #[serde(default)]
    pub id: Option<u64>,
    #[serde(default)]
    pub must: Option<bool>,
}

#[derive(Deserialize)]
struct Open {
    s: u64,
    name: Name,
    #[serde(default, deserialize_with = "section")]
    section: Option<SectionKind>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    mtime: Option<i64>,
    #[serde(default)]
    mode: Option<u32>,
    #[serde(default)]
    schema: Option<Value>,
    #[serde(default)]
    keyed: Option<bool>,
}

#[derive(Deserialize)]
struct Fields {
    #[serde(default, deserialize_with = "section")]
    section: Option<SectionKind>,
    #[serde(default)]
    key: Option<Key>,
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
    #[serde(default)]
    absent: Option<bool>,
    #[serde(default)]
    map: Option<Entries>,
    #[serde(default)]
    replace: Option<bool>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    path: Option<WirePath>,
    #[serde(default)]
    to: Option<WirePath>,
    #[serde(default)]
    what: Option<String>,
    #[serde(default)]
    variable: Option<String>,
    #[serde(default)]
    space: Option<String>,
    #[serde(default)]
    persistent: Option<bool>,
}

/// Null is a value, and not the absence of one.
fn present<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(reader).map(Some)
}

pub(super) fn section<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<SectionKind>, D::Error> {
    let Some(word) = Option::<String>::deserialize(reader)? else { return Ok(None) };
    let found = SectionKind::WORDS.iter().find(|(known, _)| *known == word);
    found.map(|(_, section)| Some(*section)).ok_or_else(|| {
        de::Error::custom(format!("there is no section \"{}\": config, data, secrets", shown(&word)))
    })
}

/// A map whose keys are not looked at twice.
struct Entries(Vec<(Key, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let (mut entries, mut known) = (Vec::new(), BTreeSet::new());
                while let Some((key, value)) = map.next_entry::<Key, Value>()? {
                    if !known.insert(key.clone()) {
                        return Err(de::Error::custom("a key twice in one map"));
                    }
                    entries.push((key, value));
                }
                Ok(Entries(entries))
            }
        }
        reader.deserialize_map(EntriesVisitor)
    }
}

/// Reads the keys of a message; the line is an object, which the session has seen.
pub(super) fn read<'m, T: Deserialize<'m>>(line: &'m str) -> Result<T, Violation> {
    serde_json::from_str(line).map_err(|error| {
        let text: String = error.to_string().chars().take(200).flat_map(char::escape_debug).collect();
        Violation::protocol(text)
    })
}

/// Reads a message that opens a stream.
pub(super) fn open(shape: Shape, line: &str) -> Result<Opened, Violation> {
    let Open { s, name, section, kind, size, mtime, mode, schema, keyed } = read(line)?;
    if mode.is_some_and(|mode| mode > 0o7777) {
        return Err(Violation::protocol("mode has more than permission bits"));
    }
    if (shape == Shape::Records) != schema.is_some() {
        return Err(Violation::protocol("records have a schema, and nothing else has"));
    }
    label(kind.as_deref())?;
    let section = section.unwrap_or(SectionKind::Data);
    let key = match &schema {
        Some(schema) if keyed == Some(true) => super::rows::key(schema)?,
        _ => Vec::new(),
    };
    Ok(Opened { s, shape, name, section, kind, size, mtime, mode, schema, key })
}

fn label(kind: Option<&str>) -> Result<(), Violation> {
    match kind {
        Some(kind) if kind.len() > 100 || kind.chars().any(char::is_control) => {
            Err(Violation::protocol("kind must have at most 100 bytes, and no control characters"))
        }
        _ => Ok(()),
    }
}

/// Reads any other message; none if its type is not known.
pub(super) fn message(t: &str, line: &str) -> Result<Option<Message>, Violation> {
    if !matches!(
        t,
        "config"
            | "configs"
            | "depend"
            | "file"
            | "dir"
            | "dump"
            | "garbage"
            | "scratch"
            | "skip_reset"
            | "get"
            | "place"
            | "resolve"
            | "take"
            | "load"
    ) && !t.starts_with("space.")
    {
        return Ok(None);
    }
    match t {
        "depend" => return Ok(Some(Message::Depend(read(line)?))),
        "file" | "dir" => {
            let mut item: Item = read(line)?;
            label(item.kind.as_deref())?;
            item.is_directory = t == "dir";
            return Ok(Some(Message::Item(item)));
        }
        _ => {}
    }
    let fields: Fields = read(line)?;
    let missing = |key: &str| Violation::protocol(format!("{key} is missing"));
    if let Some(act) = t.strip_prefix("space.") {
        let space = fields.space.clone();
        return Ok(space_act(act, fields)?.map(|act| Message::Space(SpaceCall { space, act })));
    }
    let name = |name: Option<String>| -> Result<Name, Violation> {
        Name::try_from(name.ok_or_else(|| missing("name"))?).map_err(Violation::protocol)
    };
    let section = fields.section.unwrap_or(SectionKind::Config);
    if t.starts_with("config") && section == SectionKind::Data {
        return Err(Violation::protocol("the configuration is of section config or secrets"));
    }
    Ok(Some(match t {
        "config" => match (fields.value, fields.absent.unwrap_or(false)) {
            (Some(_), true) => return Err(Violation::protocol("either a value or absent")),
            (None, false) => return Err(missing("value")),
            (value, _) => Message::Config(section, fields.key.ok_or_else(|| missing("key"))?, value),
        },
        "configs" => {
            let Entries(entries) = fields.map.ok_or_else(|| missing("map"))?;
            Message::Configs(section, entries, fields.replace.unwrap_or(false))
        }
        "dump" => Message::Dump(name(fields.name)?),
        "load" => Message::Load(name(fields.name)?),
        "garbage" => Message::Garbage(fields.path.ok_or_else(|| missing("path"))?),
        "scratch" => Message::Scratch,
        "skip_reset" => Message::SkipReset,
        "place" => Message::Place(fields.path.ok_or_else(|| missing("path"))?, fields.to),
        "resolve" => Message::Resolve(fields.variable.ok_or_else(|| missing("variable"))?),
        _ => {
            let what = what(&fields, t == "get")?;
            if t == "get" { Message::Get(what) } else { Message::Take(what) }
        }
    }))
}

fn what(fields: &Fields, is_get: bool) -> Result<What, Violation> {
    let name = || fields.name.clone().map(Name::try_from).transpose().map_err(Violation::protocol);
    let shape = |shape| {
        let name = name()?;
        if is_get && name.is_none() {
            return Err(Violation::protocol("name is missing"));
        }
        Ok(What::Stream(shape, name))
    };
    match fields.what.as_deref() {
        Some("blob") => shape(Shape::Blob),
        Some("records") => shape(Shape::Records),
        Some("tree") => shape(Shape::Tree),
        Some("files") => Ok(What::Files),
        Some("dirs") => Ok(What::Dirs),
        Some("file") if is_get && fields.path.is_none() => Err(Violation::protocol("path is missing")),
        Some("file") => Ok(What::File(fields.path.clone())),
        Some("config") if !is_get => {
            let key = fields.name.clone().map(Key::try_from).transpose().map_err(Violation::protocol)?;
            Ok(What::Config(key))
        }
        _ => Err(Violation::protocol("what must be blob, records, tree, files, dirs or file")),
    }
}

fn space_act(act: &str, fields: Fields) -> Result<Option<SpaceAct>, Violation> {
    let missing = |key: &str| Violation::protocol(format!("{key} is missing"));
    let named = || fields.name.clone().ok_or_else(|| missing("name"));
    let path = || fields.path.clone().ok_or_else(|| missing("path"));
    Ok(Some(match act {
        "open" => SpaceAct::Open { persistent: fields.persistent.unwrap_or(false) },
        "put_path" => SpaceAct::PutPath { path: path()?, name: fields.name },
        "put_value" => {
            SpaceAct::PutValue { name: named()?, value: fields.value.ok_or_else(|| missing("value"))? }
        }
        "value" => SpaceAct::Value { name: named()? },
        "restore_name" => SpaceAct::RestoreName { name: named()?, to: fields.to },
        "restore_path" => SpaceAct::RestorePath { path: path()?, name: fields.name },
        "exists" if fields.name.is_none() && fields.path.is_none() => return Err(missing("name or path")),
        "exists" => SpaceAct::Exists { name: fields.name, path: fields.path },
        "delete" => SpaceAct::Delete { name: named()? },
        "list" => SpaceAct::List,
        _ => return Ok(None),
    }))
}
