//! A manifest in the making.

use crate::manifest::paths::ManifestPath;
use std::path::Path;
use toml::Value;

/// What a manifest will say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Its id.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What was found.
    pub found: Vec<String>,
    /// What a person must look at before it can work.
    pub notes: Vec<String>,
    /// Further keys of `[module]`.
    pub module: Vec<(&'static str, Raw)>,
    /// Further tables, each with its keys.
    pub tables: Vec<(&'static str, Vec<(&'static str, Raw)>)>,
    /// `[config]`, `[data]`, `[secrets]`.
    pub config: Paths,
    /// Data.
    pub data: Paths,
    /// Secrets.
    pub secrets: Paths,
    /// `[[source]]`, as lines of keys.
    pub sources: Vec<Vec<(&'static str, Raw)>>,
    /// `[[service]]`: the same.
    pub services: Vec<Vec<(&'static str, Raw)>>,
}

/// The paths of a section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Directories.
    pub directories: Vec<String>,
    /// Files.
    pub files: Vec<String>,
    /// Patterns that are left out.
    pub exclude: Vec<String>,
    /// Paths that need not be there.
    pub optional: Vec<String>,
}

/// A value as TOML has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw(String);

impl Raw {
    /// Text, which may hold anything.
    pub fn text(text: &str) -> Self {
        Self(Value::from(text).to_string())
    }

    /// An inline table of texts and numbers.
    pub fn table(pairs: &[(&str, Raw)]) -> Self {
        let inside: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} = {}", value.0)).collect();
        Self(format!("{{ {} }}", inside.join(", ")))
    }

    /// A number.
    pub fn number(number: u16) -> Self {
        Self(number.to_string())
    }

    /// True or false.
    pub fn yes(yes: bool) -> Self {
        Self(yes.to_string())
    }

    /// A list of texts.
    pub fn list(texts: &[String]) -> Self {
        let inside: Vec<String> = texts.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
        Self(format!("[{}]", inside.join(", ")))
    }
}

impl Draft {
    /// Begins a draft; `id` is made one as far as it can be.
    pub fn new(id: &str, name: &str) -> Self {
        Self { id: slug(id), name: name.to_owned(), ..Self::default() }
    }

    /// Returns the directories and files of all sections.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.config, &self.data, &self.secrets]
            .into_iter()
            .flat_map(|section| section.directories.iter().chain(&section.files))
            .map(Path::new)
    }

    /// Returns the manifest.
    pub fn text(&self) -> String {
        let mut text = String::from("schema = 1\n");
        let mut comment = |what: &str, lines: &[String]| {
            for line in lines.iter().filter(|line| is_plain(line)) {
                text.push_str(&format!("# {what}: {line}\n"));
            }
        };
        comment("found", &self.found);
        comment("look at", &self.notes);
        text.push_str(&format!("[module]\nid = {}\n", Raw::text(&self.id).0));
        if self.name != self.id {
            text.push_str(&format!("name = {}\n", Raw::text(&self.name).0));
        }
        for (key, value) in &self.module {
            text.push_str(&format!("{key} = {}\n", value.0));
        }
        for (title, keys) in self.tables.iter().filter(|(_, keys)| !keys.is_empty()) {
            text.push_str(&format!("[{title}]\n"));
            for (key, value) in keys {
                text.push_str(&format!("{key} = {}\n", value.0));
            }
        }
        for (title, section) in [("config", &self.config), ("data", &self.data), ("secrets", &self.secrets)] {
            let lists = [
                ("directories", &section.directories),
                ("files", &section.files),
                ("exclude", &section.exclude),
                ("optional", &section.optional),
            ];
            if lists.iter().all(|(_, list)| list.is_empty()) {
                continue;
            }
            text.push_str(&format!("[{title}]\n"));
            for (key, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
                text.push_str(&format!("{key} = {}\n", Raw::list(list).0));
            }
        }
        for (title, tables) in [("source", &self.sources), ("service", &self.services)] {
            for table in tables {
                text.push_str(&format!("[[{title}]]\n"));
                for (key, value) in table {
                    text.push_str(&format!("{key} = {}\n", value.0));
                }
            }
        }
        text
    }
}

/// Returns a text as far as it can be part of an id.
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.to_lowercase().chars() {
        let ok = c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        slug.push(if ok { c } else { '-' });
    }
    let slug = slug.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    slug.chars().take(crate::id::MAX_ID).collect()
}

/// Returns whether a text of the machine may be shown and can stand in a comment: one line, and nothing in it that
/// drives a terminal or turns the direction of writing.
pub fn is_plain(text: &str) -> bool {
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    !text.chars().any(|c| c.is_control() || turns(c))
}

/// Returns a path as a manifest may have it; `None` if it cannot.
pub fn path_text(path: &Path) -> Option<String> {
    let text =
        path.to_str().filter(|text| is_plain(text) && !text.contains("..") && !text.starts_with("//"))?;
    let parsed = ManifestPath::parse(text).ok()?;
    // A directory that happens to be called __NAME__ would be read as a variable.
    (parsed.variable.is_none() && !parsed.rest.is_empty()).then_some(parsed.rest)
}
