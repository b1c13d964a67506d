//! What was said of a run after its snapshot was there, as people and programs are told.

use crate::human;
use dedup_engine::repo::records::{RunRecord, RunVerdict};
use serde_json::{Value, json};

/// The newest record of a snapshot, or why it cannot be believed.
pub type Newest = Result<RunRecord, String>;

/// Names a verdict.
pub fn verdict_word(verdict: RunVerdict) -> &'static str {
    match verdict {
        RunVerdict::Good => "good",
        RunVerdict::Suspect => "suspect",
        RunVerdict::Owed => "owed",
    }
}

/// Describes a record in JSON. One that cannot be read makes its snapshot suspect.
pub fn json(newest: &Newest) -> Value {
    match newest {
        Ok(record) => json!({
            "verdict": verdict_word(record.verdict),
            "text": record.text,
            "hooks": record.hooks.iter().map(|(name, status)| json!({ "name": name, "status": status })).collect::<Vec<_>>(),
            "written": human::rfc3339(record.time),
        }),
        Err(why) => json!({ "verdict": "suspect", "text": why, "hooks": [], "written": null }),
    }
}

/// Returns the word for a snapshot that is not simply good.
pub fn doubt(newest: &Newest) -> Option<&'static str> {
    let verdict = newest.as_ref().map_or(RunVerdict::Suspect, |record| record.verdict);
    (verdict != RunVerdict::Good).then(|| verdict_word(verdict))
}

/// Says why a snapshot is not simply good.
pub fn told(newest: &Newest) -> Option<String> {
    let text = newest.as_ref().map_or_else(String::as_str, |record| &record.text);
    doubt(newest).map(|word| format!("{word}: {text}"))
}
