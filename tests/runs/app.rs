//! Applications made of small programs, each of which can be told to fail, and what happened to them.
//!
//! The oracle reads files that the programs wrote, never what `dedup` says (7.23 of the design): a service is up if its
//! file is there, a module is locked if its flag is, and `events` has every program that ran, in order.

use crate::cli::support::{Place, Run, finish, start, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Where the user's manifests are.
const MODULES: &str = "home/.config/dedup/modules.d";

/// A machine with modules, in a place with a repository.
pub struct Machine {
    /// The place.
    pub place: Place,
}

/// What a program of the tests does: it notes that it ran, then fails if `fail/<name>` says so.
///
/// `fail/<name>` holds the exit status; `once` fails the first time only; `slow` succeeds late the first time; `hang`
/// makes it sleep; `kill` kills the run's process, the parent of this one. What `fired/<name>` says is what was done.
const SCRIPT: &str = r#"#!/bin/sh
name=$1; shift
cd "BASE" || exit 99
echo "$name${DEDUP_STATE:+ $DEDUP_STATE}" >> events
if [ -e "fail/$name" ]; then
    how=$(cat "fail/$name")
    printf %s "$how" > "fired/$name"
    case $how in
        hang) exec sleep 1000 ;;
        once) rm "fail/$name"; exit 1 ;;
        slow) rm "fail/$name"; sleep 3 ;;
        kill) rm "fail/$name"; kill -9 $PPID; sleep 1 ;;
        *) exit "$how" ;;
    esac
fi
case $name in
    stop-*) rm -f "up/${name#stop-}" ;;
    start-*) touch "up/${name#start-}" ;;
    status-*) [ -e "up/${name#status-}" ] || exit 3 ;;
    lock-*) touch "locked/${name#lock-}" ;;
    unlock-*) rm -f "locked/${name#unlock-}" ;;
    locked-*) [ -e "locked/${name#locked-}" ] || exit 3 ;;
    state-*) echo ready ;;
    dump-*) cat "data/${name#dump-}/file" ;;
esac
"#;

/// A run that goes on until it is asked to stop: at the latest when its test is over, however that ends.
pub struct Going(Option<Child>);

impl Going {
    /// Starts a run that hangs in a program, and waits until it does; another run does not hang there.
    pub fn start(machine: &Machine, arguments: &[&str], hangs_in: &str) -> Self {
        machine.fail(hangs_in, "hang");
        let going = Self(Some(start(machine.command(arguments))));
        machine.await_fault(hangs_in);
        machine.heal(hangs_in);
        going
    }

    /// Sends a signal to the run's process and to its guard, as a terminal does.
    pub fn signal(&self, signal: Signal) {
        let guard = self.0.as_ref().unwrap().id();
        let children = fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).unwrap();
        // The guard first: it would see at once that the other has died.
        let children = children.split_whitespace().map(|number| number.parse().unwrap());
        for number in std::iter::once(guard).chain(children) {
            kill_process(Pid::from_raw(number.cast_signed()).unwrap(), signal).unwrap();
        }
    }

    /// Returns the child, which nobody asks any more.
    pub fn into_child(mut self) -> Child {
        self.0.take().unwrap()
    }

    /// Asks it to stop; returns how it ended.
    pub fn stop(mut self) -> Run {
        let child = self.0.take().unwrap();
        ask(&child);
        wait(child, b"")
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            ask(&child);
            let _ = child.wait();
        }
    }
}

fn ask(child: &Child) {
    let _ = kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::TERM);
}

impl Machine {
    /// Makes a machine without modules, and its repository.
    pub fn new() -> Self {
        let machine = Self { place: Place::private() };
        machine.place.run(["init", "--key-file", "key", "repo"]).ok();
        for dir in [MODULES, "jobs.d", "state", "fail", "fired", "up", "locked", "data"] {
            fs::create_dir_all(machine.place.path(dir)).unwrap();
        }
        fs::write(machine.place.path("events"), "").unwrap();
        let base = machine.place.path("");
        let script = SCRIPT.replace("BASE", base.to_str().unwrap().trim_end_matches('/'));
        fs::write(machine.place.path("act"), script).unwrap();
        fs::set_permissions(machine.place.path("act"), PermissionsExt::from_mode(0o755)).unwrap();
        machine
    }

    /// Returns the words of a manifest that run a program of the tests.
    pub fn act(&self, name: &str) -> String {
        format!("[{:?}, {name:?}]", self.place.path("act"))
    }

    /// Returns a service of kind command, and brings it up.
    pub fn service(&self, name: &str) -> String {
        fs::write(self.place.path(format!("up/{name}")), "").unwrap();
        let [status, stop, start] =
            ["status", "stop", "start"].map(|verb| self.act(&format!("{verb}-{name}")));
        format!(
            "[[service]]\nname = {name:?}\nkind = \"command\"\nstatus = {status}\nstop = {stop}\nstart = {start}\n"
        )
    }

    /// Returns a lockdown by programs.
    pub fn lockdown(&self, module: &str) -> String {
        let [on, off, status] =
            ["lock", "unlock", "locked"].map(|verb| self.act(&format!("{verb}-{module}")));
        format!("[lockdown]\non = {on}\noff = {off}\nstatus = {status}\n")
    }

    /// Declares a module with a directory of data of its own, and `more` of its manifest.
    pub fn module(&self, id: &str, more: &str) {
        let data = self.data(id);
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("file"), format!("what {id} has\n")).unwrap();
        let text = format!(
            "schema = 1\n[module]\nid = {id:?}\nversion = \"1\"\n[data]\ndirectories = [{data:?}]\n{more}"
        );
        fs::write(self.manifest(id), text).unwrap();
    }

    /// Returns the file of a module's manifest.
    pub fn manifest(&self, id: &str) -> PathBuf {
        self.place.path(format!("{MODULES}/{id}.toml"))
    }

    /// Returns where the data of a module lie.
    pub fn data(&self, id: &str) -> PathBuf {
        self.place.path(format!("data/{id}"))
    }

    /// Makes a program of the tests fail, with this status or `hang` or `kill`.
    pub fn fail(&self, name: &str, how: &str) {
        fs::write(self.place.path(format!("fail/{name}")), how).unwrap();
    }

    /// Lets it succeed again, if it does not already: who kills, kills once.
    pub fn heal(&self, name: &str) {
        let _ = fs::remove_file(self.place.path(format!("fail/{name}")));
    }

    /// Returns whether a fault was met.
    pub fn fired(&self, name: &str) -> bool {
        self.place.path(format!("fired/{name}")).exists()
    }

    /// Waits until a fault is met.
    pub fn await_fault(&self, name: &str) {
        let begun = Instant::now();
        while !self.fired(name) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{name} is never run");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns which fault was met since the last call.
    pub fn take_fired(&self) -> Option<String> {
        let name = self.names("fired").pop()?;
        let path = self.place.path(format!("fired/{name}"));
        let how = fs::read_to_string(&path).unwrap();
        fs::remove_file(path).unwrap();
        Some(how)
    }

    /// Returns `dedup` ready to run on this machine.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        command.env("DEDUP_STATE_DIR", self.place.path("state"));
        command
    }

    /// Runs `dedup` on this machine.
    pub fn dedup(&self, arguments: &[&str]) -> Run {
        finish(self.command(arguments), b"")
    }

    /// Returns the services that are up, sorted.
    pub fn up(&self) -> Vec<String> {
        self.names("up")
    }

    /// Returns the modules that are locked, sorted.
    pub fn locked(&self) -> Vec<String> {
        self.names("locked")
    }

    /// Returns what the program still has to undo.
    pub fn journals(&self) -> Vec<String> {
        if self.place.path("state/runs").exists() { self.names("state/runs") } else { Vec::new() }
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.place.path(dir)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Returns which programs ran, in order, and forgets them; questions for a state are left out.
    pub fn events(&self) -> Vec<String> {
        let text = fs::read_to_string(self.place.path("events")).unwrap();
        fs::write(self.place.path("events"), "").unwrap();
        let is_question = |line: &str| line.starts_with("status-") || line.starts_with("locked-");
        text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !is_question(line)).collect()
    }

    /// Returns the account of a module in the newest snapshot.
    pub fn account(&self, module: &str) -> serde_json::Value {
        let list = self.dedup(&["snapshots", "--json"]).ok().json();
        let newest = list["snapshots"].as_array().unwrap().last().expect("a snapshot").clone();
        let accounts = newest["modules"].as_array().expect("modules").clone();
        accounts.into_iter().find(|account| account["module"] == module).unwrap_or_default()
    }

    /// Returns how many snapshots there are.
    pub fn snapshots(&self) -> usize {
        self.dedup(&["snapshots", "--json"]).ok().json()["snapshots"].as_array().unwrap().len()
    }

    /// Returns what restores have kept aside and not removed.
    pub fn left_aside(&self) -> Vec<PathBuf> {
        let entries =
            |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let logs = entries(self.place.path("state/aside"));
        let here = ["", "data"].into_iter().flat_map(|dir| entries(self.place.path(dir)));
        let here = here.filter(|path| name(path).starts_with(".dedup"));
        // At the root of the file system other tests restore as well.
        let runs: Vec<_> = entries(self.place.path("state/logs"))
            .filter_map(|path| name(&path).strip_suffix(".log").map(|run| format!(".dedup-aside-{run}-")))
            .collect();
        let is_ours = |path: &PathBuf| runs.iter().any(|run| name(path).starts_with(run));
        logs.chain(here).chain(entries("/".into()).filter(is_ours)).collect()
    }

    /// Asserts that nothing is stopped, locked or left to be undone.
    pub fn assert_as_before(&self, up: &[&str]) {
        assert_eq!(self.up(), up, "services");
        assert_eq!(self.locked(), Vec::<String>::new(), "locks");
        assert_eq!(self.journals(), Vec::<String>::new(), "journals");
    }
}
