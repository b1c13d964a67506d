//! Job files.

use super::super::job::{Job, Modules, NotifyLog, UseSnapshot, VerifyAfter};
use super::super::looks_like_job;
use super::super::schedule::{NameType, RollingSlots, Schedule, When};
use crate::id::ModuleId;
use jiff::civil::{DateTime, datetime};
use std::time::Duration;

fn job(text: &str) -> Result<Job, String> {
    Job::parse("j.toml", format!("schema = 1\n[job]\nid = \"night\"\n{text}").as_bytes())
        .map_err(|problems| problems.to_string())
}

fn schedule(lines: &str) -> Schedule {
    job(&format!("[schedule]\n{lines}")).unwrap().schedule.unwrap()
}

#[test]
fn a_short_job_backs_up_everything_and_removes_nothing() {
    let job = job("").unwrap();
    assert_eq!((&job.modules, job.dependencies, job.allow_partial), (&Modules::All, true, true));
    assert_eq!(job.lock_wait, Some(Duration::from_secs(3600)));
    assert_eq!((job.snapshot, job.verify), (UseSnapshot::Auto, VerifyAfter::Sample));
    assert!(job.schedule.is_none() && job.retain.is_none() && job.storages.is_empty());
}

#[test]
fn a_long_job_says_the_rest() {
    let job = job(
        "modules = [\"WordPress\", \"mumble\"]\ndependencies = false\nspool = \"/var/spool/d\"\nspool_size = \"2G\"\n\
         [retain]\nlast = 3\ndaily = 0\nwithin = \"30d\"\nmax_age = \"2y\"\n[[storage]]\naddress = \"sftp:u@h:/x\"\nrequire = false\n\
         [notify]\nto = [\"root\"]\nlog = \"attach\"\n[owner]\nuser = \"pi\"\n[[custom]]\npath = \"/opt/x\"\nkind = \"file\"\n\
         [hooks]\nbefore = { run = [\"b\"] }\nafter = [{ run = [\"a\"] }]\nerror = { run = [\"e\"] }\n",
    )
    .unwrap();
    let ids = ["wordpress", "mumble"].map(|id| ModuleId::parse(id).unwrap());
    assert_eq!(job.modules, Modules::Named(ids.to_vec()));
    assert_eq!(job.spool.map(|(_, bytes)| bytes), Some(2 << 30));
    let retain = job.retain.unwrap();
    assert_eq!(
        [retain.last, retain.daily, retain.weekly, retain.monthly],
        [3, 0, 3, 3],
        "what is not said is kept"
    );
    assert_eq!(retain.max_age.unwrap().to_string(), "2y");
    assert_eq!((job.notify.unwrap().log, job.owner.as_deref()), (NotifyLog::Attach, Some("pi")));
    assert!(!job.storages[0].require && job.hooks.after[0].run_on_failure);
}

#[test]
fn a_job_may_have_nothing_but_paths_of_its_own() {
    let job_of = |id: &str| {
        let text = format!("schema = 1\n[job]\nid = {id:?}\nmodules = []\n[[custom]]\npath = \"/opt/x\"\n");
        Job::parse("j.toml", text.as_bytes()).map_err(|problems| problems.to_string())
    };
    assert_eq!(job_of("night").unwrap().modules, Modules::Named(Vec::new()));
    assert!(job_of(&"n".repeat(57)).is_ok());
    assert!(job_of(&"n".repeat(58)).unwrap_err().contains("at most 57 bytes"));
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (text, word) in [
        ("modules = [\"all\", \"x\"]\n", "j.toml:4:11: \"all\" stands alone"),
        ("modules = []\n", "j.toml:4:11: nothing is named"),
        ("tags = [\"job:x\"]\n", "are ours"),
        ("tags = [\"\"]\n", "1 to 255 bytes"),
        ("modules = [\"a\", \"A\"]\n", "j.toml:4:17: a is named twice"),
        ("modules = [\"a\"]\nunselected = [\"b\"]\n", "nothing to leave out"),
        ("spool = \"/x\"\n", "belong together"),
        ("jitter = \"5m\"\n", "unknown key `jitter`"),
        ("[retain]\nlast = 0\ndaily = 0\nweekly = 0\nmonthly = 0\n", "keep nothing"),
        ("[schedule]\nat_hour = 24\n", "0 to 23"),
        ("[schedule]\nat_hour = 2\nevery = \"1d\"\n", "exclude one another"),
        ("[schedule]\nrolling_slots = \"weekday\"\n", "dated names"),
        ("[schedule]\ntype = \"roling\"\n", "\"rolling\"?"),
        ("[schedule]\ncron = \"* * *\"\n", "five fields"),
        ("[schedule]\nevery = \"30s\"\n", "every minute"),
        ("[schedule]\nevery = \"0d\"\n", "every moment"),
        ("[notify]\n", "lacks `to`"),
        ("[notify]\nto = [\"-oQ/tmp/x\"]\n", "neither a mail address"),
        ("[notify]\ncommand = []\n", "command"),
        ("[log]\nlevel = \"loud\"\n", "level"),
        ("[[custom]]\npath = \"/a\"\n[[custom]]\npath = \"/a/\"\n", "named twice"),
        ("[data]\nfiles = []\n", "unknown key `data`"),
    ] {
        let problems = job(text).expect_err(text);
        assert!(problems.contains(word), "{word:?}: {problems}");
    }
    assert!(
        looks_like_job(b"[job]\n") && looks_like_job(b"schema = 1\n[job") && !looks_like_job(b"[module]\n")
    );
}

const SATURDAY: DateTime = datetime(2026, 11, 21, 4, 30, 7, 0);

#[test]
fn names_follow_from_the_date_alone() {
    let id = ModuleId::parse("night").unwrap();
    let names = |lines: &str| {
        let names = schedule(lines).names_at(&id, SATURDAY);
        (names.dated.unwrap_or_default(), names.rolling.unwrap_or_default())
    };
    let dated = "night-2026-11-21-043007".to_owned();
    assert_eq!(names(""), (dated.clone(), String::new()));
    assert_eq!(names("type = \"rolling\"\n"), (String::new(), "night-weekday-6".into()));
    assert_eq!(names("type = \"both\"\nrolling_slots = \"monthday\"\n"), (dated, "night-monthday-21".into()));
    let slot = |lines: &str, at| schedule(&format!("type = \"rolling\"\n{lines}")).slot_at(at);
    let sunday = datetime(2026, 11, 22, 0, 0, 0, 0);
    assert_eq!((slot("", sunday), slot("iso = true\n", sunday)), ("weekday-0".into(), "weekday-7".into()));
}

#[test]
fn the_next_run_follows_from_now_and_the_last_one() {
    let next = |lines: &str, last| schedule(lines).next_after(SATURDAY, last);
    let day = |day, hour, minute| Some(datetime(2026, 11, day, hour, minute, 0, 0));
    assert_eq!((next("at_hour = 5\n", None), next("at_hour = 4\n", None)), (day(21, 5, 0), day(22, 4, 0)));
    assert_eq!(next("cron = \"15 */6 * * *\"\n", None), day(21, 6, 15));
    assert_eq!(next("every = \"6h\"\n", None), Some(SATURDAY), "at once");
    assert_eq!(next("every = \"6h\"\n", day(21, 1, 0)), day(21, 7, 0));
    assert_eq!(next("every = \"1mo\"\n", day(1, 1, 0)), Some(datetime(2026, 12, 1, 1, 0, 0, 0)));
    assert_eq!(next("every = \"1h\"\n", day(1, 1, 0)), Some(SATURDAY), "it is late");
    assert_eq!(next("every = \"4000000000y\"\n", day(1, 1, 0)), None, "beyond any calendar");
}

/// With as many slots as days in a week, weekly runs must not all meet the same slot.
#[test]
fn numbered_slots_are_taken_in_turn() {
    for (every, hours) in [("6h", 6), ("1d", 24), ("2d", 48), ("1w", 168)] {
        let lines = format!("type = \"rolling\"\nrolling_slots = 7\nevery = \"{every}\"\n");
        let schedule = schedule(&lines);
        assert_eq!(schedule.slots, RollingSlots::Number(7));
        let at = |n: i64| SATURDAY.checked_add(jiff::Span::new().hours(n * hours)).unwrap();
        let slots: std::collections::BTreeSet<String> = (0..7).map(|n| schedule.slot_at(at(n))).collect();
        assert_eq!(slots.len(), 7, "{every}: {slots:?}");
        assert_eq!(schedule.slot_at(at(0)), schedule.slot_at(at(7)), "{every}");
    }
    let monthly = schedule("type = \"rolling\"\nrolling_slots = 3\nevery = \"1mo\"\n");
    let slots = [1, 2, 3, 4].map(|month| monthly.slot_at(datetime(2026, month, 1, 2, 0, 0, 0)));
    assert!(slots[0] != slots[1] && slots[1] != slots[2] && slots[0] == slots[3], "{slots:?}");
    // Before 1970 too, where remainders are negative.
    assert_eq!(
        schedule("type = \"rolling\"\nrolling_slots = 7\n").slot_at(datetime(1969, 12, 31, 0, 0, 0, 0)),
        "slot-6"
    );
    assert_eq!(schedule("").names, NameType::Dated);
    assert!(
        matches!(schedule("cron = \"0 4 * * 1-5\"\n").when, When::Cron(cron) if cron.as_str() == "0 4 * * 1-5")
    );
}
