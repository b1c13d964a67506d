//! Whatever becomes of the folder of an index: the next runs heal it, and vouch for nothing that is not stored.

use super::history::History;
use crate::support::budget::Budget;
use crate::support::copy_dir;
use crate::support::random::Random;
use std::fs;
use std::path::{Path, PathBuf};

fn files_of(db: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(db).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file()).map(|entry| entry.path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Damages the index in `dir` in one way, and says how.
fn damage(dir: &Path, images: &[(String, PathBuf)], random: &mut Random) -> String {
    let db = dir.join("db");
    let files = if db.is_dir() { files_of(&db) } else { Vec::new() };
    if files.is_empty() {
        return "nothing left to damage".to_owned();
    }
    let mut pick = |len: usize| random.below(len as u64) as usize;
    let file = &files[pick(files.len())];
    let mut bytes = fs::read(file).unwrap();
    let at = pick(bytes.len().max(1));
    match pick(11) {
        0 | 1 if !bytes.is_empty() => {
            bytes[at] ^= 1 << pick(8);
            fs::write(file, bytes).unwrap();
            format!("a bit of byte {at} of {} flipped", name(file))
        }
        2 => {
            bytes.truncate(at);
            fs::write(file, bytes).unwrap();
            format!("{} cut at {at}", name(file))
        }
        3 => {
            let cut = files.iter().map(|file| {
                let len = fs::metadata(file).unwrap().len();
                let len = pick(len as usize + 1) as u64;
                fs::File::options().write(true).open(file).unwrap().set_len(len).unwrap();
                len
            });
            format!("every file cut, at {:?}", cut.collect::<Vec<_>>())
        }
        4 => {
            fs::remove_file(file).unwrap();
            format!("{} removed", name(file))
        }
        5 => {
            let end = (at + 4096).min(bytes.len());
            bytes[at..end].fill(0);
            fs::write(file, bytes).unwrap();
            format!("{} zeroed from {at}", name(file))
        }
        6 => {
            let (other, from) = &images[pick(images.len())];
            let mut taken = Vec::new();
            for file in files_of(&from.join("db")) {
                if pick(3) == 0 {
                    fs::copy(&file, db.join(file.file_name().unwrap())).unwrap();
                    taken.push(name(&file));
                }
            }
            format!("{taken:?} taken from the one {other}")
        }
        7 => {
            let other = &files[pick(files.len())];
            fs::copy(other, file).unwrap();
            format!("{} exchanged for {}", name(file), name(other))
        }
        8 => {
            bytes.extend_from_slice(&b"more than there was"[..pick(19)]);
            fs::write(file, bytes).unwrap();
            format!("{} prolonged", name(file))
        }
        9 => {
            fs::remove_dir_all(&db).unwrap();
            match pick(3) {
                0 => fs::write(&db, b"no folder").unwrap(),
                1 => std::os::unix::fs::symlink("/nowhere", &db).unwrap(),
                _ => {}
            }
            "the database removed".to_owned()
        }
        _ => {
            // A switch that was cut off, with another database on its way in or out.
            let (other, from) = &images[pick(images.len())];
            let place = ["db.new", "db.aside", "scratch-0123"][pick(3)];
            copy_dir(&from.join("db"), &dir.join(place));
            format!("{place} left over, from the one {other}")
        }
    }
}

/// The index is older or newer than the repository, was cut off, is another's, and damaged on top of that.
#[test]
fn a_damaged_or_wrong_index_heals_and_vouches_for_nothing() {
    let history = History::new(45);
    let budget = Budget::of("R12 local index", 60, 2000);
    let mut failed = 0;
    budget.each(|_, random| {
        // Mostly the repository as it is; else one that was set back under a newer index.
        let stage = [2, 2, 2, 1, 0][random.below(5) as usize];
        let (kept, image) = &history.images[random.below(history.images.len() as u64) as usize];
        let case = history.case(stage, image);
        let damages = (0..random.below(3)).map(|_| damage(&case.world.index(), &history.images, random));
        let what =
            format!("after backup {stage}, the index {kept}, {}", damages.collect::<Vec<_>>().join(", "));
        failed += case.heals(&what);
        case.assert_nothing_dangles(&what);
    });
    budget.tell(&format!(
        "{} indexes healed, {failed} runs met the damage first and said so, 0 dangling references",
        budget.cases()
    ));
}
