//! What an exporter sent beside streams, as it is collected, stored and read again.

use crate::files::Excludes;
use crate::manifest::sections::SectionKind;
use crate::manifest::words::Words;
use crate::protocol::{Depend, Item, Key, Message, Value, Violation, WirePath, map_text, path_json};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Name of the dump that it is stored as.
pub const EXPORTER: &str = ".exporter";
/// Name of the dump of its secrets.
pub const EXPORTER_SECRETS: &str = ".exporter-secrets";
/// Kind of every dump that an exporter sent.
pub const KIND: &str = "external";
/// Version of the text.
const VERSION: u64 = 1;

const MAX_KEYS: usize = 65_536;
const MAX_BYTES: usize = 16 << 20;
const MAX_ITEMS: usize = 2000;
const MAX_LISTED: usize = 1000;

/// What was collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The configuration: where each key belongs, and its value unless it is noted as absent.
    pub configs: BTreeMap<Key, (SectionKind, Option<Value>)>,
    /// Modules to restore before.
    pub dependencies: Vec<Depend>,
    /// Files and directories, each with the value of the variable it moves with.
    pub items: Vec<(Item, Option<PathBuf>)>,
    /// A restore must not empty the module first.
    pub skip_reset: bool,
    bytes: usize,
}

impl Collected {
    /// Takes a message; gives it back if it is none of those that are collected.
    pub fn take(
        &mut self,
        message: Message,
        values: &[(String, PathBuf)],
    ) -> Result<Option<Message>, Violation> {
        match message {
            Message::Config(section, key, value) => self.config(section, key, value)?,
            Message::Configs(section, entries, replace) => {
                if replace {
                    self.configs.retain(|_, (known, _)| *known != section);
                    self.bytes = self.configs.iter().map(|(key, (_, value))| cost(key, value.as_ref())).sum();
                }
                for (key, value) in entries {
                    self.config(section, key, Some(value))?;
                }
            }
            Message::Depend(depend) => {
                at_most(self.dependencies.len(), MAX_LISTED, "dependencies")?;
                depend.requirement().map_err(Violation::protocol)?;
                self.dependencies.push(depend);
            }
            Message::Item(item) => {
                at_most(self.items.len(), MAX_ITEMS, "files and directories")?;
                let excludes = item.exclude.iter().flatten();
                Excludes::parse(excludes.map(|pattern| ("exclude", pattern.as_str())))
                    .map_err(|error| Violation::protocol(error.to_string()))?;
                let value = base_value(&item, values)?;
                self.items.push((item, value));
            }
            Message::SkipReset => self.skip_reset = true,
            other => return Ok(Some(other)),
        }
        Ok(None)
    }

    fn config(&mut self, section: SectionKind, key: Key, value: Option<Value>) -> Result<(), Violation> {
        let fresh = cost(&key, value.as_ref());
        let gone = self.configs.get(&key).map_or(0, |(_, value)| cost(&key, value.as_ref()));
        self.bytes = self.bytes - gone + fresh;
        self.configs.insert(key, (section, value));
        if self.bytes > MAX_BYTES {
            return Err(Violation::limit(format!("the configuration has more than {MAX_BYTES} bytes")));
        }
        at_most(self.configs.len().saturating_sub(1), MAX_KEYS, "keys of the configuration")
    }

    /// Returns whether there is a secret in it.
    pub fn has_secrets(&self) -> bool {
        self.configs.values().any(|(section, _)| *section == SectionKind::Secrets)
    }

    /// Returns the text that is stored, without or only with secrets.
    pub fn to_text(&self, secrets: bool) -> String {
        let of = |section: &SectionKind| (*section == SectionKind::Secrets) == secrets;
        let own = self.configs.iter().filter(|(_, (section, _))| of(section));
        let (mut absent, mut present) = (Vec::new(), Vec::new());
        for (key, (_, value)) in own {
            match value {
                Some(value) => present.push((key.as_str(), value.as_text())),
                None => absent.push(key.as_str()),
            }
        }
        let (absent, configs) = (json!(absent).to_string(), map_text(present));
        if secrets {
            return map_text([("absent", &absent[..]), ("configs", &configs), ("exporter", "1")]) + "\n";
        }
        let depend = |depend: &Depend| json!({ "after": depend.after.unwrap_or(false), "module": depend.module, "version": depend.version });
        let dependencies = json!(self.dependencies.iter().map(depend).collect::<Vec<_>>()).to_string();
        let items = |dirs: bool| {
            let of = self.items.iter().filter(|(item, _)| item.is_directory == dirs);
            json!(of.map(|(item, value)| item_json(item, value)).collect::<Vec<_>>()).to_string()
        };
        let (dirs, files) = (items(true), items(false));
        let skip = self.skip_reset.to_string();
        map_text([
            ("absent", &absent[..]),
            ("configs", &configs),
            ("dependencies", &dependencies),
            ("dirs", &dirs),
            ("exporter", "1"),
            ("files", &files),
            ("skip_reset", &skip),
        ]) + "\n"
    }

    /// Reads what was stored, and adds it.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn read(&mut self, text: &[u8], secrets: bool) -> Result<(), String> {
        let stored: Stored = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if stored.exporter != VERSION {
            return Err(format!("it is of version {}, and this program reads {VERSION}", stored.exporter));
        }
        let section = if secrets { SectionKind::Secrets } else { SectionKind::Config };
        for (key, value) in stored.configs {
            self.configs.insert(key, (section, Some(value)));
        }
        for key in stored.absent {
            self.configs.insert(key, (section, None));
        }
        self.dependencies.extend(stored.dependencies);
        self.skip_reset |= stored.skip_reset;
        for (mut list, is_directory) in [(stored.files, false), (stored.dirs, true)] {
            for stored in &mut list {
                stored.item.is_directory = is_directory;
            }
            self.items.extend(
                list.into_iter()
                    .map(|stored| (stored.item, stored.value.map(|value| value.as_path().to_owned()))),
            );
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Stored {
    exporter: u64,
    absent: Vec<Key>,
    configs: BTreeMap<Key, Value>,
    #[serde(default)]
    dependencies: Vec<Depend>,
    #[serde(default)]
    files: Vec<StoredItem>,
    #[serde(default)]
    dirs: Vec<StoredItem>,
    #[serde(default)]
    skip_reset: bool,
}

#[derive(Deserialize)]
struct StoredItem {
    #[serde(flatten)]
    item: Item,
    #[serde(default)]
    value: Option<WirePath>,
}

fn item_json(item: &Item, value: &Option<PathBuf>) -> serde_json::Value {
    let section = item.section.unwrap_or(SectionKind::Data).word();
    json!({
        "base": item.base, "kind": item.kind, "path": item.path, "section": section,
        "value": value.as_deref().map(path_json),
    })
}

fn cost(key: &Key, value: Option<&Value>) -> usize {
    key.as_str().len() + value.map_or(0, |value| value.as_text().len())
}

fn at_most(have: usize, most: usize, what: &str) -> Result<(), Violation> {
    if have < most { Ok(()) } else { Err(Violation::limit(format!("more than {most} {what}"))) }
}

/// Returns the value of the variable that an item moves with.
fn base_value(item: &Item, values: &[(String, PathBuf)]) -> Result<Option<PathBuf>, Violation> {
    let Some(base) = item.base.as_deref().filter(|base| !base.is_empty()) else { return Ok(None) };
    let value = values.iter().find(|(name, _)| name == base).map(|(_, value)| value);
    match value {
        Some(value) if item.path.as_path().starts_with(value) => Ok(Some(value.clone())),
        Some(_) => Err(Violation::protocol(format!("base: the path does not lie below {base}"))),
        None => Err(Violation::protocol("base: there is no such path variable")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again() {
        let mut collected = Collected::default();
        let key = |key: &str| Key::try_from(key.to_owned()).unwrap();
        let value = |text: &str| Value::parse(text).unwrap();
        let none: [(String, PathBuf); 0] = [];
        for message in [
            Message::Config(SectionKind::Config, key("b"), Some(value("{\"$b\":\"AAE=\"}"))),
            Message::Config(SectionKind::Config, key("a"), None),
            Message::Config(SectionKind::Secrets, key("token"), Some(value("\"s\""))),
            Message::Depend(Depend { module: "core".into(), version: Some(">= 1".into()), after: None }),
            Message::SkipReset,
        ] {
            assert_eq!(collected.take(message, &none).unwrap(), None);
        }
        let text = collected.to_text(false);
        assert_eq!(
            text,
            "{\"absent\":[\"a\"],\"configs\":{\"b\":{\"$b\":\"AAE=\"}},\"dependencies\":[{\"after\":false,\"module\":\"core\",\"version\":\">= 1\"}],\
             \"dirs\":[],\"exporter\":1,\"files\":[],\"skip_reset\":true}\n"
        );
        assert!(!text.contains("token"));
        let mut again = Collected::default();
        again.read(text.as_bytes(), false).unwrap();
        again.read(collected.to_text(true).as_bytes(), true).unwrap();
        assert_eq!(again.configs, collected.configs);
        assert!(again.read(text.replace("\"exporter\":1", "\"exporter\":2").as_bytes(), false).is_err());
    }
}
