//! R28: every kind of operation, and everything that a program can do wrong. None hangs, and no half of anything is taken
//! for the whole.

use super::program;
use crate::runs::app::Machine;
use dedup_modules::child::Surroundings;
use dedup_modules::external::{
    Around, ExportHost, ExternalError, ImportData, ImportHost, Job, Reading, Spec, StoreError, describe,
    export, import,
};
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::programs::Severity;
use dedup_modules::protocol::{Name, Offer, Op, Opened};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a program does, and what is said of it.
const FAULTS: [(&str, &str); 12] = [
    ("killed", "signal 9"),
    ("lying", "protocol"),
    ("blocking", "said nothing"),
    ("oversize", "longer than"),
    ("garbage", "protocol"),
    ("version", "version 2"),
    ("early-exit", "status 3"),
    ("no-done", "without having said that it was done"),
    ("no-exit", "did not exit"),
    ("credit", "protocol"),
    ("endless-log", "messages that carry no data"),
    ("forks", ""),
];

/// Stores in memory.
#[derive(Default)]
struct Memory(Vec<(String, Vec<u8>)>);

impl ExportHost for Memory {
    fn store(&mut self, opened: &Opened, read: &mut dyn Read) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        read.read_to_end(&mut bytes).map_err(|error| StoreError::Lost(error.to_string()))?;
        self.0.push((opened.name.as_str().to_owned(), bytes));
        Ok(())
    }

    fn dump(&mut self, _name: &Name) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    fn scratch(&mut self) -> Result<PathBuf, String> {
        Err("there is none".into())
    }
}

impl ImportHost for Memory {
    fn dump(&mut self, _name: &str, _reading: &mut Reading<'_>) -> Result<(), ExternalError> {
        Ok(())
    }

    fn file(&mut self, _path: &Path, _reading: &mut Reading<'_>) -> Result<bool, ExternalError> {
        Ok(false)
    }

    fn scratch(&mut self) -> Result<PathBuf, String> {
        Err("there is none".into())
    }
}

/// Runs an operation of the faulty program; returns whether it succeeded, and what is said.
fn operate(machine: &Machine, op: Op, fault: &str) -> Result<(), String> {
    operate_with(machine, op, fault, "", &|| false).0
}

/// The same with more of the manifest, until it is cancelled; also returns what was logged.
fn operate_with(
    machine: &Machine,
    op: Op,
    fault: &str,
    more: &str,
    cancelled: &dyn Fn() -> bool,
) -> (Result<(), String>, Vec<String>) {
    let faulty = program(machine, "faulty.py", include_str!("faulty.py"));
    let fired = machine.place.path("program-fired");
    let text = format!(
        "schema = 1\n[module]\nid = \"app\"\n[importer]\ncommand = [\"python3\", {faulty:?}, {fault:?}, {fired:?}]\n\
         idle_timeout = \"1s\"\ncancel_grace = \"1s\"\n{more}"
    );
    let manifest = Manifest::parse("app.toml", text.as_bytes()).unwrap();
    let spec = Spec::of(manifest.importer.as_ref().unwrap(), &manifest, &manifest.paths).unwrap();
    let around = Surroundings { env: vec![("PATH".into(), "/usr/bin:/bin".into())], ..Default::default() };
    let begun = Instant::now();
    let logged = std::cell::RefCell::new(Vec::new());
    let (log, elapsed) =
        (|_: Severity, text: &str| logged.borrow_mut().push(text.to_owned()), || begun.elapsed());
    let job = Job {
        spec: &spec,
        run: "run",
        root: Path::new("/"),
        spaces_dir: &machine.place.path("spaces"),
        log: &log,
        offer: Offer::default(),
        world: Around { around: &around, cancelled, elapsed: &elapsed },
    };
    let mut memory = Memory::default();
    let ended = match op {
        Op::Describe => describe(&job).map(drop),
        Op::Export => export(&job, &[], &mut memory).map(|exported| {
            assert!(exported.collected.is_some());
            let (name, bytes) = &memory.0[0];
            assert_eq!((&name[..], &bytes[..]), ("state", &b"all of it\n".repeat(1000)[..]));
        }),
        op => import(&job, op, &ImportData::default(), &mut memory).map(drop),
    };
    let ended = ended.map_err(|error| error.to_string());
    (ended, logged.take())
}

/// Returns which of the processes that a program has written down still run.
fn alive(path: &Path) -> Vec<String> {
    let pids = fs::read_to_string(path).unwrap();
    let runs = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    pids.lines().filter(|pid| runs(pid)).map(ToOwned::to_owned).collect()
}

#[test]
fn every_operation_stands_every_fault() {
    let machine = Machine::new();
    let ops = [Op::Describe, Op::Export, Op::Import, Op::Check, Op::Reset, Op::Legacy, Op::Revert, Op::Run];
    for op in ops {
        operate(&machine, op, "none").unwrap_or_else(|error| panic!("{op}, without a fault: {error}"));
        for (fault, told) in FAULTS {
            let fired = machine.place.path("program-fired");
            let _ = fs::remove_file(&fired);
            let begun = Instant::now();
            let ended = operate(&machine, op, fault);
            let took = begun.elapsed();
            let fired =
                fs::read_to_string(&fired).unwrap_or_else(|_| panic!("{op}, {fault}: it did not fire"));
            assert_eq!(fired, format!("{fault} {op}\n"));
            assert!(took < Duration::from_secs(30), "{op}, {fault}: {took:?}");
            if fault == "forks" {
                ended.unwrap_or_else(|error| panic!("{op}, {fault}: {error}"));
                let left = alive(&machine.place.path("program-fired.pids"));
                assert!(left.is_empty(), "{op}: {left:?} still run");
                continue;
            }
            let error = ended.expect_err(&format!("{op}, {fault}: taken for a success"));
            assert!(error.contains(told), "{op}, {fault}: {error}");
        }
    }
}

#[test]
fn whoever_does_not_stop_is_stopped() {
    let machine = Machine::new();
    for op in [Op::Export, Op::Import] {
        let fired = machine.place.path("program-fired");
        let _ = fs::remove_file(&fired);
        let begun = Instant::now();
        let (ended, _) = operate_with(&machine, op, "deaf", "", &|| fired.exists());
        assert!(ended.unwrap_err().contains("the run is cancelled"));
        // A second of grace, five from TERM to KILL.
        assert!((6..15).contains(&begun.elapsed().as_secs()), "{op}: {:?}", begun.elapsed());
    }
    // And a limit of its time in all, whatever it says meanwhile.
    let begun = Instant::now();
    let (ended, _) = operate_with(&machine, Op::Export, "deaf", "timeout = \"2s\"\n", &|| false);
    assert!(ended.unwrap_err().contains("longer than 2s"));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// Where a limit of memory cannot be kept, that is said; where it can, it is.
#[test]
fn a_limit_of_memory_holds_or_is_said_not_to() {
    let machine = Machine::new();
    operate(&machine, Op::Export, "memory").unwrap();
    let (ended, logged) = operate_with(&machine, Op::Export, "memory", "memory = \"64M\"\n", &|| false);
    let is_said = logged.iter().any(|text| text.contains("not enforced"));
    assert_eq!(ended.is_ok(), is_said, "{ended:?} {logged:?}");
}

/// Declares a module whose exporter and importer are the faulty program, in one operation.
fn app(machine: &Machine, fault: &str, when: &str) {
    let faulty = program(machine, "faulty.py", include_str!("faulty.py"));
    let fired = machine.place.path("program-fired");
    let _ = fs::remove_file(&fired);
    let changes = machine.place.path("setting");
    let command = format!("command = [\"python3\", {faulty:?}, {fault:?}, {fired:?}, {when:?}]\n");
    let limits = "idle_timeout = \"1s\"\ncancel_grace = \"1s\"\n";
    let more = format!(
        "[exporter]\n{command}{limits}[importer]\n{command}{limits}env = {{ CHANGES = {changes:?} }}\n"
    );
    machine.module("app", &more);
}

#[test]
fn an_exporter_that_fails_leaves_a_partial_module_and_nothing_of_its_own() {
    let machine = Machine::new();
    for (fault, told) in FAULTS {
        app(&machine, fault, "export");
        let run = machine.dedup(&["backup"]);
        assert!(machine.place.path("program-fired").exists(), "{fault} did not fire");
        let account = machine.account("app");
        let dumps: Vec<_> =
            account["dumps"].as_array().unwrap().iter().map(|dump| dump["name"].clone()).collect();
        if fault == "forks" {
            run.ok();
            assert_eq!(dumps.len(), 2, "{dumps:?}");
            continue;
        }
        run.ends(3);
        assert_eq!(account["state"], "partial", "{fault}");
        assert!(dumps.is_empty(), "{fault}: {dumps:?}");
        assert!(account["reason"].as_str().unwrap().contains(told), "{fault}: {account}");
    }
}

#[test]
fn an_importer_that_fails_leaves_everything_as_it_was() {
    let machine = Machine::new();
    app(&machine, "none", "none");
    machine.dedup(&["backup"]).ok();
    for (fault, _) in FAULTS {
        app(&machine, fault, "import");
        fs::write(machine.place.path("setting"), "as it was\n").unwrap();
        fs::write(machine.data("app").join("file"), "changed since\n").unwrap();
        let run = machine.dedup(&["restore", "latest", "--yes"]);
        assert!(machine.place.path("program-fired").exists(), "{fault} did not fire");
        let (setting, file) = (
            fs::read_to_string(machine.place.path("setting")),
            fs::read_to_string(machine.data("app").join("file")),
        );
        if fault == "forks" {
            run.ok();
            assert_eq!(setting.unwrap(), "half an import\n");
            continue;
        }
        run.ends(7);
        assert_eq!(
            (setting.unwrap(), file.unwrap()),
            ("as it was\n".into(), "changed since\n".into()),
            "{fault}"
        );
        assert_eq!(machine.journals(), Vec::<String>::new(), "{fault}");
    }
}

#[test]
fn an_importer_that_says_no_is_asked_before_anything_is_touched() {
    let machine = Machine::new();
    app(&machine, "none", "none");
    machine.dedup(&["backup"]).ok();
    app(&machine, "early-exit", "check");
    fs::write(machine.data("app").join("file"), "changed since\n").unwrap();
    let run = machine.dedup(&["restore", "latest", "--yes"]);
    assert_ne!(run.code, 0);
    assert!(machine.place.path("program-fired").exists());
    assert_eq!(fs::read_to_string(machine.data("app").join("file")).unwrap(), "changed since\n");
}
