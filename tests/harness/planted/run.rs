//! Builds the test programs once, and runs them as children.

use super::found_by::Part;
use crate::support::Scratch;
use crate::support::planted::VARIABLE;
use dedup_engine::planted::Bug;
use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// Longest run of one child.
const PATIENCE: Duration = Duration::from_secs(900);

/// The test programs, built with the feature.
pub struct Programs(Vec<(Part, PathBuf)>);

/// What came of a run of tests.
#[derive(Debug)]
pub enum Verdict {
    /// All passed, and there were some.
    Passed,
    /// Tests failed in an assertion, the first of them this one.
    Failed { test: String, seconds: u64 },
    /// Something else: no tests, a signal, no end. It shows nothing.
    Useless { why: String },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("MISSED, all tests passed"),
            Self::Failed { test, seconds } => write!(f, "found by {test} ({seconds} s)"),
            Self::Useless { why } => write!(f, "MISSED, the run shows nothing: {why}"),
        }
    }
}

impl Programs {
    /// Builds them, or takes the ones that are built.
    pub fn build() -> Self {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--release", "--no-run", "--features", "planted", "--message-format", "json"]);
        cargo.args(["-p", "dedup", "-p", "dedup-engine", "-p", "dedup-modules", "--lib", "--test", "all"]);
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(std::process::Stdio::inherit());
        let built = built.output().unwrap();
        assert!(built.status.success(), "the tests do not build");
        let text = String::from_utf8(built.stdout).unwrap();
        let messages = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let mut programs = Vec::new();
        for message in messages.filter(|message| message["profile"]["test"] == true) {
            let Some(path) = message["executable"].as_str() else { continue };
            let name = message["target"]["name"].as_str();
            let part = Part::ALL.into_iter().find(|part| Some(part.target()) == name);
            programs.extend(part.map(|part| (part, PathBuf::from(path))));
        }
        assert_eq!(programs.len(), Part::ALL.len(), "{programs:?}");
        Self(programs)
    }

    /// Runs the tests whose names contain one of `filters`, with a bug active or none.
    pub fn run(&self, part: Part, filters: &[&str], bug: Option<Bug>) -> Verdict {
        let (_, program) = self.0.iter().find(|(of, _)| *of == part).unwrap();
        let scratch = Scratch::new();
        let told = scratch.path("told");
        let mut command = Command::new(program);
        command.args(filters).arg("--test-threads=2").current_dir(part.folder());
        command.env_remove("DEDUP_TEST_BUDGET").env_remove("DEDUP_TEST_CASES");
        command.env("TMPDIR", scratch.dir("tmp"));
        // What fails because of a planted bug is no regression to be kept in the sources.
        command.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1");
        match bug {
            Some(bug) => command.env(VARIABLE, bug.name()),
            None => command.env_remove(VARIABLE),
        };
        let out = File::create(&told).unwrap();
        command.stderr(out.try_clone().unwrap()).stdout(out);
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if start.elapsed() > PATIENCE => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let text = String::from_utf8_lossy(&fs::read(&told).unwrap()).into_owned();
        let verdict = judge(status, &text, start.elapsed());
        if matches!(verdict, Verdict::Useless { .. }) || bug.is_none() && !matches!(verdict, Verdict::Passed)
        {
            println!("{text}");
        }
        verdict
    }
}

fn judge(status: Option<ExitStatus>, told: &str, took: Duration) -> Verdict {
    let useless = |why: String| Verdict::Useless { why };
    let Some(status) = status else { return useless(format!("no end after {} s", took.as_secs())) };
    let Some(result) = told.lines().rfind(|line| line.starts_with("test result: ")) else {
        return useless(format!("no result, {status}"));
    };
    let count = |what: &str| {
        let before = result.split(what).next().unwrap_or_default();
        before.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
    };
    match (status.code(), count(" passed"), count(" failed")) {
        (Some(0), 1.., 0) => Verdict::Passed,
        (Some(101), _, 1..) => {
            // Tests run side by side, so the line of a test may begin with another one's words.
            let failed = told.lines().filter_map(|line| line.strip_suffix(" ... FAILED"));
            let failed = failed.filter_map(|line| line.rsplit(' ').next()).next();
            Verdict::Failed { test: failed.unwrap_or("a test").to_owned(), seconds: took.as_secs() }
        }
        _ => useless(format!("{result}, {status}")),
    }
}
