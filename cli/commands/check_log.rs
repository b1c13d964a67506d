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
    // Who has no right, as after a new key epoch the signers of before, is not waited for.
    let silent = state.heads.iter().filter(|head| head.rights != 0 && is_silent(head.seen.time));
    let message = |head: &dedup_engine::repo::LogHead| {
        let (client, since) = (head.client.short(), human::local_time(head.seen.time));
        let host = crate::escape::name(head.seen.host.as_bytes());
        format!("client {client} ({host}) is silent since {since}, its entry {}", head.seen.mark.number)
    };
    let unheard = state.unheard.iter().filter(|(_, since)| is_silent(*since)).map(|(client, since)| {
        let since = human::local_time(*since);
        format!("client {} has written nothing since the newest key epoch began, on {since}", client.short())
    });
    silent.map(message).chain(unheard).collect()
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
        let left_out = LogHead { rights: 0, ..head(5, 0) };
        let heads = vec![head(1, 1000), head(2, 990), head(3, i64::MIN), head(4, i64::MAX), left_out];
        let unheard = [(6, 1005), (7, 900)]
            .map(|(byte, secs)| (ClientId::from_bytes([byte; 16]), Time { secs, nanos: 0 }))
            .to_vec();
        let state = LogState {
            heads,
            unheard,
            generation: 0,
            alive: 1,
            fingerprint: [0; 32],
            is_first_contact: false,
        };
        let told = silent(&state, Duration::from_secs(10), Time { secs: 1010, nanos: 0 });
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[2].contains("07070707"), "{told:?}");
        assert!(told[0].contains("02020202") && told[1].contains("03030303"), "{told:?}");
        assert!(told[0].contains("web1") && told[0].contains("entry 7"), "{told:?}");
    }
}
