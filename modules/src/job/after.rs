//! What is said of a run after it was published: hooks, owed copies, a verification. It goes into the run's record, since a
//! snapshot never changes.

use crate::conduct::HookEnded;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::Time;
use dedup_engine::repo::records::{RunRecord, RunVerdict};

/// Longest text, longest name of a hook, and most hooks of a record (`FORMAT.md` 18).
const MAX_TEXT: usize = 4096;
const MAX_NAME: usize = 255;
const MAX_HOOKS: usize = 4096;

/// What happened after publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct After {
    /// Why the snapshot is not to be relied on.
    pub suspect: Option<String>,
    /// What belongs to the run and is not done yet.
    pub owed: Vec<String>,
    /// What else is to be said: that it was verified.
    pub notes: Vec<String>,
    /// Hooks that ran, in their order.
    pub hooks: Vec<HookEnded>,
}

impl After {
    /// Returns what the record says of the snapshot.
    pub fn verdict(&self) -> RunVerdict {
        match (&self.suspect, &self.owed[..]) {
            (Some(_), _) => RunVerdict::Suspect,
            (None, [_, ..]) => RunVerdict::Owed,
            (None, []) => RunVerdict::Good,
        }
    }

    /// Makes the record; `None` if there is nothing to say. Its number is given to it when it is written.
    pub fn record(&self, snapshot: ObjectId, time: Time) -> Option<RunRecord> {
        if *self == Self::default() {
            return None;
        }
        let failed = |hook: &HookEnded| Some(format!("{} failed: {}", hook.name, hook.why.as_ref()?));
        let texts = self.suspect.iter().chain(&self.owed).chain(&self.notes).cloned();
        let text = texts.chain(self.hooks.iter().filter_map(failed)).collect::<Vec<_>>().join("; ");
        let hooks = self.hooks.iter().take(MAX_HOOKS);
        Some(RunRecord {
            number: 0,
            snapshot,
            verdict: self.verdict(),
            text: cut(text, MAX_TEXT),
            hooks: hooks.map(|hook| (cut(hook.name.clone(), MAX_NAME), hook.status)).collect(),
            time,
        })
    }
}

/// Cuts a text where a character ends.
fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(after: &After) -> Option<RunRecord> {
        after.record(ObjectId::from_bytes([1; 32]), Time { secs: 5, nanos: 0 })
    }

    #[test]
    fn the_worst_word_is_the_verdict_and_comes_first() {
        let mut after = After::default();
        assert_eq!(record(&after), None, "nothing to say");
        after.notes.push("verified".into());
        assert_eq!(record(&after).unwrap().verdict, RunVerdict::Good);
        after.owed.push("owed to /b".into());
        assert_eq!(record(&after).unwrap().verdict, RunVerdict::Owed);
        after.suspect = Some("a pack is damaged".into());
        let why = Some("it timed out".to_owned());
        after.hooks.push(HookEnded { name: "after: x".into(), status: -15, why });
        let told = record(&after).unwrap();
        assert_eq!(told.verdict, RunVerdict::Suspect);
        assert_eq!(told.text, "a pack is damaged; owed to /b; verified; after: x failed: it timed out");
        assert_eq!(told.hooks, [("after: x".to_owned(), -15)]);
    }

    #[test]
    fn whatever_programs_say_the_record_can_be_stored() {
        let hook = HookEnded { name: "ä".repeat(200), status: 1, why: Some("ö".repeat(3000)) };
        let after = After { hooks: vec![hook; 5000], ..After::default() };
        let record = RunRecord { number: 1, ..record(&after).unwrap() };
        assert_eq!(RunRecord::decode(&record.encode()).unwrap(), record);
    }
}
