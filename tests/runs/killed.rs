//! Runs that fail or are killed at any point: services are as they began, nothing is locked, no half export is
//! published, no module is half restored.

use super::park::{CHAIN, Holding, PRINTED, Park};
use crate::cli::support::{is_root, start};
use crate::support::budget::Budget;
use crate::support::random::Random;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Longest time until everything is back, without another command.
const BACK: Duration = Duration::from_secs(10);

/// What is done to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mishap {
    /// A program fails in this way.
    Program(String, &'static str),
    /// The repository is gone.
    Repository,
    /// A directory of a module cannot be changed.
    Immutable(&'static str),
    /// The process that does the run is killed after a while.
    Worker(Duration),
    /// That, and its guard: nothing is left but the journal.
    Both(Duration),
    /// The person asks it to stop.
    Asked(Duration),
    /// Each process is killed that enters this call for the nth time.
    Call(&'static str, u64),
}

/// Calls that change something, and how often one thread makes them at most in a run.
const CALLS: [(&str, u64); 6] = [
    ("fdatasync", 40),
    ("renameat2", 30),
    ("renameat", 12),
    ("unlinkat", 40),
    ("unlink", 12),
    ("linkat", 12),
];

impl Mishap {
    /// Makes one up for a run that usually takes so long.
    fn draw(random: &mut Random, programs: &[String], usual: Duration, is_restore: bool) -> Self {
        let after = usual.mul_f64(random.below(1100) as f64 / 1000.0);
        match random.below(20) {
            0 => Self::Repository,
            1 if is_restore && is_root() => Self::Immutable(CHAIN[random.below(3) as usize]),
            2..6 => Self::Worker(after),
            6 | 7 => Self::Both(after),
            8 => Self::Asked(after),
            9..12 => {
                let (call, most) = CALLS[random.below(CALLS.len() as u64) as usize];
                Self::Call(call, 1 + random.below(most))
            }
            _ => {
                let name = &programs[random.below(programs.len() as u64) as usize];
                let how = ["1", "75", "kill", "hang", "126", "kill"][random.below(6) as usize];
                // What has no limit of time would hang for ever; what must come back fails once.
                let how = match how {
                    "kill" => how,
                    _ if name.starts_with("start-") || name.starts_with("unlock-") => "once",
                    "hang" if !name.contains("_p") && !name.ends_with("-check") => "1",
                    how => how,
                };
                Self::Program(name.clone(), how)
            }
        }
    }

    /// Returns what it is called in the figure.
    fn kind(&self) -> &'static str {
        match self {
            Self::Program(_, "kill") => "killed by a program",
            Self::Program(_, "hang") => "hung",
            Self::Program(..) => "failed",
            Self::Repository => "repository gone",
            Self::Immutable(_) => "immutable",
            Self::Worker(_) => "SIGKILL",
            Self::Both(_) => "SIGKILL with its guard",
            Self::Asked(_) => "SIGTERM",
            Self::Call(..) => "SIGKILL at a call",
        }
    }
}

/// The figure of the issue: any step fails or the process is killed at any point.
#[test]
fn any_step_fails_or_the_run_is_killed_and_everything_comes_back() {
    let budget = Budget::of("module runs, faults and kills at random", 25, 2000);
    let mut trial = Trial::new();
    budget.each(|_, random| trial.case(random));
    budget.tell(&format!(
        "{} runs, {} of them restores; met: {:?}; {} runs did all, {} modules restored, {} as before; all came back, the slowest {:?} after its end",
        budget.cases(),
        trial.restores,
        trial.met,
        trial.whole,
        trial.restored,
        trial.untouched,
        trial.slowest,
    ));
    trial.end();
}

/// A park, and what was saved of it.
struct Trial {
    park: Park,
    saved: (String, Vec<Holding>),
    usual: [Duration; 2],
    restores: u64,
    whole: u64,
    restored: u64,
    untouched: u64,
    met: BTreeMap<&'static str, u64>,
    slowest: Duration,
}

impl Trial {
    fn new() -> Self {
        let park = Park::new();
        let holdings = park.holdings();
        let timed = |arguments: &[&str]| {
            let begun = Instant::now();
            park.machine.dedup(arguments).ok();
            begun.elapsed()
        };
        let backup = timed(&["backup"]);
        let id = park.machine.place.newest();
        let restore = timed(&["restore", &id, "--yes", "--ignore", PRINTED]);
        assert_eq!(park.holdings(), holdings);
        Self {
            park,
            saved: (id, holdings),
            usual: [backup, restore],
            restores: 0,
            whole: 0,
            restored: 0,
            untouched: 0,
            met: BTreeMap::new(),
            slowest: Duration::ZERO,
        }
    }

    fn case(&mut self, random: &mut Random) {
        self.park.change(random);
        let is_restore = random.below(2) == 0;
        let programs = if is_restore { &self.park.in_restore } else { &self.park.in_backup };
        let usual = self.usual[usize::from(is_restore)];
        let mishap = Mishap::draw(random, programs, usual, is_restore);
        let before = self.park.holdings();
        let saved = self.saved.0.clone();
        let arguments: &[&str] =
            if is_restore { &["restore", &saved, "--yes", "--ignore", PRINTED] } else { &["backup"] };
        let snapshots = self.park.machine.snapshots();
        let (code, said) = self.run(self.park.machine.command(arguments), &mishap);
        let context = format!("{arguments:?}, {mishap:?}, ended {code:?}:\n{said}");
        if !matches!(mishap, Mishap::Both(_) | Mishap::Call(..)) {
            match self.comes_back() {
                Ok(time) => self.slowest = self.slowest.max(time),
                Err(wrong) => panic!("{context}\n{wrong}"),
            }
        }
        let recovered = self.park.machine.dedup(&["recover"]);
        assert_eq!(recovered.code, 0, "{context}\nrecover: {}", recovered.err);
        assert!(self.comes_back().is_ok(), "{context}\nrecover: {}", recovered.err);
        assert_eq!(self.park.machine.journals(), Vec::<String>::new(), "{context}");
        self.whole += u64::from(code == Some(0));
        if is_restore {
            self.restores += 1;
            self.judge_restore(&before, code, &context);
        } else {
            assert_eq!(self.park.holdings(), before, "{context}");
            self.judge_backup(snapshots, before, code, &context);
        }
        self.park.machine.events();
    }

    /// Does a run with a mishap.
    fn run(&mut self, command: Command, mishap: &Mishap) -> (Option<i32>, String) {
        let machine = &self.park.machine;
        let (packs, away) = (machine.place.path("repo/packs"), machine.place.path("repo/away"));
        match mishap {
            Mishap::Program(name, how) => machine.fail(name, how),
            Mishap::Repository => fs::rename(&packs, &away).unwrap(),
            Mishap::Immutable(id) => change_attribute("+i", &machine.data(id)),
            _ => {}
        }
        let child = start(match mishap {
            Mishap::Call(call, number) => killed_at(&command, call, *number),
            _ => command,
        });
        let mut met = !matches!(mishap, Mishap::Program(..));
        match mishap {
            Mishap::Worker(after) => met = kill(&child, *after, false),
            Mishap::Both(after) => met = kill(&child, *after, true),
            Mishap::Asked(after) => {
                std::thread::sleep(*after);
                met = kill_process(pid(child.id()), Signal::TERM).is_ok();
            }
            _ => {}
        }
        let output = child.wait_with_output().unwrap();
        match mishap {
            Mishap::Program(name, _) => {
                machine.heal(name);
                met = machine.take_fired().is_some();
            }
            Mishap::Repository => fs::rename(&away, &packs).unwrap(),
            Mishap::Immutable(id) => change_attribute("-i", &machine.data(id)),
            Mishap::Call(..) => met = output.status.code() != Some(0),
            _ => {}
        }
        if met {
            *self.met.entry(mishap.kind()).or_default() += 1;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked"), "{said}");
        (output.status.code(), said)
    }

    /// Waits until everything is as it was, without another command.
    fn comes_back(&self) -> Result<Duration, String> {
        let begun = Instant::now();
        let machine = &self.park.machine;
        loop {
            if machine.up() == self.park.up && machine.locked().is_empty() {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > BACK {
                return Err(format!("up: {:?}, locked: {:?}", machine.up(), machine.locked()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What is published is whole, or says that it is not.
    fn judge_backup(&mut self, snapshots: usize, before: Vec<Holding>, code: Option<i32>, context: &str) {
        let list = self.park.machine.dedup(&["snapshots", "--json"]).ok().json();
        let list = list["snapshots"].as_array().unwrap();
        assert!(list.len() <= snapshots + 1, "{context}");
        assert!(code != Some(0) || list.len() == snapshots + 1, "{context}");
        let Some(newest) = list.get(snapshots) else { return };
        assert!(code != Some(0) || newest["state"] == "complete", "{context}");
        if newest["state"] == "complete" {
            self.saved = (newest["id"].as_str().unwrap().to_owned(), before);
        }
    }

    /// Every module is as it was before, or as it was stored; none is restored without what it requires.
    fn judge_restore(&mut self, before: &[Holding], code: Option<i32>, context: &str) {
        let mut all_so_far = true;
        for (at, found) in self.park.holdings().into_iter().enumerate() {
            let wanted = self.saved.1[at].restored_over(&before[at]);
            if found == wanted {
                assert!(all_so_far || found == before[at], "{} without the one before: {context}", CHAIN[at]);
                self.restored += 1;
            } else {
                assert_ne!(code, Some(0), "{context}\n{found:?}\nwanted {wanted:?}");
                assert_eq!(found, before[at], "{}, wanted\n{wanted:?}\n{context}", CHAIN[at]);
                all_so_far = false;
                self.untouched += 1;
            }
        }
        if code == Some(0) {
            assert_eq!(self.park.machine.left_aside(), Vec::<std::path::PathBuf>::new(), "{context}");
        }
    }

    /// Nothing of any run is left after one more, and the repository is sound.
    fn end(&self) {
        let machine = &self.park.machine;
        machine.dedup(&["backup"]).ok();
        machine.dedup(&["restore", "latest", "--yes", "--ignore", PRINTED]).ok();
        assert_eq!(machine.left_aside(), Vec::<std::path::PathBuf>::new());
        machine.place.assert_sound();
    }
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed()).unwrap()
}

/// Kills the process that does the run, perhaps its guard before it; returns whether it still ran.
fn kill(guard: &Child, after: Duration, with_guard: bool) -> bool {
    std::thread::sleep(after);
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", guard.id())).unwrap_or_default();
    if with_guard {
        let _ = kill_process(pid(guard.id()), Signal::KILL);
    }
    let children = children.split_whitespace().map(|child| pid(child.parse().unwrap()));
    children.filter(|child| kill_process(*child, Signal::KILL).is_ok()).count() > 0
}

/// Returns a command with each of its processes killed as it enters a call for the nth time: the guard, too.
fn killed_at(command: &Command, call: &str, number: u64) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"]);
    traced.arg(format!("inject={call}:signal=SIGKILL:when={number}"));
    traced.arg(command.get_program()).args(command.get_args()).env_clear();
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced.current_dir(command.get_current_dir().unwrap());
    traced
}

/// Sets or clears an attribute of a directory's inode.
fn change_attribute(word: &str, path: &std::path::Path) {
    let status = Command::new("chattr").arg(word).arg(path).status().expect("chattr of e2fsprogs");
    assert!(status.success(), "chattr {word} {}", path.display());
}
