//! The known word that was probably meant.

use std::collections::BTreeSet;

/// Longest word that is compared; what is longer is no typing error of a known one.
const MAX_WORD: usize = 64;

/// Returns the word nearest to `typed`, if one is near enough: a third of its letters may be wrong.
///
/// `-` and `_` are the same, and so are upper and lower case.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    if typed.len() > MAX_WORD {
        return None;
    }
    let typed = plain(typed);
    let words: BTreeSet<&str> = known.into_iter().filter(|word| word.len() <= MAX_WORD).collect();
    // A word that only continues what was typed, or the reverse, is what was meant: `files` for `file`.
    let grown = |word: &str| {
        typed.len() >= 3
            && word.len() >= 3
            && (plain(word).starts_with(&typed) || typed.starts_with(&plain(word)))
    };
    let rated = words.into_iter().map(|word| (!grown(word), distance(&typed, &plain(word)), word));
    let (_, distance, word) = rated.min()?;
    let most = typed.chars().count().max(word.chars().count()).div_ceil(3);
    (distance <= most || grown(word)).then_some(word)
}

/// Returns how many letters must be inserted, deleted, replaced or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before_last = vec![0; other.len() + 1];
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (n, letter) in one.iter().enumerate() {
        let mut row = vec![n + 1];
        for (m, theirs) in other.iter().enumerate() {
            let mut best = (last[m] + usize::from(letter != theirs)).min(last[m + 1] + 1).min(row[m] + 1);
            if n > 0 && m > 0 && *letter == other[m - 1] && one[n - 1] == *theirs {
                best = best.min(before_last[m - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_lead_to_the_word() {
        let known = ["directories", "files", "exclude", "optional", "one_filesystem", "glob"];
        for (typed, word) in [
            ("directoires", Some("directories")),
            ("file", Some("files")),
            ("excludes", Some("exclude")),
            ("one-filesystem", Some("one_filesystem")),
            ("OPTIONAL", Some("optional")),
            ("dir", Some("directories")),
            ("password", None),
            ("", None),
            (&"x".repeat(5000), None),
        ] {
            assert_eq!(nearest(typed, known), word, "{typed}");
        }
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn distances_count_edits() {
        for (one, other, edits) in
            [("", "abc", 3), ("abc", "acb", 1), ("kitten", "sitting", 3), ("a", "a", 0)]
        {
            assert_eq!((distance(one, other), distance(other, one)), (edits, edits));
        }
    }
}
