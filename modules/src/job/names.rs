//! The labels of a job's snapshots: they say which job made them, and are the names by which they are found again.
//!
//! A snapshot never changes, so a rolling name is a label too: it stands for the newest good snapshot that has it. It moves
//! on when a later run of the same slot has been published, whole, and neither before nor if that run turns out suspect.

use crate::manifest::job::{JOB_TAG_PREFIX, Job};
use dedup_engine::forget::rules::SLOT_TAG;
use jiff::civil::DateTime;

/// Returns the label that every snapshot of a job has: `job:night`.
pub fn job_tag(job: &Job) -> String {
    format!("{JOB_TAG_PREFIX}{}", job.id)
}

/// Returns the label of the slot that a run at this local time takes over, if names roll.
pub fn slot_tag(job: &Job, begun: DateTime) -> Option<String> {
    let name = job.schedule.as_ref()?.names_at(&job.id, begun).rolling?;
    Some(format!("{SLOT_TAG}{name}"))
}

/// Returns the labels of what a run makes that began at this local time, sorted.
pub fn tags(job: &Job, begun: DateTime) -> Vec<String> {
    let mut tags = vec![job_tag(job)];
    tags.extend(job.tags.iter().cloned());
    if let Some(schedule) = &job.schedule {
        let names = schedule.names_at(&job.id, begun);
        tags.extend(names.dated.into_iter().chain(slot_tag(job, begun)));
    }
    tags.sort();
    tags.dedup();
    tags
}

#[cfg(test)]
mod tests {
    use super::super::tests::test_job;
    use super::*;
    use jiff::civil::datetime;

    #[test]
    fn a_snapshot_is_labelled_by_its_job_its_time_and_its_slot() {
        // A Saturday.
        let at = datetime(2026, 11, 21, 4, 30, 7, 0);
        let tags = |more: &str| tags(&test_job(more), at).join(" ");
        assert_eq!(tags(""), "job:night");
        assert_eq!(tags("tags = [\"z\", \"a\", \"a\"]\n"), "a job:night z");
        assert_eq!(tags("[schedule]\n"), "job:night night-2026-11-21-043007");
        assert_eq!(tags("[schedule]\ntype = \"rolling\"\n"), "job:night rolling:night-weekday-6");
        let both = "[schedule]\ntype = \"both\"\nrolling_slots = \"monthday\"\n";
        assert_eq!(tags(both), "job:night night-2026-11-21-043007 rolling:night-monthday-21");
        assert_eq!(slot_tag(&test_job(both), at).as_deref(), Some("rolling:night-monthday-21"));
        assert_eq!(slot_tag(&test_job("[schedule]\n"), at), None);
    }
}
