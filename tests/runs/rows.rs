//! The rules of runs of modules, one row for each step (`modules.md` 3.7): which tests hold it, and which planted bugs take it
//! out. `make planted` (or `harness::planted::rows` alone) lets each bug loose on the tests of its row.

use dedup_engine::planted::Bug;
use std::collections::BTreeSet;
use std::path::Path;

/// A step of a run.
pub struct Row {
    /// Its number: those of restores begin with R.
    pub step: &'static str,
    /// Its rule, in short.
    pub rule: &'static str,
    /// The tests that hold it, below `runs::`.
    pub tests: &'static [&'static str],
    /// The bugs that take it out; each must be found by one of the tests.
    pub bugs: &'static [Bug],
    /// What of the row this program does not do yet; empty if nothing.
    pub lacks: &'static str,
}

const fn row(
    step: &'static str,
    rule: &'static str,
    tests: &'static [&'static str],
    bugs: &'static [Bug],
    lacks: &'static str,
) -> Row {
    Row { step, rule, tests, bugs, lacks }
}

/// All rows.
pub const ROWS: &[Row] = {
    use Bug::*;
    &[
        row(
            "1",
            "what is declared wrongly is refused, and nothing touched",
            &["backup_steps::step_1_"],
            &[IgnoreUnknownKey],
            "",
        ),
        row("2", "one run at a time; another one is told so", &["backup_steps::step_2_"], &[RunTogether], ""),
        row(
            "3",
            "what a dead run left is brought back first, or the run is refused",
            &["around_backups::step_3_"],
            &[ForgetDeadRuns],
            "",
        ),
        row(
            "4",
            "a circle and a module that is not there are refused; what is needed comes first",
            &["backup_steps::step_4_"],
            &[OrderByName],
            "",
        ),
        row(
            "5",
            "a storage that is required and out of reach is told before anything is touched",
            &["around_backups::step_5_", "jobs::steps_5_and_14_"],
            &[NeedNoStorage],
            "",
        ),
        row(
            "6",
            "a hook of the job that fails ends the run, and nothing is stopped",
            &["job_ends::step_6_"],
            &[IgnoreJobHook],
            "",
        ),
        row(
            "7",
            "a module whose live hook fails is left out, its hooks after the work run with state fail",
            &["backup_steps::step_7_"],
            &[GoOnAfterHook],
            "",
        ),
        row(
            "8",
            "a filesystem snapshot that is required and fails ends the run",
            &["around_backups::step_8_", "fallback::step_8_"],
            &[NeedNoSnapshot],
            "",
        ),
        row(
            "9",
            "a module whose service does not stop fails, and all others come back",
            &["backup_steps::step_9_"],
            &[IgnoreStopFailure],
            "",
        ),
        row(
            "10",
            "what is absent or cannot be read is in the account",
            &["backup_steps::step_10_"],
            &[DropItem],
            "",
        ),
        row(
            "11",
            "services that ran start in exact order, whatever becomes of the run",
            &[
                "backup_steps::step_11_",
                "around_backups::step_11_",
                "backup_steps::everything_happens",
                "backup_steps::what_was_off",
            ],
            &[StartWhatWasOff, StartInReverse, LeaveKilledRun],
            "",
        ),
        row(
            "12",
            "a live hook after the work that fails is told, and the data are kept",
            &["backup_steps::step_12_"],
            &[DropDataOfLateHook],
            "",
        ),
        row(
            "13",
            "if every module failed nothing is published",
            &["backup_steps::step_13_"],
            &[PublishNothing],
            "",
        ),
        row(
            "14",
            "each further storage gets a copy; one that is owed is recorded, and made by a later run",
            &["jobs::steps_5_and_14_", "job_copies::step_14_"],
            &[OweNothing],
            "",
        ),
        row(
            "15",
            "what is verified and wrong makes the snapshot suspect",
            &["job_ends::step_15_"],
            &[VerifyNothing],
            "",
        ),
        row(
            "16",
            "retention never follows a run that is partial or failed",
            &["job_ends::step_16_"],
            &[RetainAfterPartial],
            "",
        ),
        row("17", "what runs left aside is removed", &["around_backups::step_17_"], &[KeepLeftovers], ""),
        row(
            "18",
            "a notification that fails never changes the result",
            &["job_ends::step_18_"],
            &[CountNotification],
            "",
        ),
        row(
            "R1",
            "a snapshot that is not there is refused; latest is none that lacks a part",
            &["around_restores::step_r1_"],
            &[TakePartial],
            "",
        ),
        row("R2", "one restore at a time", &["around_restores::step_r2_"], &[RunTogether], ""),
        row(
            "R3",
            "of the snapshot's manifest only the data count",
            &["restore_steps::of_a_snapshots_manifest", "hostile_snapshots::"],
            &[ObeyStored, RestoreAnywhere],
            "",
        ),
        row(
            "R4",
            "an unknown module is refused; one that is ignored stays as it is",
            &["restore_steps::step_r4_"],
            &[IgnoreIgnored],
            "",
        ),
        row(
            "R5",
            "a plan touches nothing; data of a newer version are refused",
            &["restore_steps::step_r5_"],
            &[TakeNewer],
            "",
        ),
        row("R6", "without an answer nothing is done", &["restore_steps::step_r6_"], &[SilenceIsYes], ""),
        row(
            "R7",
            "everything is verified before anything is touched",
            &["restore_steps::step_r7_"],
            &[RestoreUnverified],
            "",
        ),
        row(
            "R8",
            "a module that cannot be set up is left out",
            &["restore_steps::step_r8_"],
            &[IgnoreSetup],
            "",
        ),
        row(
            "R9",
            "a module that says no is left out, and nothing of it changed",
            &["restore_steps::step_r9_"],
            &[IgnoreCheck],
            "",
        ),
        row(
            "R10",
            "what requires a module that is left out is blocked",
            &["restore_steps::step_r10_"],
            &[BlockNothing],
            "",
        ),
        row(
            "R11",
            "services stop before anything is replaced, or their module is left out",
            &["restore_steps::step_r11_"],
            &[RestoreUnderServices],
            "",
        ),
        row(
            "R12",
            "a module that fails is as it was before",
            &["restore_steps::step_r12_", "around_restores::step_r12_"],
            &[LeaveHalfRestored, DeleteForGood],
            "",
        ),
        row(
            "R13",
            "what was stored and is not taken is told",
            &["restore_steps::step_r13_", "importers::step_r13_"],
            &[TakeInSilence, ImportInSilence],
            "",
        ),
        row(
            "R14",
            "a service that does not start is an error, and the data stay",
            &["restore_steps::step_r14_"],
            &[IgnoreStartFailure],
            "",
        ),
        row(
            "R15",
            "a live hook after the work that fails is told",
            &["restore_steps::step_r15_"],
            &[IgnoreLateHook],
            "",
        ),
        row(
            "R16",
            "what was kept aside is removed once the restore stands",
            &["around_restores::step_r16_"],
            &[KeepAside],
            "",
        ),
        row(
            "R17",
            "how it ended is reported and kept, and the lock is free",
            &["around_restores::step_r17_"],
            &[LogNoEnd],
            "",
        ),
    ]
};

/// A row whose test was renamed would hold nothing.
#[test]
fn every_step_has_a_row_and_every_row_its_tests() {
    let steps: Vec<_> = ROWS.iter().map(|row| row.step.to_owned()).collect();
    let expected = (1..=18).map(|n| n.to_string()).chain((1..=17).map(|n| format!("R{n}")));
    assert_eq!(steps, expected.collect::<Vec<_>>());
    let tests = tests();
    for row in ROWS {
        assert!(is_held(row) || !row.lacks.is_empty(), "{}: {}", row.step, row.rule);
        for test in row.tests {
            assert!(tests.iter().any(|name| name.contains(test)), "{}: there is no test {test}", row.step);
        }
    }
}

/// Returns whether its rule is held by tests that a planted bug was tried on.
pub fn is_held(row: &Row) -> bool {
    !row.tests.is_empty() && !row.bugs.is_empty()
}

/// Returns the names of the tests of this part, as the source has them.
pub fn tests() -> BTreeSet<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runs");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let part = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("#[test]\n") {
            let name = text[at..].split("fn ").nth(1).and_then(|rest| rest.split('(').next());
            found.extend(name.map(|name| format!("{part}::{name}")));
        }
    }
    found
}
