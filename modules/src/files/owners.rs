//! Names of users and groups, looked up once each.

use super::lock;
use nix::unistd::{Gid, Group, Uid, User};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

/// How many answers of one kind are kept; a tree with more owners is looked up again now and then.
const KEPT: usize = 16_384;

/// Answers of the system's user and group databases; what is unknown there is remembered as well.
#[derive(Debug, Default)]
pub(super) struct Owners {
    user_names: Mutex<HashMap<u32, String>>,
    group_names: Mutex<HashMap<u32, String>>,
    user_ids: Mutex<HashMap<String, Option<u32>>>,
    group_ids: Mutex<HashMap<String, Option<u32>>>,
}

impl Owners {
    /// Returns the names of a user and a group; empty where none is known.
    pub(super) fn names(&self, uid: u32, gid: u32) -> (String, String) {
        let user = cached(&self.user_names, uid, |uid| {
            User::from_uid(Uid::from_raw(*uid)).ok().flatten().map(|user| user.name).unwrap_or_default()
        });
        let group = cached(&self.group_names, gid, |gid| {
            Group::from_gid(Gid::from_raw(*gid)).ok().flatten().map(|group| group.name).unwrap_or_default()
        });
        (user, group)
    }

    /// Returns the number that a user's name has on this machine.
    pub(super) fn user_id(&self, name: &str) -> Option<u32> {
        cached(&self.user_ids, name.to_owned(), |name| {
            User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
        })
    }

    /// Returns the number that a group's name has on this machine.
    pub(super) fn group_id(&self, name: &str) -> Option<u32> {
        cached(&self.group_ids, name.to_owned(), |name| {
            Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
        })
    }
}

fn cached<K: Eq + Hash, V: Clone>(known: &Mutex<HashMap<K, V>>, key: K, ask: impl Fn(&K) -> V) -> V {
    let mut known = lock(known);
    if let Some(value) = known.get(&key) {
        return value.clone();
    }
    let value = ask(&key);
    if known.len() >= KEPT {
        known.clear();
    }
    known.insert(key, value.clone());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_fit_and_the_unknown_is_empty() {
        let owners = Owners::default();
        for _ in 0..2 {
            assert_eq!(owners.names(0, 0), ("root".to_owned(), "root".to_owned()));
            assert_eq!(owners.names(u32::MAX - 7, u32::MAX - 7), Default::default());
            assert_eq!((owners.user_id("root"), owners.group_id("root")), (Some(0), Some(0)));
            assert_eq!((owners.user_id("no such\0user"), owners.group_id("")), (None, None));
        }
    }
}
