//! Database files of SQLite: those that some process has open, and those that lie where services keep them.
//!
//! One that lies in what a module declares becomes a source of that module, and is left out of its files; the others
//! become a module for each program that has them open.

use super::draft::{Draft, Raw, path_text, slug};
use super::system::{System, file_name};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How every such file begins (<https://www.sqlite.org/fileformat2.html#the_database_header>).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Most database files of one module.
const MAX_FILES: usize = 32;
/// Longest name of a source, but for a number at its end.
const MAX_NAME: usize = 56;
/// Where services keep their data, each in a directory of its own.
const PLACES: [&str; 3] = ["/var/lib", "/srv", "/opt"];
/// What belongs to a person's programs, to the system's own lists, or to nobody for long.
const PASSED_OVER: [&str; 7] =
    ["/home", "/root", "/tmp", "/var/tmp", "/var/cache", "/var/lib/docker", "/var/lib/containers"];

/// Adds what it finds to the drafts.
pub fn find(system: &System, drafts: &mut Vec<Draft>) {
    let mut alone: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    for (path, by) in files(system) {
        let Some(text) = path_text(&path) else { continue };
        if drafts.iter().any(|draft| has_source(draft, &text)) {
            continue;
        }
        // Of the deepest declared directory.
        let depth = |draft: &Draft| {
            let holds = draft.paths().filter(|declared| path.starts_with(declared));
            holds.map(|declared| declared.components().count()).max()
        };
        let owner = drafts
            .iter_mut()
            .filter_map(|draft| Some((depth(draft)?, draft)))
            .max_by_key(|(depth, _)| *depth);
        match owner {
            Some((_, draft)) => add(draft, &path, &text),
            // Files of people are theirs to declare.
            None if PASSED_OVER.iter().any(|dir| path.starts_with(dir)) => {}
            None => alone.entry(by).or_default().push((path, text)),
        }
    }
    for (by, files) in alone {
        let mut draft = Draft::new(&format!("sqlite-{by}"), &format!("Databases of {by}"));
        draft.found.extend(files.iter().map(|(_, text)| text.clone()));
        files.iter().for_each(|(path, text)| add(&mut draft, path, text));
        drafts.push(draft);
    }
}

fn has_source(draft: &Draft, path: &str) -> bool {
    draft.sources.iter().flatten().any(|(key, value)| *key == "path" && *value == Raw::text(path))
}

fn add(draft: &mut Draft, path: &Path, text: &str) {
    if has_source(draft, text) || draft.sources.len() >= MAX_FILES {
        return;
    }
    let base: String = slug(file_name(path)).replace('.', "-").chars().take(MAX_NAME).collect();
    let base = if base.is_empty() { "database".to_owned() } else { base };
    let is_used = |name: &str| {
        draft.sources.iter().flatten().any(|(key, value)| *key == "name" && *value == Raw::text(name))
    };
    let name =
        (1..).map(|n| if n == 1 { base.clone() } else { format!("{base}-{n}") }).find(|name| !is_used(name));
    let mut source = vec![("name", Raw::text(&name.unwrap_or_default())), ("driver", Raw::text("sqlite"))];
    let sections =
        [("config", &mut draft.config), ("data", &mut draft.data), ("secrets", &mut draft.secrets)];
    let holds = |dir: &String| path.starts_with(dir);
    for (section, of) in sections {
        if let Some(dir) = of.directories.iter().find(|dir| holds(dir)) {
            if section != "data" {
                source.push(("section", Raw::text(section)));
            }
            // Its journal and its shared memory go with it.
            if let Ok(below) = path.strip_prefix(dir)
                && let Some(below) =
                    below.to_str().filter(|below| !below.contains(['*', '?', '[', '\\', '!', '#', ' ']))
            {
                of.exclude.extend(["", "-wal", "-shm", "-journal"].map(|end| format!("/{below}{end}")));
            }
            break;
        }
    }
    source.push(("path", Raw::text(text)));
    draft.sources.push(source);
}

/// Returns database files with the program that has them open, or the directory they lie in, sorted.
fn files(system: &System) -> BTreeMap<PathBuf, String> {
    let is_database = |path: &Path| {
        // Journals have names of their own and another beginning.
        system.bytes(path, MAGIC.len() as u64).is_some_and(|bytes| bytes == MAGIC)
    };
    let mut found = BTreeMap::new();
    for process in &system.processes {
        for path in process.open.iter().filter(|path| is_database(path)) {
            found.entry(path.clone()).or_insert_with(|| process.name.clone());
        }
    }
    for place in PLACES {
        for owner in system.names(place) {
            let dir = Path::new(place).join(&owner);
            for name in system.names(&dir).iter().filter(|name| looks_like_one(name)) {
                let path = dir.join(name);
                if is_database(&path) {
                    found.entry(path).or_insert_with(|| owner.clone());
                }
            }
        }
    }
    found
}

fn looks_like_one(name: &str) -> bool {
    let ends = [".db", ".db3", ".sqlite", ".sqlite3"];
    ends.iter().any(|end| name.ends_with(end))
}
