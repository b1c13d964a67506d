//! Work on keys that is killed: how it is done, and the judgement of it.

use super::{Course, Station, Work, words};

impl Course {
    /// No work on keys locks anybody out who had a key before and has one afterwards, and it can be done again.
    pub(super) fn judge_keys(&self, work: Work, at: &Station, is_done: bool, case: &str) {
        let (old, new) = (at.open_by("key"), at.open_by("key2"));
        match work {
            Work::KeyChange => {
                assert!(old.is_ok() || new.is_ok(), "{case}: locked out: {old:?}, {new:?}");
                assert!(!is_done || (old.is_err() && new.is_ok()), "{case}: done: {old:?}, {new:?}");
            }
            _ => {
                assert!(old.is_ok(), "{case}: {old:?}");
                assert!(
                    !is_done || new.is_ok() == matches!(work, Work::KeyAdd | Work::KeyWriter),
                    "{case}: done: {new:?}"
                );
            }
        }
        let is_effective = match work {
            Work::KeyChange => old.is_err(),
            Work::KeyRemove => new.is_err(),
            _ => new.is_ok(),
        };
        if !is_effective {
            at.run("key", &self.args(work, at)).ok(&format!("{case}: again"));
        }
    }
}

pub(super) fn key_writer(at: &Station) -> Vec<String> {
    words(&["key", "add", "--write-only", "--new-key-file", &at.path("key2").display().to_string()])
}

pub(super) fn key_add(at: &Station) -> Vec<String> {
    words(&["key", "add", "--new-key-file", &at.path("key2").display().to_string()])
}

/// Returns the slot that is not in use.
pub(super) fn other_slot(at: &Station) -> String {
    let list = at.run("key", &words(&["key", "list", "--json"])).ok("key list").json();
    let other = list["keys"].as_array().unwrap().iter().find(|key| key["in_use"] == false).unwrap();
    other["id"].as_str().unwrap().to_owned()
}

/// Writes the key down in `sheet`, and loses all slots.
pub(super) fn put_on_paper(at: &Station) {
    let sheet = at.path("sheet").display().to_string();
    at.run("key", &words(&["key", "export", &sheet])).ok("key export");
    std::fs::remove_dir_all(at.path("repo/keys")).unwrap();
    std::fs::create_dir(at.path("repo/keys")).unwrap();
}
