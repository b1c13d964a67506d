//! Who may do what. Normative: `FORMAT.md` 15.
//!
//! A pure function of what the logs say. A right is looked at as it was when the object in question was numbered, so
//! that nothing which counted once ceases to count, and nothing which did not count begins to. One exception: who loses
//! the right to admit takes those along whom only its words admitted, since it could write such words with any date.

use super::{ADMIT, ALL};
use crate::id::ClientId;
use std::collections::{BTreeMap, BTreeSet};

/// What one client said of the rights of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    /// Who said it.
    pub by: ClientId,
    /// Number of the entry in its log.
    pub number: u64,
    /// Of whom.
    pub of: ClientId,
    /// The rights.
    pub rights: u64,
    /// Newest generation when it was said: it concerns those after it.
    pub generation: u64,
    /// Newest retention object when it was said: it concerns those after it.
    pub retention: u64,
}

/// Since when something is to count.
#[derive(Clone, Copy)]
enum At {
    Generation(u64),
    Retention(u64),
    Now,
}

impl At {
    /// Returns whether a word had been said by then.
    fn is_after(self, word: &Word) -> bool {
        match self {
            Self::Generation(number) => word.generation < number,
            Self::Retention(number) => word.retention < number,
            Self::Now => true,
        }
    }
}

/// The rights of all clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    first: ClientId,
    words: Vec<Word>,
    /// Those whose words count.
    admitters: BTreeSet<ClientId>,
}

impl Rights {
    /// Takes what was said. `first`: the client that made the repository.
    pub fn new(first: ClientId, words: &[Word]) -> Self {
        let mut rights = Self { first, words: words.to_vec(), admitters: BTreeSet::from([first]) };
        rights.words.sort_unstable();
        loop {
            let of: BTreeSet<ClientId> = rights.words.iter().map(|word| word.of).collect();
            let admits =
                |client: &ClientId| rights.said_of(client, At::Now).is_some_and(|all| all & ADMIT != 0);
            let new: Vec<ClientId> =
                of.into_iter().filter(|one| !rights.admitters.contains(one) && admits(one)).collect();
            if new.is_empty() {
                return rights;
            }
            // Only ever more: the words of the first client decide whatever others say.
            rights.admitters.extend(new);
        }
    }

    /// Returns what those whose words count have said of a client by then: the last word of the client that made the
    /// repository; without one, what the last words of the others give together.
    fn said_of(&self, client: &ClientId, at: At) -> Option<u64> {
        if *client == self.first {
            return Some(ALL);
        }
        let mut last: BTreeMap<ClientId, u64> = BTreeMap::new();
        let counts = |word: &&Word| {
            word.of == *client && at.is_after(word) && self.admitters.contains(&word.by) && word.by != *client
        };
        for word in self.words.iter().filter(counts) {
            last.insert(word.by, word.rights);
        }
        if let Some(rights) = last.get(&self.first) {
            return Some(*rights);
        }
        last.into_values().reduce(|all, one| all | one)
    }

    /// Returns whether somebody had fewer than all rights by then. Before that, all who can write are equals.
    fn is_closed(&self, at: At) -> bool {
        let counts = |word: &Word| word.rights != ALL && self.admitters.contains(&word.by);
        self.words.iter().any(|word| counts(word) && at.is_after(word))
    }

    fn rights(&self, client: &ClientId, at: At) -> u64 {
        if !self.is_closed(at) { ALL } else { self.said_of(client, at).unwrap_or(0) }
    }

    /// Returns the rights that a client has now.
    pub fn of(&self, client: &ClientId) -> u64 {
        self.rights(client, At::Now)
    }

    /// Returns the rights that a client had when generation `number` was published.
    pub fn at_generation(&self, client: &ClientId, number: u64) -> u64 {
        self.rights(client, At::Generation(number))
    }

    /// Returns the rights that a client had when retention object `number` was written.
    pub fn at_retention(&self, client: &ClientId, number: u64) -> u64 {
        self.rights(client, At::Retention(number))
    }

    /// Returns whether rights are told apart: somebody has fewer than all.
    pub fn are_told_apart(&self) -> bool {
        self.is_closed(At::Now)
    }

    /// Returns whether a client may give rights even where they are told apart.
    pub fn may_admit(&self, client: &ClientId) -> bool {
        self.admitters.contains(client)
    }

    /// Returns whether anything was said of a client.
    pub fn knows(&self, client: &ClientId) -> bool {
        self.said_of(client, At::Now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{APPEND, PRUNE};
    use super::*;

    fn client(byte: u8) -> ClientId {
        ClientId::from_bytes([byte; 16])
    }

    fn word(by: u8, number: u64, of: u8, rights: u64, at: u64) -> Word {
        Word { by: client(by), number, of: client(of), rights, generation: at, retention: at }
    }

    #[test]
    fn all_are_equals_until_somebody_has_less() {
        let rights = Rights::new(client(1), &[word(1, 1, 2, ALL, 0)]);
        assert_eq!([1, 2, 3].map(|byte| rights.of(&client(byte))), [ALL; 3]);
        let rights = Rights::new(client(1), &[word(1, 1, 2, ALL, 0), word(2, 1, 3, APPEND, 5)]);
        assert_eq!([1, 2, 3, 4].map(|byte| rights.of(&client(byte))), [ALL, ALL, APPEND, 0]);
        // What was published while all were equals goes on to count.
        assert_eq!([5, 6].map(|number| rights.at_generation(&client(4), number)), [ALL, 0]);
        assert_eq!([5, 6].map(|number| rights.at_retention(&client(4), number)), [ALL, 0]);
    }

    /// Whoever has DEDUPE can draw a key and write a log; what it says there gives nobody anything.
    #[test]
    fn words_of_strangers_count_for_nothing() {
        let closed = word(1, 1, 3, APPEND, 2);
        let forged = [closed, word(3, 1, 4, ALL, 0), word(4, 1, 3, ALL, 0), word(4, 2, 4, ALL, 0)];
        let rights = Rights::new(client(1), &forged);
        assert_eq!([3, 4].map(|byte| rights.of(&client(byte))), [APPEND, 0]);
        // Nor do they take rights away where all are equals.
        let rights = Rights::new(client(1), &[word(4, 1, 2, 0, 0)]);
        assert_eq!([2, 4].map(|byte| rights.of(&client(byte))), [ALL; 2]);
    }

    #[test]
    fn the_word_of_the_first_is_the_last_one() {
        let words = [
            word(1, 1, 2, ALL, 0),
            word(2, 1, 3, ALL, 0),
            word(1, 2, 9, APPEND, 1),
            word(1, 3, 2, APPEND, 4),
        ];
        let rights = Rights::new(client(1), &words);
        assert_eq!(rights.of(&client(2)), APPEND, "taken back");
        assert_eq!(rights.of(&client(3)), 0, "admitted by who may not admit any more");
        assert_eq!([4, 5].map(|number| rights.at_generation(&client(2), number)), [ALL, APPEND]);
        let more = [&words[..], &[word(1, 4, 3, PRUNE, 4), word(2, 2, 1, 0, 4)]].concat();
        let rights = Rights::new(client(1), &more);
        assert_eq!((rights.of(&client(3)), rights.of(&client(1))), (PRUNE, ALL));
    }
}
