//! What fuzzing and the replay of its corpus do with any bytes: hand them to a parser and hold it to what it promises.

use crate::id::ModuleId;
use crate::job::custom::CustomModule;
use crate::job::names::{slot_tag, tags};
use crate::job::retention::rules;
use crate::job::storages::Storages;
use crate::manifest::drivers::Driver;
use crate::manifest::items::{Extent, section_of};
use crate::manifest::job::{Job, Modules};
use crate::manifest::platform::Platform;
use crate::manifest::problem::MAX_PROBLEMS;
use crate::manifest::services::{Operation, start_order};
use crate::manifest::{Manifest, Problems, looks_like_job};
use crate::records::fuzz;
use crate::selection::{Candidate, Ready, Request, select};
use crate::units;
use crate::version::{Condition, Requirement, Version};
use jiff::civil::datetime;

/// One parser: its name, which is that of the fuzz target and of its corpus, and what must hold.
pub type Target = (&'static str, fn(&[u8]));

/// Every parser of what people write, of archives, and of stored records.
pub const TARGETS: [Target; 15] = [
    ("archive", crate::archive::fuzz_archive),
    ("foreign_archive", crate::foreign::fuzz::archive),
    ("foreign_dump", crate::foreign::fuzz::dump),
    ("foreign_text", crate::foreign::fuzz::text),
    ("job", job),
    ("manifest", manifest),
    ("mariadb", crate::sources::mariadb::testing::parse),
    ("platform", platform),
    ("postgresql", crate::sources::postgresql::testing::parse),
    ("protocol", protocol),
    ("record_key", record_key),
    ("record_row", record_row),
    ("record_schema", record_schema),
    ("record_spec", record_spec),
    ("version", version),
];

/// Holds a refusal to its form: at least one problem, in order, each at a place of the text.
fn refusal(bytes: &[u8], problems: &Problems) {
    assert!((1..=MAX_PROBLEMS).contains(&problems.list.len()));
    assert!(problems.more == 0 || problems.list.len() == MAX_PROBLEMS);
    assert!(problems.list.windows(2).all(|pair| pair[0].place <= pair[1].place), "out of order");
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in &problems.list {
        let line = usize::try_from(problem.place.line).unwrap_or(usize::MAX);
        let length = lines.get(line.wrapping_sub(1)).map(|line| line.chars().count());
        let column = usize::try_from(problem.place.column).unwrap_or(usize::MAX);
        assert!(
            length.is_some_and(|length| (1..=length + 1).contains(&column)),
            "no such place: {problem:?}"
        );
        assert!(!problem.message.is_empty());
    }
    assert!(problems.to_string().lines().count() >= problems.list.len());
}

fn manifest(bytes: &[u8]) {
    let _ = looks_like_job(bytes);
    let manifest = match Manifest::parse("fuzz.toml", bytes) {
        Ok(manifest) => manifest,
        Err(problems) => return refusal(bytes, &problems),
    };
    let id = manifest.module.id.as_str();
    assert_eq!(ModuleId::parse(id).map(|id| id.to_string()), Ok(id.to_owned()));
    // What is accepted is complete: its own values of variables are enough, every path is absolute and stays below.
    let items = manifest.items(&manifest.paths);
    for item in items.iter().flatten() {
        let shown = item.path.to_string_lossy();
        assert!(shown.starts_with('/') && shown.len() > 1, "{shown}");
        assert!(!shown.split('/').any(|part| part == ".."), "{shown}");
        let own = items.as_ref().ok().and_then(|items| section_of(items, &item.path));
        assert!(own.is_some() || item.extent == Extent::Pattern, "{shown} belongs nowhere");
    }
    let started = start_order([&manifest], Operation::Backup);
    assert!(started.len() <= manifest.services.len());
    let candidate = Candidate::of(&manifest, Ready::Ready);
    let selection = select(&[candidate], &Request::backup(Modules::All));
    assert!(selection.is_ok_and(|selection| selection.chosen.len() + selection.left_out.len() == 1));
}

fn job(bytes: &[u8]) {
    let job = match Job::parse("fuzz.toml", bytes) {
        Ok(job) => job,
        Err(problems) => return refusal(bytes, &problems),
    };
    // What follows from a file that was accepted.
    if let Ok(Some(custom)) = CustomModule::of(&job) {
        let again = Manifest::parse("fuzz.toml", custom.text.as_bytes());
        assert_eq!(again.as_ref(), Ok(&custom.manifest), "its text means the same");
        assert_eq!(custom.manifest.data.entries.len(), job.custom.len());
    }
    let storages = Storages::of(&job);
    assert_eq!(storages.further.len() + usize::from(storages.repository.is_some()), job.storages.len());
    assert!(rules(&job).is_none_or(|rules| rules.last > 0), "never to zero");
    if let Some(schedule) = &job.schedule {
        for at in [
            datetime(2026, 11, 21, 4, 30, 7, 0),
            datetime(1969, 12, 31, 23, 59, 59, 0),
            datetime(9999, 1, 1, 0, 0, 0, 0),
        ] {
            let names = schedule.names_at(&job.id, at);
            assert!(names.dated.is_some() || names.rolling.is_some());
            assert_eq!(names, schedule.names_at(&job.id, at));
            let tags = tags(&job, at);
            let slot = slot_tag(&job, at);
            assert_eq!(slot.is_some(), names.rolling.is_some());
            assert!(names.dated.iter().chain(&slot).all(|name| tags.binary_search(name).is_ok()));
            assert!(schedule.next_after(at, Some(at)).is_none_or(|next| next >= at));
        }
    }
}

fn platform(bytes: &[u8]) {
    let platform = match Platform::parse("fuzz.toml", bytes) {
        Ok(platform) => platform,
        Err(problems) => return refusal(bytes, &problems),
    };
    for driver in [Driver::Settings, Driver::FeatureCodes, Driver::Kv, Driver::Tree] {
        let Some(kind) = platform.kind(driver) else { continue };
        let database = kind.database.as_ref().or(platform.database.as_ref());
        assert!(database.is_some_and(|database| database.path.is_some() || database.name.is_some()));
        assert!(!kind.table.is_empty() && !kind.key.is_empty());
    }
    let text = "schema = 1\n[module]\nid = \"app\"\n[settings]\nkeys = [\"a\"]\n";
    if let Ok(mut manifest) = Manifest::parse("fuzz.toml", text.as_bytes())
        && manifest.on_platform(&platform).is_ok()
    {
        assert!(manifest.sources.iter().all(|source| !source.driver.is_of_platform()));
    }
}

/// Lines: versions, conditions, requirements, sizes, times.
fn version(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines: Vec<&str> = text.lines().take(8).collect();
    let versions: Vec<Version> = lines.iter().filter_map(|line| Version::parse(line).ok()).collect();
    for one in &versions {
        assert_eq!(Version::parse(one.as_str()).as_ref(), Ok(one));
        for other in &versions {
            assert_eq!(one.cmp(other), other.cmp(one).reverse());
            for third in &versions {
                assert!(!(one <= other && other <= third) || one <= third, "{one} {other} {third}");
            }
        }
    }
    for line in lines {
        if let Ok(condition) = Condition::parse(line) {
            assert_eq!(Condition::parse(&condition.to_string()).as_ref(), Ok(&condition));
            assert!(versions.iter().filter(|version| condition.holds_for(version)).count() <= versions.len());
        }
        for requirement in [Requirement::parse(line), Requirement::parse_freepbx(line)].into_iter().flatten()
        {
            assert_eq!(Requirement::parse(&requirement.to_string()).as_ref(), Ok(&requirement));
        }
        if let Ok(bytes) = units::size(line) {
            assert_eq!(units::size(&units::show_size(bytes)), Ok(bytes));
        }
        if let Ok(span) = units::duration(line) {
            assert_eq!(units::duration(&units::show_duration(span)), Ok(span));
        }
    }
}

fn record_key(bytes: &[u8]) {
    let _ = fuzz::key(bytes);
}

fn record_row(bytes: &[u8]) {
    let _ = fuzz::row(bytes);
}

fn record_schema(bytes: &[u8]) {
    let _ = fuzz::schema(bytes);
}

fn record_spec(bytes: &[u8]) {
    let _ = fuzz::spec(bytes);
}

/// Bytes of a module: the first says for which operation, the second how they are cut.
fn protocol(bytes: &[u8]) {
    use crate::manifest::words::Words;
    use crate::protocol::Op;
    let [op, cut, wire @ ..] = bytes else { return };
    let (_, op) = Op::WORDS[usize::from(*op) % Op::WORDS.len()];
    // Wherever they are cut, they mean the same.
    let whole = converse(op, wire, wire.len().max(1));
    assert_eq!(whole, converse(op, wire, usize::from(*cut).max(1)));
}

/// Returns how much is heard of bytes of a module, and whether they end in a violation.
pub fn protocol_accepts(bytes: &[u8]) -> Option<(usize, bool)> {
    use crate::manifest::words::Words;
    use crate::protocol::Op;
    let (op, wire) = (*bytes.first()?, bytes.get(2..)?);
    let (_, op) = Op::WORDS[usize::from(op) % Op::WORDS.len()];
    let (heard, _, _, ended) = converse(op, wire, wire.len().max(1));
    Some((heard.len(), ended.is_some()))
}

/// What came of a conversation: what was heard, what streams had, what was sent, how it ended.
type Heard = (Vec<String>, Vec<u8>, Vec<u8>, Option<String>);

fn converse(op: crate::protocol::Op, wire: &[u8], block: usize) -> Heard {
    use crate::protocol::{Event, GRACE, MAX_LINE_BYTES, Opening, Session, Taken};
    let opening = Opening {
        op,
        engine: "dedup".into(),
        module: "m".into(),
        version: "1".into(),
        run: "r".into(),
        root: "/".into(),
        values: Vec::new(),
        level: crate::manifest::programs::Severity::Debug,
        idle: None,
        total: None,
        grace: GRACE,
        memory_bytes: None,
        offer: crate::protocol::Offer::default(),
    };
    let mut session = Session::new(&opening);
    let (mut heard, mut content, mut open, mut ended) = (Vec::new(), Vec::new(), Vec::new(), None);
    'all: for part in wire.chunks(block) {
        session.push(part);
        loop {
            match session.next() {
                Ok(None) => break,
                Ok(Some(event)) => {
                    if let Event::Opened(opened) = &event {
                        open.push(opened.s);
                    }
                    if let Event::Message(id, _) = &event {
                        session.deny(*id, "unsupported", "not here");
                    }
                    heard.push(format!("{event:?}"));
                }
                Err(violation) => {
                    assert!(session.is_over());
                    ended = Some(violation.to_string());
                    break 'all;
                }
            }
        }
    }
    for s in open {
        let mut buffer = [0; 4096];
        loop {
            match session.take(s, &mut buffer) {
                Taken::Bytes(count) => content.extend_from_slice(&buffer[..count]),
                end => break heard.push(format!("{s}: {end:?}")),
            }
        }
    }
    let sent = std::mem::take(session.out());
    for line in sent.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        assert!(line.len() < MAX_LINE_BYTES && serde_json::from_slice::<serde_json::Value>(line).is_ok());
    }
    assert!(content.len() <= 64 + 8 * wire.len(), "more than came");
    for row in content.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()) {
        rows_under_keys(row);
    }
    (heard, content, sent, ended)
}

/// What is stored of a row under its key comes back in the one form that values have, and is stored the same again.
fn rows_under_keys(row: &str) {
    use crate::external::keyed_again;
    let Some(again) = keyed_again(row) else { return };
    let value = crate::protocol::Value::parse(&again).expect("what is written is canonical");
    assert_eq!(value.as_text(), again, "of {row}");
    assert_eq!(keyed_again(&again).as_ref(), Some(&again), "of {row}");
}
