//! Names and texts from outside, made harmless before they reach a terminal.
//!
//! A file name may hold any byte but `/` and NUL: line feeds that fake a second line, escape sequences
//! that drive the terminal, marks that turn the direction of writing round. All of them are shown as
//! they would be written in a string of C; what is left is plain text on one line.

use std::fmt::Write;

/// Returns `bytes` as printable text; a backslash is doubled, so that no two names look alike.
pub fn name(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => shown.push_str("\\\\"),
                c => push(&mut shown, c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// Returns a message as one line of printable text; backslashes stay as they are, because messages hold
/// names that are escaped already.
pub fn text(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    message.chars().for_each(|c| push(&mut shown, c));
    shown
}

fn push(shown: &mut String, c: char) {
    match c {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        c if c.is_ascii_control() => {
            let _ = write!(shown, "\\x{:02x}", u32::from(c));
        }
        c if is_harmful(c) => {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        }
        c => shown.push(c),
    }
}

/// C1 controls, line and paragraph separators, and the marks that change the direction of writing
/// (Unicode Standard Annex 9, 2.1 to 2.6) or show as nothing.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_drives_a_terminal_is_shown_not_sent() {
        assert_eq!(name("Grüße 漢字 🙂".as_bytes()), "Grüße 漢字 🙂");
        assert_eq!(name(b"a\x1b[31mred\nb\t\x7f"), "a\\x1b[31mred\\nb\\t\\x7f");
        assert_eq!(name("\u{9b}31m".as_bytes()), "\\u{9b}31m");
        assert_eq!(name("gpj\u{202e}exe".as_bytes()), "gpj\\u{202e}exe");
        assert_eq!(name(b"caf\xe9 \xff"), "caf\\xe9 \\xff");
        assert_eq!(name(b"a\\nb"), "a\\\\nb");
        assert_eq!(text("a\\nb\n"), "a\\nb\\n");
    }

    proptest! {
        #[test]
        fn the_result_is_printable_and_tells_names_apart(
            a in proptest::collection::vec(any::<u8>(), 0..12),
            b in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let shown = name(&a);
            prop_assert!(!shown.chars().any(is_harmful), "{:?}", shown);
            prop_assert_eq!(a == b, shown == name(&b));
        }
    }
}
