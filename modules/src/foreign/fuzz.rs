//! What fuzzing does with any bytes: hand them to the readers of foreign backups and hold these to what they promise.

use super::archive::{Archive, plain_name};
use super::database::Database;
use super::freedombox::{apps, python};
use super::plan::Choice;
use super::{Product, mysql_text, php, plan};
use crate::catalog::Catalog;
use crate::manifest::Manifest;
use dedup_engine::backup::source::{EntryKind, Found, Source};
use dedup_engine::listing::StoredPath;
use std::path::Path;

/// Where scratch may be.
fn scratch() -> &'static Path {
    let fast = Path::new("/dev/shm");
    if fast.is_dir() { fast } else { Path::new("/var/tmp") }
}

/// Any bytes as an archive of each product: what is planned can be stored, every place once, parents before what they hold.
pub fn archive(bytes: &[u8]) {
    let Ok(archive) = Archive::unpack(bytes, scratch(), &|| false) else { return };
    for packed in &archive.entries {
        let mut content = Vec::new();
        let read = std::io::Read::read_to_end(&mut archive.reader(packed), &mut content);
        assert_eq!(read.ok().map(|read| read as u64), Some(packed.header.size));
        assert!(!plain_name(&packed.header.name).starts_with(b"/"));
    }
    let catalog = Catalog::default();
    for product in [Product::Freepbx, Product::Iotstack, Product::Freedombox] {
        let Ok(planned) = plan(product, &archive, &Choice::default(), &catalog, scratch(), &|| false) else {
            continue;
        };
        for module in &planned.modules {
            let text = module.manifest();
            let manifest = Manifest::parse("", text.as_bytes());
            assert!(manifest.is_ok_and(|manifest| manifest.module.id == module.id), "{text}");
            for tree in module.trees.values() {
                let (mut last, mut open): (Option<StoredPath>, Vec<StoredPath>) = (None, Vec::new());
                let walked = tree.walk(&mut |found| {
                    let path = match found {
                        Found::Entry { path, stat, .. } => {
                            let parent = path.parent().filter(|parent| *parent != StoredPath::root());
                            assert!(
                                parent.is_none_or(|parent| open.contains(&parent)),
                                "{path:?} has no parent"
                            );
                            if stat.kind == EntryKind::Directory {
                                open.push(path.clone());
                            }
                            path
                        }
                        Found::Problem { path, .. } => path,
                    };
                    assert!(last.as_ref().is_none_or(|last| *last < path), "{path:?} is out of order");
                    last = Some(path);
                    Ok(())
                });
                assert!(walked.is_ok());
            }
        }
    }
}

/// Any bytes as a dump of MySQL.
pub fn dump(bytes: &[u8]) {
    let Ok(mut database) = Database::new(scratch()) else { return };
    let _ = mysql_text::load("fuzz", bytes, &mut database, &|| false);
    let names: Vec<String> = database.names().map(str::to_owned).collect();
    for name in names {
        let Some(table) = database.table(&name) else { continue };
        let columns: Vec<&str> = table.columns.iter().map(String::as_str).collect();
        let (expected, mut rows) = (table.rows, 0);
        let read = database.rows(&name, &columns, None, &mut |row| {
            assert_eq!(row.len(), columns.len());
            rows += 1;
            Ok(())
        });
        assert!(read.is_ok(), "{read:?}");
        assert_eq!(rows, expected);
    }
}

/// Any bytes as what PHP serialises, as a manifest in Python, and as one in JSON.
pub fn text(bytes: &[u8]) {
    let _ = php::read(bytes);
    if let Ok(source) = python::Source::read(bytes) {
        let places: Vec<_> = source.statements("backup").chain(source.given("a")).take(64).collect();
        for place in places {
            let _ = source.value_here(place);
        }
    }
    let apps = apps::from_json("fuzz", bytes).into_iter().flatten();
    let python = apps::from_python("fuzz", bytes, Some(bytes));
    for app in apps.chain(python) {
        if let Ok(proposal) = app.manifest(None) {
            assert!(Manifest::parse("", proposal.text.as_bytes()).is_ok(), "{}", proposal.text);
        }
    }
}
