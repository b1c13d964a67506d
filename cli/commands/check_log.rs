//! What `dedup check` tells of the log beside what the engine finds in it: what this machine remembers otherwise, and
//! who is silent.

use crate::failure::Failure;
use crate::human;
use dedup_engine::check::{CheckReport, Finding, Severity};
use dedup_engine::listing::Time;
use dedup_engine::repo::{LogState, Repository};
use std::time::Duration;

/// Adds it to a report. `log`: what is wrong with the log, if this machine knew better.
pub fn add(
    repo: &Repository,
    log: Option<String>,
    silent_after: Duration,
    now: Time,
    report: &mut CheckReport,
) -> Result<(), Failure> {
    if let Some(message) = log {
        report.add(finding(Severity::Damage, message));
        return Ok(());
    }
    let state = repo.log_state()?;
    if state.is_first_contact && !state.heads.is_empty() {
        let message =
            "first contact: this machine remembers nothing of it, so older states cannot be told from it yet";
        report.add(finding(Severity::Notice, message.into()));
    }
    silent(&state, silent_after, now)
        .into_iter()
        .for_each(|message| report.add(finding(Severity::Notice, message)));
    Ok(())
}

fn finding(severity: Severity, message: String) -> Finding {
    Finding { severity, object: "log".into(), offset: None, message, hits: Vec::new() }
}

/// Tells of clients whose last entry is older than so long. Times are those of their writers' clocks.
fn silent(state: &LogState, after: Duration, now: Time) -> Vec<String> {
    let after = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
    let is_silent = |time: Time| now.secs.saturating_sub(time.secs) > after;
    let silent = state.heads.iter().filter(|head| is_silent(head.seen.time));
    let message = |head: &dedup_engine::repo::LogHead| {
        let (client, since) = (head.client.short(), human::local_time(head.seen.time));
        let host = crate::escape::name(head.seen.host.as_bytes());
        format!("client {client} ({host}) is silent since {since}, its entry {}", head.seen.mark.number)
    };
    silent.map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dedup_engine::id::{ClientId, ObjectId};
    use dedup_engine::log::{ALL, Mark, Seen};
    use dedup_engine::repo::LogHead;

    #[test]
    fn who_says_nothing_for_longer_is_named() {
        let head = |byte: u8, secs| LogHead {
            client: ClientId::from_bytes([byte; 16]),
            is_own: false,
            seen: Seen {
                mark: Mark { number: 7, id: ObjectId::from_bytes([1; 32]) },
                time: Time { secs, nanos: 0 },
                host: "web1".into(),
                public_key: [0; 32],
                live: 1,
            },
            rights: ALL,
        };
        let heads = vec![head(1, 1000), head(2, 990), head(3, i64::MIN), head(4, i64::MAX)];
        let state =
            LogState { heads, generation: 0, alive: 1, fingerprint: [0; 32], is_first_contact: false };
        let told = silent(&state, Duration::from_secs(10), Time { secs: 1010, nanos: 0 });
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("02020202") && told[1].contains("03030303"), "{told:?}");
        assert!(told[0].contains("web1") && told[0].contains("entry 7"), "{told:?}");
    }
}
