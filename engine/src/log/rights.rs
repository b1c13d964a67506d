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

/// What a key epoch says of rights: a new era of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Who has all rights always, from then on.
    pub first: ClientId,
    /// The generation after the newest then: it concerns those after it.
    pub generation: u64,
    /// The retention object after the newest then: it concerns those after it.
    pub retention: u64,
    /// The last entry of each log that is of the era before.
    pub ends: BTreeMap<ClientId, u64>,
    /// Who has rights from then on.
    pub signers: BTreeMap<ClientId, u64>,
}

impl Opening {
    /// Returns whether an entry of a client is of this era or a later one.
    fn covers(&self, client: &ClientId, number: u64) -> bool {
        number > self.ends.get(client).copied().unwrap_or(0)
    }
}

/// Since when something is to count.
#[derive(Clone, Copy)]
enum At {
    Generation(u64),
    Retention(u64),
    Now,
}

impl At {
    /// Returns whether what was said when these were the newest had been said by then.
    fn is_after(self, generation: u64, retention: u64) -> bool {
        match self {
            Self::Generation(number) => generation < number,
            Self::Retention(number) => retention < number,
            Self::Now => true,
        }
    }

    /// Returns whether it is of one of these numbers.
    fn is_at(self, generation: u64, retention: u64) -> bool {
        match self {
            Self::Generation(number) => generation == number,
            Self::Retention(number) => retention == number,
            Self::Now => false,
        }
    }
}

/// The rights of all clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// One for each key epoch.
    eras: Vec<Era>,
    openings: Vec<Opening>,
}

/// Between two key epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Era {
    first: ClientId,
    words: Vec<Word>,
    /// Those whose words count.
    admitters: BTreeSet<ClientId>,
    /// Who was taken along has the rights that were named; nobody else has any.
    is_closed: bool,
}

impl Rights {
    /// Takes what was said. `first`: the client that made the repository. `openings`: key epochs, in their order.
    pub fn new(first: ClientId, words: &[Word], openings: &[Opening]) -> Self {
        let mut eras = vec![Era::new(first, Vec::new(), false)];
        for opening in openings {
            let word = |(of, rights): (&ClientId, &u64)| Word {
                by: opening.first,
                number: 0,
                of: *of,
                rights: *rights,
                generation: 0,
                retention: 0,
            };
            eras.push(Era::new(opening.first, opening.signers.iter().map(word).collect(), true));
        }
        let mut rights = Self { eras, openings: openings.to_vec() };
        for word in words {
            let era = rights.era_of(&word.by, word.number);
            rights.eras[era].words.push(*word);
        }
        rights.eras.iter_mut().for_each(Era::settle);
        rights
    }

    /// Returns in which era a client wrote an entry.
    fn era_of(&self, client: &ClientId, number: u64) -> usize {
        self.openings.iter().rposition(|opening| opening.covers(client, number)).map_or(0, |at| at + 1)
    }

    fn rights(&self, client: &ClientId, at: At) -> u64 {
        let has_begun = |opening: &Opening| at.is_after(opening.generation, opening.retention);
        let era = self.openings.iter().rposition(has_begun).map_or(0, |at| at + 1);
        // Whoever takes the very number that an epoch names may not have seen it yet.
        let next = self.openings[era..].iter().zip(&self.eras[era + 1..]);
        let next = next.take_while(|(next, _)| at.is_at(next.generation, next.retention));
        next.fold(self.eras[era].rights(client, at), |all, (_, era)| all | era.rights(client, At::Now))
    }

    fn now(&self) -> Option<&Era> {
        self.eras.last()
    }

    /// Returns the rights that a client has now.
    pub fn of(&self, client: &ClientId) -> u64 {
        self.rights(client, At::Now)
    }

    /// Returns the rights that a client has in the era in which it wrote an entry.
    pub fn of_entry(&self, client: &ClientId, number: u64) -> u64 {
        self.eras[self.era_of(client, number)].rights(client, At::Now)
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
        self.now().is_some_and(|era| era.is_closed(At::Now))
    }

    /// Returns whether a client may give rights even where they are told apart.
    pub fn may_admit(&self, client: &ClientId) -> bool {
        self.now().is_some_and(|era| era.admitters.contains(client))
    }

    /// Returns whether anything was said of a client.
    pub fn knows(&self, client: &ClientId) -> bool {
        self.now().is_some_and(|era| era.said_of(client, At::Now).is_some())
    }

    /// Returns the client that has all rights always.
    pub fn first(&self) -> Option<ClientId> {
        self.now().map(|era| era.first)
    }
}

impl Era {
    fn new(first: ClientId, words: Vec<Word>, is_closed: bool) -> Self {
        Self { first, words, admitters: BTreeSet::from([first]), is_closed }
    }

    fn settle(&mut self) {
        self.words.sort_unstable();
        loop {
            let of: BTreeSet<ClientId> = self.words.iter().map(|word| word.of).collect();
            let admits =
                |client: &ClientId| self.said_of(client, At::Now).is_some_and(|all| all & ADMIT != 0);
            let new: Vec<ClientId> =
                of.into_iter().filter(|one| !self.admitters.contains(one) && admits(one)).collect();
            if new.is_empty() {
                return;
            }
            // Only ever more: the words of the first client decide whatever others say.
            self.admitters.extend(new);
        }
    }

    /// Returns what those whose words count have said of a client by then: the last word of the first client; without
    /// one, what the last words of the others give together.
    fn said_of(&self, client: &ClientId, at: At) -> Option<u64> {
        if *client == self.first {
            return Some(ALL);
        }
        let mut last: BTreeMap<ClientId, u64> = BTreeMap::new();
        let counts = |word: &&Word| {
            word.of == *client
                && self.is_said(word, at)
                && self.admitters.contains(&word.by)
                && word.by != *client
        };
        for word in self.words.iter().filter(counts) {
            last.insert(word.by, word.rights);
        }
        if let Some(rights) = last.get(&self.first) {
            return Some(*rights);
        }
        last.into_values().reduce(|all, one| all | one)
    }

    fn is_said(&self, word: &Word, at: At) -> bool {
        // Number 0: what the epoch itself says.
        word.number == 0 || at.is_after(word.generation, word.retention)
    }

    /// Returns whether somebody had fewer than all rights by then. Before that, all who can write are equals.
    fn is_closed(&self, at: At) -> bool {
        let counts = |word: &Word| word.rights != ALL && self.admitters.contains(&word.by);
        self.is_closed || self.words.iter().any(|word| counts(word) && self.is_said(word, at))
    }

    fn rights(&self, client: &ClientId, at: At) -> u64 {
        if !self.is_closed(at) { ALL } else { self.said_of(client, at).unwrap_or(0) }
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
        let rights = Rights::new(client(1), &[word(1, 1, 2, ALL, 0)], &[]);
        assert_eq!([1, 2, 3].map(|byte| rights.of(&client(byte))), [ALL; 3]);
        let rights = Rights::new(client(1), &[word(1, 1, 2, ALL, 0), word(2, 1, 3, APPEND, 5)], &[]);
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
        let rights = Rights::new(client(1), &forged, &[]);
        assert_eq!([3, 4].map(|byte| rights.of(&client(byte))), [APPEND, 0]);
        // Nor do they take rights away where all are equals.
        let rights = Rights::new(client(1), &[word(4, 1, 2, 0, 0)], &[]);
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
        let rights = Rights::new(client(1), &words, &[]);
        assert_eq!(rights.of(&client(2)), APPEND, "taken back");
        assert_eq!(rights.of(&client(3)), 0, "admitted by who may not admit any more");
        assert_eq!([4, 5].map(|number| rights.at_generation(&client(2), number)), [ALL, APPEND]);
        let more = [&words[..], &[word(1, 4, 3, PRUNE, 4), word(2, 2, 1, 0, 4)]].concat();
        let rights = Rights::new(client(1), &more, &[]);
        assert_eq!((rights.of(&client(3)), rights.of(&client(1))), (PRUNE, ALL));
    }

    fn opening(first: u8, generation: u64, ends: &[(u8, u64)], signers: &[(u8, u64)]) -> Opening {
        let all = |pairs: &[(u8, u64)]| pairs.iter().map(|(of, number)| (client(*of), *number)).collect();
        let (ends, signers) = (all(ends), all(signers));
        Opening { first: client(first), generation, retention: generation, ends, signers }
    }

    /// The key that made the repository was stolen: who opened the next epoch left it out.
    #[test]
    fn a_new_epoch_has_its_own_first_signer_and_nobody_else_than_it_names() {
        let words =
            [word(1, 1, 2, ALL, 0), word(1, 9, 4, ALL, 7), word(2, 4, 3, APPEND, 7), word(1, 10, 2, 0, 0)];
        let epoch = opening(2, 5, &[(1, 8), (2, 3), (3, 6)], &[(2, ALL), (3, ALL)]);
        let rights = Rights::new(client(1), &words, &[epoch]);
        assert_eq!([1, 2, 3, 4].map(|byte| rights.of(&client(byte))), [0, ALL, APPEND, 0]);
        assert!(rights.are_told_apart() && rights.may_admit(&client(2)) && !rights.may_admit(&client(1)));
        assert_eq!(rights.first(), Some(client(2)));
        // What was published in the era before goes on to count, whatever the one who was left out writes now.
        assert_eq!([1, 2, 4].map(|byte| rights.at_generation(&client(byte), 5)), [ALL; 3]);
        assert_eq!([1, 3].map(|byte| rights.at_generation(&client(byte), 6)), [0, ALL]);
        assert_eq!([1, 2, 4].map(|byte| rights.at_retention(&client(byte), 6)), [0, ALL, 0]);
        assert_eq!(rights.at_generation(&client(3), 7), ALL, "before it got fewer");
        // Entries are of the era in which they were written.
        assert_eq!([8, 9].map(|number| rights.of_entry(&client(1), number)), [ALL, 0]);
        assert_eq!([6, 7].map(|number| rights.of_entry(&client(3), number)), [ALL, APPEND]);
        assert_eq!(rights.of_entry(&client(4), 1), 0, "nobody had seen a log of theirs");
    }

    #[test]
    fn epochs_follow_each_other() {
        let first = opening(1, 5, &[(1, 8)], &[(1, ALL), (2, ALL)]);
        let second = opening(2, 9, &[(1, 12), (2, 4)], &[(2, ALL)]);
        let rights = Rights::new(client(1), &[word(1, 10, 7, ALL, 6)], &[first, second]);
        assert_eq!([1, 2, 7].map(|byte| rights.of(&client(byte))), [0, ALL, 0]);
        assert_eq!([6, 7, 9, 10].map(|number| rights.at_generation(&client(7), number)), [0, ALL, ALL, 0]);
        assert_eq!([8, 12, 13].map(|number| rights.of_entry(&client(1), number)), [ALL, ALL, 0]);
        // The number that an epoch names may be taken by who has the right before it, or after it.
        let closed = [word(1, 1, 4, APPEND, 0)];
        let rights = Rights::new(client(1), &closed, &[opening(2, 5, &[(1, 8)], &[(2, ALL)])]);
        let next = Opening { ends: [(client(2), 3)].into(), ..opening(3, 5, &[], &[(3, ALL)]) };
        let twice = Rights::new(client(1), &closed, &[opening(2, 5, &[(1, 8)], &[(2, ALL)]), next]);
        assert_eq!([1, 2, 3].map(|byte| twice.at_retention(&client(byte), 5)), [ALL; 3], "one was cut off");
        assert_eq!([1, 2, 3].map(|byte| twice.at_retention(&client(byte), 6)), [0, 0, ALL]);
        let of = |number| [1, 2, 4].map(|byte| rights.at_generation(&client(byte), number));
        assert_eq!((of(4), of(5), of(6)), ([ALL, 0, APPEND], [ALL, ALL, APPEND], [0, ALL, 0]));
    }
}
