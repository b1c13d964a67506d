//! A real systemd, process 1 of a world of its own, with nothing in it but the units of a test.
//!
//! It needs root and, of util-linux, `unshare`, `nsenter`, `setpriv`, `pivot_root`. Where it cannot start the test fails:
//! a service that was never stopped by a real systemd was not tested. How it is kept from touching the machine stands
//! in `systemd.sh`.

use super::Scratch;
use dedup_modules::child::Surroundings;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long it may take to come up, on a machine that does much else.
const UP: Duration = Duration::from_secs(60);

/// Targets that other units name by default; here they are empty.
const TARGETS: [&str; 8] = ["sysinit", "basic", "shutdown", "sockets", "timers", "paths", "umount", "ready"];

/// A systemd that runs; it ends with everything it started when this is dropped.
pub struct Systemd {
    around: Child,
    /// Process 1 of its namespace, by our numbers.
    first: u32,
    scratch: Scratch,
}

impl Systemd {
    /// Starts one.
    pub fn start() -> Self {
        let scratch = Scratch::new();
        for target in TARGETS {
            let unit = format!("[Unit]\nDescription={target}\nDefaultDependencies=no\n");
            fs::write(scratch.dir("units").join(format!("{target}.target")), unit).unwrap();
        }
        let script = |name: &str, text: &str| {
            let path = scratch.path(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let boot = script("boot.sh", include_str!("systemd.sh"));
        let around = script("around.sh", include_str!("systemd_around.sh"));
        let log = fs::File::create(scratch.path("log")).unwrap();
        let around = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "sh"])
            .arg(around)
            .arg(scratch.path(""))
            .arg(boot)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("setpriv of util-linux: {error}"));
        let mut systemd = Self { around, first: 0, scratch };
        systemd.await_start();
        systemd
    }

    fn await_start(&mut self) {
        let begun = Instant::now();
        let why = |scratch: &Scratch| fs::read_to_string(scratch.path("log")).unwrap_or_default();
        loop {
            let ended = self.around.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < UP,
                "systemd does not start: {}",
                why(&self.scratch)
            );
            // The script, `unshare`, and what that started.
            if let Some(first) = child_of(self.around.id()).and_then(child_of) {
                self.first = first;
                if self.systemctl(&["is-active", "ready.target"]).trim() == "active" {
                    break;
                }
            }
            sleep(Duration::from_millis(50));
        }
        let text = format!(
            "#!/bin/sh\nexec nsenter --target {} --mount --pid -- /usr/bin/systemctl \"$@\"\n",
            self.first
        );
        let wrapper = self.scratch.dir("bin").join("systemctl");
        fs::write(&wrapper, text).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes a program of the machine run inside, when it is called by what gets these surroundings.
    pub fn inside(&self, program: &str) {
        let target = format!("--target {} --mount --pid --net", self.first);
        let text = format!("#!/bin/sh\nunset APACHE_CONFDIR\nexec nsenter {target} -- {program} \"$@\"\n");
        let wrapper = self.scratch.dir("bin").join(program);
        fs::write(&wrapper, text).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Returns the surroundings of programs that are to meet this systemd.
    pub fn surroundings(&self) -> Surroundings {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.scratch.path("bin").display());
        let apache = ("APACHE_CONFDIR".into(), self.root("etc/apache2").into_os_string());
        Surroundings::of(vec![("PATH".into(), path.into()), apache])
    }

    /// Returns a path of the directory that units know as `/test`.
    pub fn path(&self, below: &str) -> PathBuf {
        self.scratch.path(below)
    }

    /// Returns where a path of its root is found from here.
    pub fn root(&self, below: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.first)).join(below)
    }

    /// Runs a program inside; returns what it printed.
    pub fn run_inside(&self, words: &[&str]) -> String {
        let output = Command::new("nsenter")
            .args(["--target", &self.first.to_string(), "--mount", "--pid", "--net", "--"])
            .args(words)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Writes units, each a name and a text, and has them read.
    pub fn units(&self, units: &[(&str, &str)]) {
        for (name, text) in units {
            fs::write(self.scratch.path("units").join(name), text).unwrap();
        }
        self.systemctl(&["daemon-reload"]);
    }

    /// Calls `systemctl` by the test's own way; returns what it printed.
    pub fn systemctl(&self, words: &[&str]) -> String {
        let output = Command::new("nsenter")
            .args([
                "--target",
                &self.first.to_string(),
                "--mount",
                "--pid",
                "--",
                "/usr/bin/systemctl",
                "--no-pager",
            ])
            .args(words)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Returns whether a unit is up: systemd's word, `active` or another.
    pub fn state(&self, unit: &str) -> String {
        self.systemctl(&["show", "--property", "ActiveState", "--value", unit]).trim().to_owned()
    }

    /// Returns the numbers of the processes of a service, as the kernel has them, whatever systemd says.
    pub fn processes(&self, service: &str) -> Vec<u32> {
        let below = format!("sys/fs/cgroup/system.slice/{service}/cgroup.procs");
        let text = fs::read_to_string(self.root(&below)).unwrap_or_default();
        text.split_whitespace().map(|number| number.parse().unwrap()).collect()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // With process 1 everything of its namespace ends; then the script removes the control group and ends itself.
        if self.first > 1 {
            let pid = rustix::process::Pid::from_raw(self.first.cast_signed());
            let _ = rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL);
        } else {
            let _ = self.around.kill();
        }
        let _ = self.around.wait();
    }
}

/// Returns the only child of a process.
fn child_of(parent: u32) -> Option<u32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has_parent = |number: &u32| {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        fields.split(' ').nth(1) == Some(&parent.to_string())
    };
    numbers.into_iter().find(has_parent)
}
