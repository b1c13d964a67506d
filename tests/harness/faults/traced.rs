//! Runs the program under strace, lets calls fail, and reads the trace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No run here takes a second of its own; a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// Which call fails, and how.
#[derive(Clone, Debug)]
pub struct Injection {
    pub call: String,
    pub error: &'static str,
    /// Number of the call in its thread, from 1.
    pub n: u64,
}

/// What a run said, and the calls that were watched.
pub struct Trace {
    pub code: i32,
    pub out: String,
    pub err: String,
    lines: Vec<String>,
}

/// Runs a command; of the calls named, one may fail.
pub fn run(command: Command, calls: &[&str], injection: Option<&Injection>, log: &Path) -> Trace {
    traced(command, calls, injection, log, &[])
}

/// The same, of calls on one path only.
pub fn run_on(command: Command, calls: &[&str], injection: &Injection, log: &Path, path: &Path) -> Trace {
    traced(command, calls, Some(injection), log, &["-P", path.to_str().unwrap()])
}

fn traced(
    command: Command,
    calls: &[&str],
    injection: Option<&Injection>,
    log: &Path,
    more: &[&str],
) -> Trace {
    let mut strace = Command::new("strace");
    // The kernel passes by all calls but these.
    strace.args(["-f", "-y", "-qq", "--seccomp-bpf", "-s", "0"]).args(more).arg("-o").arg(log);
    strace.arg("-e").arg(format!("trace={}", if calls.is_empty() { "none".into() } else { calls.join(",") }));
    if let Some(Injection { call, error, n }) = injection {
        strace.arg("-e").arg(format!("inject={call}:error={error}:when={n}"));
    }
    strace.arg("--").arg(command.get_program()).args(command.get_args());
    strace.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.current_dir(command.get_current_dir().unwrap());
    strace.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = strace.spawn().unwrap();
    let output = finish(child);
    let code = output.status.code();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = code.unwrap_or_else(|| panic!("it died of signal {:?}: {err}", output.status.signal()));
    let lines = fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect();
    Trace { code, out: String::from_utf8_lossy(&output.stdout).into_owned(), err, lines }
}

/// Waits for a child; one that hangs is killed with all its kin, and fails the test.
pub fn finish(child: Child) -> std::process::Output {
    let group = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let output = child.wait_with_output();
        let _ = done.send(());
        output
    });
    let start = Instant::now();
    if is_done.recv_timeout(PATIENCE).is_err() {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        panic!("it hangs: killed after {:?}", start.elapsed());
    }
    waiter.join().unwrap().unwrap()
}

/// Returns the name of the call in a line, if one begins there.
fn call_of(line: &str) -> Option<(&str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let call = rest.trim_start().split('(').next()?;
    (!call.is_empty() && call.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_'))
        .then_some((thread, call))
}

impl Trace {
    /// Returns the summary of a stream of JSON.
    pub fn summary(&self) -> Option<serde_json::Value> {
        let parse = |line| serde_json::from_str::<serde_json::Value>(line).ok();
        self.out.lines().filter_map(parse).find(|line| line["type"] == "summary")
    }

    /// Returns the paths of the problems that were told, which have no slash in front there.
    pub fn problems(&self) -> Vec<PathBuf> {
        let parse = |line| serde_json::from_str::<serde_json::Value>(line).ok();
        let lines = self.out.lines().filter_map(parse).filter(|line| line["type"] == "problem");
        lines.map(|line| Path::new("/").join(line["path"].as_str().unwrap())).collect()
    }

    /// Returns kinds of calls and their numbers in their threads, of those whose line is wanted.
    pub fn ordinals(&self, is_wanted: impl Fn(&str) -> bool) -> BTreeSet<(String, u64)> {
        let (mut counts, mut wanted) = (BTreeMap::<_, u64>::new(), BTreeSet::new());
        for line in &self.lines {
            let Some((thread, call)) = call_of(line) else { continue };
            let count = counts.entry((thread, call)).or_default();
            *count += 1;
            if is_wanted(line) {
                wanted.insert((call.to_owned(), *count));
            }
        }
        wanted
    }

    /// Returns the lines of calls that were made to fail.
    pub fn injected(&self) -> Vec<&String> {
        self.lines.iter().filter(|line| line.contains("(INJECTED)")).collect()
    }

    /// Returns the paths of descriptors on which a call was made to fail.
    pub fn failed(&self, call: &str) -> Vec<String> {
        let lines = self.injected().into_iter().filter(|line| line.contains(&format!("{call}(")));
        lines.filter_map(|line| Some(line.split_once('<')?.1.split_once('>')?.0.to_owned())).collect()
    }

    /// Returns the lines after the one in which a call on a path was made to fail.
    pub fn after_failure(&self, call: &str, path: &str) -> Vec<&str> {
        let is_it = |line: &&String| {
            line.contains("(INJECTED)") && line.contains(call) && line.contains(&format!("<{path}>"))
        };
        let after = self.lines.iter().position(|line| is_it(&line)).map_or(self.lines.len(), |at| at + 1);
        self.lines[after..].iter().map(String::as_str).collect()
    }
}
