//! A PostgreSQL server of its own: in a temporary directory, on a socket there, as an unprivileged user.
//!
//! Also part of the tests of the crate `dedup-modules`, so it uses nothing but what both have.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long it may take to come up, on a machine that does much else.
const UP: Duration = Duration::from_secs(60);
/// The superuser of the database, who needs no password on the socket.
pub const SUPERUSER: &str = "postgres";
/// What tests need not wait for, and what keeps it small.
const SETTINGS: &str = "
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
jit = off
shared_buffers = 16MB
max_connections = 30
max_wal_size = 128MB
timezone = 'UTC'
lc_messages = 'C'
log_min_messages = warning
";
/// The superuser gets in by the socket; everybody else, and the network, needs a password.
const ENTRY: &str = "
local all postgres trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
";

/// The template that running servers were copied from; the last of them removes it.
static TEMPLATE: Mutex<Weak<tempfile::TempDir>> = Mutex::new(Weak::new());

/// Returns a program of the newest version that is installed.
pub fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin").join(name)).collect();
    versions.retain(|path| path.exists());
    versions.sort();
    versions.pop().unwrap_or_else(|| panic!("no {name}: benches/setup.sh test installs PostgreSQL"))
}

fn unprivileged(program: &Path) -> Command {
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if is_root {
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    }
    command.arg("--").arg(program).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// Makes a directory in which the unprivileged user may make others.
fn place() -> tempfile::TempDir {
    let place = tempfile::Builder::new().prefix("pg").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    place
}

fn template() -> Arc<tempfile::TempDir> {
    let mut known = TEMPLATE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(template) = known.upgrade() {
        return template;
    }
    let template = Arc::new(place());
    let output = unprivileged(&program("initdb"))
        .arg("-D")
        .arg(template.path().join("data"))
        .args(["--no-sync", "--no-instructions", "--username", SUPERUSER, "--auth", "trust"])
        .args(["--encoding", "UTF8", "--locale", "C.UTF-8"])
        .output()
        .unwrap();
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    *known = Arc::downgrade(&template);
    template
}

/// Starts a server with these data; its log is in `place`.
fn launch(data: &Path, place: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(place.join("log")).unwrap();
    let mut server = unprivileged(&program("postgres"));
    server.arg("-D").arg(data).stdout(log.try_clone().unwrap()).stderr(log);
    server.spawn().unwrap_or_else(|error| panic!("setpriv of util-linux: {error}"))
}

/// A server that runs; it ends when this is dropped.
pub struct Postgres {
    server: Child,
    place: tempfile::TempDir,
    data: PathBuf,
    port: u16,
    #[expect(dead_code, reason = "kept for the next server")]
    template: Arc<tempfile::TempDir>,
}

impl Postgres {
    /// Starts one with the default databases.
    pub fn start() -> Self {
        Self::start_with("", None)
    }

    /// Starts one with further settings, and its data in `data` instead of a directory of its own.
    pub fn start_with(settings: &str, data: Option<&Path>) -> Self {
        let (template, place) = (template(), place());
        let data = data.map_or_else(|| place.path().join("data"), Path::to_owned);
        let copied = unprivileged(Path::new("/bin/cp"))
            .arg("-a")
            .arg(template.path().join("data"))
            .arg(&data)
            .status();
        assert!(copied.unwrap().success(), "the template was not copied");
        // A port that was free a moment ago; on the socket it is only part of the name.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let network = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\n",
            place.path().display()
        );
        let conf = data.join("postgresql.conf");
        let mut conf = fs::OpenOptions::new().append(true).open(conf).unwrap();
        writeln!(conf, "{SETTINGS}{network}{settings}").unwrap();
        fs::write(data.join("pg_hba.conf"), ENTRY).unwrap();
        let server = launch(&data, place.path());
        let mut postgres = Self { server, place, data, port, template };
        postgres.await_start();
        postgres
    }

    fn await_start(&mut self) {
        let begun = Instant::now();
        while self.try_sql(SUPERUSER, "SELECT 1").is_err() {
            let ended = self.server.try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < UP, "PostgreSQL does not start: {}", self.log());
            sleep(Duration::from_millis(50));
        }
    }

    /// Returns the directory of its socket.
    pub fn socket(&self) -> &Path {
        self.place.path()
    }

    /// Returns its port, on 127.0.0.1 and in the name of its socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns what it wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    /// Runs SQL in a database as the superuser, by the test's own way; returns rows of unaligned columns, or the error.
    pub fn try_sql(&self, database: &str, text: &str) -> Result<String, String> {
        let mut psql = Command::new(program("psql"));
        psql.env_clear()
            .env("PGHOST", self.socket())
            .env("PGPORT", self.port.to_string())
            .env("LC_ALL", "C.UTF-8");
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            SUPERUSER,
            "-d",
            database,
            "-f",
            "-",
        ]);
        let mut psql =
            psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A server that is gone reads nothing, which its status tells.
        let _ = psql.stdin.take().unwrap().write_all(text.as_bytes());
        let output = psql.wait_with_output().unwrap();
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(shown(&output.stdout)) } else { Err(shown(&output.stderr)) }
    }

    /// Runs SQL in a database as the superuser.
    pub fn sql(&self, database: &str, text: &str) -> String {
        self.try_sql(database, text).unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// Makes an empty database.
    pub fn database(&self, name: &str) {
        self.sql(SUPERUSER, &format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\"")));
    }

    /// Makes a user who may log in with a password.
    pub fn user(&self, name: &str, password: &str) {
        self.sql(SUPERUSER, &format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'"));
    }

    /// Writes rubbish over the first pages of a file of its data; the server must not have them in memory.
    pub fn damage(&mut self, file: &str) {
        self.sql(SUPERUSER, "CHECKPOINT");
        let path = self.data.join(file);
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 64 << 10], 0).unwrap();
        // What it has read it would not read again.
        self.restart();
    }

    /// Copies certificates and a key to where only the server may read them; returns the settings that name them, in the
    /// order of certificate, key, authority.
    pub fn give(&self, files: &[&Path; 3]) -> String {
        let mut settings = "ssl = on\n".to_owned();
        for (setting, from) in ["ssl_cert_file", "ssl_key_file", "ssl_ca_file"].into_iter().zip(files) {
            let to = self.data.join(from.file_name().unwrap());
            fs::copy(from, &to).unwrap();
            let about = fs::metadata(&self.data).unwrap();
            let (user, group) =
                (std::os::unix::fs::MetadataExt::uid(&about), std::os::unix::fs::MetadataExt::gid(&about));
            std::os::unix::fs::chown(&to, Some(user), Some(group)).unwrap();
            fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).unwrap();
            settings.push_str(&format!("{setting} = '{}'\n", to.display()));
        }
        settings
    }

    /// Starts it again with further settings, and with who may get in.
    pub fn secure(&mut self, settings: &str, entry: &str) {
        let conf = self.data.join("postgresql.conf");
        let mut conf = fs::OpenOptions::new().append(true).open(conf).unwrap();
        writeln!(conf, "{settings}").unwrap();
        fs::write(self.data.join("pg_hba.conf"), entry).unwrap();
        self.restart();
    }

    /// Begins a session of the test's own that keeps what `sql` takes, and returns when it has it.
    pub fn hold(&self, database: &str, sql: &str) -> Held {
        let mut psql = Command::new(program("psql"));
        psql.env_clear()
            .env("PGHOST", self.socket())
            .env("PGPORT", self.port.to_string())
            .env("LC_ALL", "C.UTF-8");
        psql.args(["-X", "-q", "-A", "-t", "-U", SUPERUSER, "-d", database]);
        let mut psql =
            psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut input = psql.stdin.take().unwrap();
        write!(input, "{sql}\n\\echo held\n").unwrap();
        let mut said = String::new();
        let mut output = BufReader::new(psql.stdout.take().unwrap());
        while !said.contains("held") {
            assert!(output.read_line(&mut said).unwrap() > 0, "{sql}: {said}");
        }
        Held { psql, input: Some(input) }
    }

    /// Waits until somebody else's session waits for what a test holds.
    pub fn await_waiting(&self) {
        let begun = Instant::now();
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'dedup'";
        while self.sql(SUPERUSER, waiting) == "0" {
            assert!(begun.elapsed() < UP, "nobody waits");
            sleep(Duration::from_millis(50));
        }
    }

    /// Starts it again after [`kill`](Self::kill).
    pub fn revive(&mut self) {
        self.server = launch(&self.data, self.place.path());
        self.await_start();
    }

    /// Ends it in good order and starts it again.
    pub fn restart(&mut self) {
        signal(&[self.server.id()], "INT");
        let _ = self.server.wait();
        self.server = launch(&self.data, self.place.path());
        self.await_start();
    }

    /// Kills the server and everything it started, as a crash would.
    pub fn kill(&mut self) {
        let children = self.children();
        // The seventh line names the segment by which servers know each other's data; one that is killed leaves it.
        let about = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let _ = self.server.kill();
        let _ = self.server.wait();
        signal(&children, "KILL");
        if let Some(segment) = about.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            let _ = Command::new("ipcrm").args(["-m", segment]).stderr(Stdio::null()).status();
        }
    }

    /// Stops the processes that serve clients in a database, as an overloaded machine would; returns their number.
    pub fn freeze(&self, database: &str) -> usize {
        let text = format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        );
        let pids: Vec<u32> = self.sql(SUPERUSER, &text).lines().map(|pid| pid.parse().unwrap()).collect();
        signal(&pids, "STOP");
        pids.len()
    }

    /// Lets everything go on.
    pub fn thaw(&self) {
        signal(&self.children(), "CONT");
    }

    /// Ends the connections of a database, as an administrator would; returns their number.
    pub fn disconnect(&self, database: &str) -> usize {
        let text = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        );
        self.sql(SUPERUSER, &text).lines().count()
    }

    /// Returns the processes that the server started.
    fn children(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.server.id());
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }
}

/// What a session of a test keeps until this is dropped.
pub struct Held {
    psql: Child,
    input: Option<ChildStdin>,
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.psql.wait();
    }
}

fn signal(pids: &[u32], name: &str) {
    if pids.is_empty() {
        return;
    }
    // Those that are gone already are meant too.
    let _ = Command::new("kill")
        .arg(format!("-{name}"))
        .args(pids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status();
}

impl Drop for Postgres {
    fn drop(&mut self) {
        signal(&self.children(), "CONT");
        // The server ends its children at once, and removes its shared memory.
        signal(&[self.server.id()], "QUIT");
        let begun = Instant::now();
        while matches!(self.server.try_wait(), Ok(None)) {
            if begun.elapsed() > Duration::from_secs(10) {
                self.kill();
            }
            sleep(Duration::from_millis(20));
        }
        // What the unprivileged user made is not ours to remove if we are not root.
        match fs::remove_dir_all(&self.data) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let _ = unprivileged(Path::new("/bin/rm")).arg("-rf").arg(&self.data).status();
            }
            _ => {}
        }
    }
}
