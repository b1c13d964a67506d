//! Manifests and jobs, read.

mod every_key;
mod jobs;
mod layout;
mod meaning;
mod strict;

use super::{Manifest, Problems};

/// Reads a manifest that must be right.
fn right(text: &str) -> Manifest {
    Manifest::parse("x.toml", text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// Reads a manifest that must be wrong.
fn wrong(text: &str) -> Problems {
    Manifest::parse("x.toml", text.as_bytes()).err().unwrap_or_else(|| panic!("accepted:\n{text}"))
}

/// The beginning of a manifest: six lines, all right.
const HEAD: &str = "schema = 1\n[module]\nid = \"a\"\nplatform = \"p\"\n[paths]\nLIB = \"/var/lib/a\"\n";

/// Asserts that what follows [`HEAD`] has exactly these problems: place, counted from the first line after it, and
/// words of message or help.
fn has(body: &str, expected: &[(&str, &[&str])]) {
    let problems = wrong(&format!("{HEAD}{body}"));
    let shown = problems.to_string();
    assert_eq!(problems.list.len(), expected.len(), "{shown}\n{body}");
    for (problem, (place, words)) in problems.list.iter().zip(expected) {
        let own = format!("{}:{}", problem.place.line.saturating_sub(6), problem.place.column);
        assert_eq!(own, *place, "{shown}\n{body}");
        let text = format!("{} | {}", problem.message, problem.help.as_deref().unwrap_or_default());
        words.iter().for_each(|word| assert!(text.contains(word), "{word:?} is missing in {text}"));
    }
}
