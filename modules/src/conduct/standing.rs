//! How each module stands while a run goes on, and what becomes of it in the end.

use crate::manifest::programs::Severity;
use crate::manifest::words::Words;
use dedup_engine::snapshot::{Item, Outcome, State};

/// Longest reason that goes into an account.
const MAX_REASON_BYTES: usize = 2000;
/// Longest name of an item, and most items of an account (`FORMAT.md` 1).
const MAX_NAME_BYTES: usize = 4096;
const MAX_ITEMS: usize = 4096;

/// How one module stands.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Why it was left out from some point on.
    out: Option<Out>,
    /// What went wrong and did not end it: each makes it partial or warned.
    flaws: Vec<(State, String)>,
    /// What became of what it declares.
    pub items: Vec<Item>,
}

#[derive(Clone, Debug)]
enum Out {
    Failed(String),
    Skipped(String),
}

impl Standing {
    /// Returns whether it still takes part.
    pub fn is_in(&self) -> bool {
        self.out.is_none()
    }

    /// Returns whether it has failed.
    pub fn has_failed(&self) -> bool {
        matches!(self.out, Some(Out::Failed(_)))
    }

    /// Leaves it out from here on: it has failed. The first reason stays.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.out.get_or_insert_with(|| Out::Failed(why.into()));
    }

    /// Leaves it out from here on: its own hook said so.
    pub fn skip(&mut self, why: impl Into<String>) {
        self.out.get_or_insert_with(|| Out::Skipped(why.into()));
    }

    /// Notes that a part is missing: it is partial at best.
    pub fn partial(&mut self, why: impl Into<String>) {
        self.flaws.push((State::Partial, why.into()));
    }

    /// Notes that something is not as it should be: it is warned at best.
    pub fn warn(&mut self, why: impl Into<String>) {
        self.flaws.push((State::Warned, why.into()));
    }

    /// Notes what a message of its own programs makes of it.
    pub fn note(&mut self, level: Severity, message: &str) {
        match level {
            Severity::Emergency | Severity::Alert | Severity::Critical => self.fail(message),
            Severity::Error => self.partial(message),
            _ => {}
        }
    }

    /// Notes what became of a declared item, and what that makes of the module.
    pub fn outcome(&mut self, name: String, outcome: Outcome, message: String) {
        match outcome {
            Outcome::Failed | Outcome::Damaged => self.partial(format!("{name}: {message}")),
            Outcome::Absent => self.warn(format!("{name} is not there")),
            Outcome::Unreadable | Outcome::NotStorable | Outcome::ChangedWhileRead => {
                self.warn(format!("{name}: {message}"));
            }
            _ => {}
        }
        self.item(name, outcome, message);
    }

    /// Notes what became of a declared item, which makes nothing of the module by itself.
    ///
    /// What an account cannot hold makes the module partial, not the snapshot unreadable.
    pub fn item(&mut self, name: String, outcome: Outcome, message: impl Into<String>) {
        if self.items.len() == MAX_ITEMS {
            let more =
                format!("more than {MAX_ITEMS} items were declared; what became of the rest is not told");
            if !self.flaws.iter().any(|(_, why)| *why == more) {
                self.partial(more);
            }
            return;
        }
        let (name, message) = (shortened(name, MAX_NAME_BYTES), shortened(message.into(), MAX_REASON_BYTES));
        self.items.push(Item { name, outcome, message });
    }

    /// Returns the state and the reason for it.
    pub fn state(&self) -> (State, String) {
        let flaw = self.flaws.iter().map(|(state, _)| *state).max().unwrap_or(State::Complete);
        let (state, first) = match &self.out {
            Some(Out::Failed(why)) => (State::Failed, Some(why.as_str())),
            Some(Out::Skipped(why)) => (State::Skipped, Some(why.as_str())),
            None => (flaw, None),
        };
        let mut flaws: Vec<_> = self.flaws.iter().collect();
        // What weighs most is told first.
        flaws.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
        let reasons: Vec<_> = first.into_iter().chain(flaws.iter().map(|(_, why)| why.as_str())).collect();
        (state, shortened(reasons.join("; "), MAX_REASON_BYTES))
    }
}

/// Cuts text to so many bytes, between two characters.
fn shortened(mut text: String, max_bytes: usize) -> String {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// Returns the name under which a declared path stands in the account: `data:/etc/app`.
pub fn path_item(section: crate::manifest::sections::SectionKind, path: &std::path::Path) -> String {
    format!("{}:{}", section.word(), path.display())
}

/// Returns the name under which a source stands in the account: `source:db`.
pub fn source_item(name: &str) -> String {
    format!("source:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_word_counts_and_is_told_first() {
        let mut standing = Standing::default();
        assert_eq!(standing.state(), (State::Complete, String::new()));
        standing.warn("a file changed");
        assert_eq!(standing.state(), (State::Warned, "a file changed".into()));
        standing.partial("the dump failed");
        assert_eq!(standing.state(), (State::Partial, "the dump failed; a file changed".into()));
        assert!(standing.is_in());
        standing.fail("its service does not stop");
        standing.fail("later");
        let reason = "its service does not stop; the dump failed; a file changed";
        assert_eq!(standing.state(), (State::Failed, reason.into()));
        assert!(!standing.is_in() && standing.has_failed());
    }

    #[test]
    fn a_skipped_module_is_not_a_failed_one() {
        let mut standing = Standing::default();
        standing.skip("its hook said so (75)");
        assert_eq!(standing.state().0, State::Skipped);
        assert!(!standing.is_in() && !standing.has_failed());
    }

    #[test]
    fn long_reasons_are_cut_at_a_character() {
        let mut standing = Standing::default();
        standing.fail("ä".repeat(5000));
        assert!(standing.state().1.len() <= MAX_REASON_BYTES);
    }

    /// A program that failed with 4 KiB of standard error made an account that no reader takes.
    #[test]
    fn items_fit_into_an_account() {
        let mut standing = Standing::default();
        standing.item("source:db".into(), Outcome::Failed, "ä".repeat(5000));
        assert!(standing.items[0].message.len() <= MAX_REASON_BYTES);
        for n in 0..2 * MAX_ITEMS {
            standing.item(n.to_string(), Outcome::Stored, "");
        }
        assert_eq!(standing.items.len(), MAX_ITEMS);
        let (state, reason) = standing.state();
        assert!(state == State::Partial && reason.matches("more than 4096").count() == 1, "{reason}");
    }
}
