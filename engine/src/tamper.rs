//! Memory that lies: where bytes are handed from one stage of a run to the next, a test may flip a bit.
//!
//! Every stage is a place where bytes have waited since somebody last vouched for them. Without the feature
//! `testing` a `Tamper` is nothing and does nothing.

use std::borrow::Cow;

/// What is handed on, in the order of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// A chunk that was read and cut, before it is named. Nothing knows yet what it should be.
    Chunk,
    /// The names of a file's chunks, before they come into the listing.
    Content,
    /// The plaintext of a block, before it is compressed.
    Block,
    /// The names of its chunks there.
    Names,
    /// A compressed block, before it is sealed with others into a pack.
    Coded,
    /// A sealed pack, before it is opened again and verified.
    Sealed,
    /// A verified pack, before it is stored.
    Verified,
    /// What a stored pack holds, before its segment is written.
    Registered,
    /// The same, before the local index learns of it.
    Indexed,
    /// The body of a small object, before it is sealed.
    Body,
    /// A small object, before it is stored.
    Object,
}

/// What happens to memory between the stages: nothing.
#[cfg(not(any(test, feature = "testing")))]
#[derive(Clone, Default)]
pub(crate) struct Tamper {}

#[cfg(not(any(test, feature = "testing")))]
impl Tamper {
    #[inline(always)]
    pub fn pass(&self, _: Stage, _: &mut [u8]) {}

    #[inline(always)]
    pub fn passed<'a>(&self, _: Stage, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        Cow::Borrowed(bytes)
    }
}

/// Is given everything that is handed on.
#[cfg(any(test, feature = "testing"))]
pub type Flip = std::sync::Arc<dyn Fn(Stage, &mut [u8]) + Send + Sync>;

/// What happens to memory between the stages: what a test wants, if anything.
#[cfg(any(test, feature = "testing"))]
#[derive(Clone, Default)]
pub(crate) struct Tamper(pub Option<Flip>);

#[cfg(any(test, feature = "testing"))]
impl Tamper {
    pub fn pass(&self, stage: Stage, bytes: &mut [u8]) {
        if let Some(flip) = &self.0 {
            flip(stage, bytes);
        }
    }

    pub fn passed<'a>(&self, stage: Stage, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(flip) = &self.0 else { return Cow::Borrowed(bytes) };
        let mut bytes = bytes.to_vec();
        flip(stage, &mut bytes);
        Cow::Owned(bytes)
    }
}
