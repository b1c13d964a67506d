//! A docker daemon of its own: no rules of the firewall, and no network, or one that is its own alone; its state in a
//! directory of the test.

use super::Scratch;
use dedup_modules::child::Surroundings;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long it may take to come up, on a machine that does much else.
const UP: Duration = Duration::from_secs(90);

/// Becomes a daemon in mount and PID namespaces, so that everything it starts ends with it.
/// `$1`: the directory of its state. `$3`: an option of its network.
const BOOT: &str = r#"
mount --make-rprivate /
[ -z "$3" ] && ip link set lo up
exec dockerd $3 --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --storage-driver=vfs \
  --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/sock" --cgroup-parent "$2"
"#;

/// Options of containers that run this machine's programs.
pub const MACHINE: [&str; 4] = [
    "--volume=/usr:/usr:ro",
    "--volume=/etc/passwd:/etc/passwd:ro",
    "--volume=/etc/group:/etc/group:ro",
    "--volume=/etc/alternatives:/etc/alternatives:ro",
];

/// Returns the name of the control group of the containers.
fn control_group() -> String {
    format!("dedup-test-docker-{}", std::process::id())
}

/// A daemon that runs; it ends with its containers when this is dropped.
pub struct Docker {
    daemon: Child,
    scratch: Scratch,
}

impl Docker {
    /// Starts one without any network, with an image `box` of a static busybox.
    pub fn start() -> Self {
        let docker = Self::boot("--bridge=none", &[]);
        let root = docker.scratch.dir("image/bin");
        fs::copy("/usr/bin/busybox", root.join("sh"))
            .unwrap_or_else(|error| panic!("busybox-static: {error}"));
        docker.import();
        docker
    }

    /// Starts one whose containers have addresses, in a network namespace of its own ([`Self::inside`]), with an image
    /// `box` that has this machine's programs once `/usr` is mounted there ([`MACHINE`]).
    pub fn start_with_network() -> Self {
        let docker = Self::boot("", &["--net"]);
        let root = docker.scratch.dir("image");
        for name in ["usr", "etc", "dev", "proc", "sys", "run", "tmp", "root", "var"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), root.join(name)).unwrap();
        }
        symlink("/run", root.join("var/run")).unwrap();
        fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
        docker.import();
        docker
    }

    /// Returns a program that is started where the containers' addresses lead to them, with what was set of its
    /// environment and nothing else.
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net=/proc/{}/ns/net", self.daemon.id())).arg("--");
        inside.arg(command.get_program()).args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            inside.current_dir(dir);
        }
        inside
    }

    fn boot(network: &str, further: &[&str]) -> Self {
        let scratch = Scratch::new();
        let log = fs::File::create(scratch.path("log")).unwrap();
        let spaces =
            ["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
        let daemon = Command::new("setpriv")
            .args(spaces)
            .args(further)
            .args(["sh", "-c", BOOT, "dockerd"])
            .arg(scratch.path(""))
            .arg(format!("/{}", control_group()))
            .arg(network)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("setpriv of util-linux: {error}"));
        let mut docker = Self { daemon, scratch };
        let begun = Instant::now();
        while docker.call(&["version"]).is_err() {
            let ended = docker.daemon.try_wait().unwrap();
            let log = || fs::read_to_string(docker.scratch.path("log")).unwrap_or_default();
            assert!(ended.is_none() && begun.elapsed() < UP, "dockerd does not start: {}", log());
            sleep(Duration::from_millis(100));
        }
        docker
    }

    /// Makes the image of what its directory has.
    fn import(&self) {
        let tar = self.scratch.path("image.tar").display().to_string();
        let image = self.scratch.path("image").display().to_string();
        assert!(Command::new("tar").args(["-C", &image, "-cf", &tar, "."]).status().unwrap().success());
        self.call(&["import", &tar, "box"]).unwrap();
    }

    /// Returns the surroundings of programs that are to meet this daemon.
    pub fn surroundings(&self) -> Surroundings {
        let host = format!("unix://{}", self.scratch.path("sock").display());
        let home = self.scratch.path("").into_os_string();
        let path = ("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into());
        Surroundings::of(vec![path, ("DOCKER_HOST".into(), host.into()), ("HOME".into(), home)])
    }

    /// Calls `docker` by the test's own way; returns what it printed, or its error.
    pub fn call(&self, words: &[&str]) -> Result<String, String> {
        let output =
            Command::new("docker").args(words).env_clear().envs(self.surroundings().env).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Starts a container that counts, under these labels and further options.
    pub fn container(&self, name: &str, options: &[&str]) {
        let fixed = ["run", "--detach", "--network=none", "--name", name];
        let script = "trap 'exit 0' TERM; n=0; while true; do n=$((n+1)); sleep 0.1; done";
        let words = [&fixed[..], options, &["box", "/bin/sh", "-c", script]].concat();
        self.call(&words).unwrap();
    }

    /// Returns the state of a container: `running`, `exited`, `paused`, …
    pub fn state(&self, name: &str) -> String {
        let wanted = format!("name=^{name}$");
        self.call(&["ps", "--all", "--filter", &wanted, "--format", "{{.State}}"]).unwrap()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Their control groups go with them; those of what is only killed would stay.
        if let Ok(all) = self.call(&["ps", "--all", "--quiet"]) {
            let words: Vec<_> = ["rm", "--force"].into_iter().chain(all.split_whitespace()).collect();
            let _ = self.call(&words);
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        // The parent of their control groups, in every hierarchy there is.
        for place in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().filter_map(Result::ok) {
            let _ = fs::remove_dir(place.path().join(control_group()));
        }
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(control_group()));
    }
}
