//! Values drawn from the bytes of a fuzzer: the same bytes, the same values; when they end, zeros follow.

use crate::id::{ObjectId, RepoId};
use crate::snapshot::{Origin, Provenance};

/// What is left of the bytes.
pub(super) struct Draw<'a>(pub &'a [u8]);

impl Draw<'_> {
    /// Returns whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Draws so many bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let len = N.min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        out[..len].copy_from_slice(taken);
        self.0 = rest;
        out
    }

    /// Draws what a snapshot was made from.
    pub fn provenance(&mut self) -> Provenance {
        let mut origin = || {
            let (repo, snapshot) = (RepoId::from_bytes(self.array()), ObjectId::from_bytes(self.array()));
            self.flag().then_some(Origin { repo, snapshot })
        };
        Provenance { copy_of: origin(), rewritten_from: origin() }
    }

    /// Draws any byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// Draws yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Draws any number, of few bytes as often as of many.
    pub fn number(&mut self) -> u64 {
        let len = usize::from(self.byte() % 9);
        let shift = 64 - 8 * len as u32;
        u64::from_le_bytes(self.array()).checked_shr(shift).unwrap_or(0)
    }

    /// Draws a number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// Draws at most so many bytes.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let len = self.below(most as u64 + 1) as usize;
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }

    /// Draws a text of at most so many bytes.
    pub fn text(&mut self, most: usize) -> String {
        let text = String::from_utf8_lossy(&self.bytes(most / 3)).into_owned();
        debug_assert!(text.len() <= most);
        text
    }

    /// Draws at most so many things.
    pub fn list<T>(&mut self, most: u64, mut each: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let len = self.below(most + 1);
        (0..len).map(|_| each(self)).collect()
    }

    /// Draws one of these.
    pub fn choose<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.byte()) % all.len()]
    }

    /// Draws something or nothing.
    pub fn maybe<T>(&mut self, each: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| each(self))
    }
}
