//! What an importer is told, and what is left of it when it has ended.

use super::collected::Collected;
use super::talker::Talker;
use crate::manifest::sections::SectionKind;
use crate::manifest::words::Words;
use crate::protocol::{Op, Shape, map_text};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

/// Bytes of one `configs` message, about.
const PIECE_BYTES: usize = 256 << 10;
/// Streams that one `have` lists.
const PIECE_STREAMS: usize = 500;

/// A stream that an exporter sent, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredStream {
    /// Its name.
    pub name: String,
    /// Where it belongs.
    pub section: SectionKind,
    /// Its shape.
    pub shape: Shape,
    /// What the exporter called it.
    pub label: Option<String>,
    /// Its bytes.
    pub bytes: u64,
    /// Whether its rows lie under keys.
    pub keyed: bool,
}

/// What an importer is told.
#[derive(Clone, Debug, Default)]
pub struct ImportData {
    /// The message `begin`, without its type.
    pub begin: Json,
    /// What was sent beside streams.
    pub collected: Collected,
    /// The streams.
    pub streams: Vec<StoredStream>,
    /// The sources that were loaded.
    pub sources: Vec<String>,
}

impl StoredStream {
    /// Returns it in words.
    pub(super) fn word(&self) -> String {
        format!("{} {}", self.shape.word(), self.name)
    }
}

impl ImportData {
    /// Says what there is.
    pub(super) fn tell(&self, op: Op, talker: &mut Talker<'_>) {
        if op == Op::Reset {
            return;
        }
        let mut begin = self.begin.clone();
        begin["t"] = "begin".into();
        talker.session.send(&begin);
        if !matches!(op, Op::Import | Op::Check | Op::Legacy) {
            return;
        }
        let mut pieces: Vec<String> = Vec::new();
        for section in [SectionKind::Config, SectionKind::Secrets] {
            self.configs(section, &mut pieces);
        }
        let last = pieces.len().saturating_sub(1);
        for (n, piece) in pieces.iter().enumerate() {
            talker.session.send_line(&format!("{piece},\"more\":{}}}", n < last));
        }
        let lists: Vec<&[StoredStream]> = self.streams.chunks(PIECE_STREAMS).collect();
        let lists = if lists.is_empty() { vec![&[][..]] } else { lists };
        let count = |dirs| self.collected.items.iter().filter(|(item, _)| item.is_directory == dirs).count();
        for (n, list) in lists.iter().enumerate() {
            let of = |shape| {
                let list = list.iter().filter(|stream| stream.shape == shape);
                Json::from(list.map(StoredStream::listed).collect::<Vec<_>>())
            };
            talker.session.send(&json!({
                "t": "have", "blobs": of(Shape::Blob), "records": of(Shape::Records), "trees": of(Shape::Tree),
                "files": count(false), "dirs": count(true), "more": n + 1 < lists.len(),
            }));
        }
    }

    /// Makes messages of the configuration, each without its end; at least one for the section `config`.
    fn configs(&self, section: SectionKind, pieces: &mut Vec<String>) {
        let (mut map, mut absent, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut begun = section == SectionKind::Config;
        let mut flush = |map: &mut Vec<(&str, &str)>, absent: &mut Vec<&str>| {
            pieces.push(format!(
                "{{\"t\":\"configs\",\"map\":{},\"absent\":{},\"section\":\"{section}\"",
                map_text(map.drain(..)),
                json!(absent),
            ));
            absent.clear();
        };
        for (key, (of, value)) in &self.collected.configs {
            if *of != section {
                continue;
            }
            let cost = key.as_str().len() + value.as_ref().map_or(0, |value| value.as_text().len());
            if bytes > 0 && bytes + cost > PIECE_BYTES {
                flush(&mut map, &mut absent);
                bytes = 0;
            }
            begun = true;
            bytes += cost;
            match value {
                Some(value) => map.push((key.as_str(), value.as_text())),
                None => absent.push(key.as_str()),
            }
        }
        if begun {
            flush(&mut map, &mut absent);
        }
    }

    /// Returns what was not taken, in words.
    pub(super) fn untaken(&self, taken: &BTreeSet<String>) -> Vec<String> {
        let streams = self.streams.iter().map(StoredStream::word);
        let configs = self.collected.configs.iter().filter(|(_, (_, value))| value.is_some());
        let all = streams.chain(configs.map(|(key, _)| format!("config {}", key.as_str())));
        all.filter(|word| !taken.contains(word)).collect()
    }
}

impl StoredStream {
    fn listed(&self) -> Json {
        let mut listed = json!({ "name": self.name, "section": self.section.word(), "kind": self.label, "bytes": self.bytes });
        if self.keyed {
            listed["keyed"] = true.into();
        }
        listed
    }
}
