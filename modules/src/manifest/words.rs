//! Closed sets of words: an enum whose variants are written as words in a file.

/// An enum with a word for every variant.
pub trait Words: Copy + PartialEq + 'static {
    /// Every variant with its word, in the order in which they are told.
    const WORDS: &'static [(&'static str, Self)];

    /// Returns the word of this variant.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, one)| *one == self).map_or("", |(word, _)| word)
    }

    /// Returns the variant of a word.
    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, one)| *one)
    }
}

/// Declares an enum, the word of each variant, and `Display` by that word.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $crate::manifest::words::Words for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant),)+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($crate::manifest::words::Words::word(*self))
            }
        }
    };
}

pub(crate) use words;
