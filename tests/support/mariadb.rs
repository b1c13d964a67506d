//! Real MariaDB servers, from the distribution's packages, as an unprivileged user in a temporary folder.
//!
//! One server is shared by the tests of a process, each with databases of its own; a test that hurts its server starts
//! another from a copy of the folder that was made once. A shell watches a pipe that only this process holds: when the
//! process ends, however that is, the shell kills the servers and removes the folder.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The number of `nobody`.
const NOBODY: &str = "65534";
/// The password of the user `root`, with everything that an option file could take amiss.
pub const PASSWORD: &str = "p#a'ss\\w\"or d;%n";

/// Everything of this process: the folder, and the pipe whose end is its end.
struct Ground {
    dir: PathBuf,
    watch: Mutex<ChildStdin>,
    servers: AtomicU32,
}

/// A server that runs.
pub struct MariaDb {
    /// Its folder.
    pub dir: PathBuf,
    /// Its socket.
    pub socket: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
    pid: u32,
}

fn unprivileged(program: &str) -> Command {
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", program]);
    command
}

fn must(what: &str, output: &Output) {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let what: String = what.chars().take(200).collect();
    assert!(output.status.success(), "{what}: {} {}", said(&output.stdout), said(&output.stderr));
}

fn ground() -> &'static Ground {
    static GROUND: OnceLock<Ground> = OnceLock::new();
    GROUND.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("dedup-mariadb-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        // Its lines are numbers of processes to kill at the end.
        let script = "trap '' INT TERM HUP; pids=; while read -r pid; do pids=\"$pids $pid\"; done; \
                      [ -z \"$pids\" ] || kill -KILL $pids 2>/dev/null; sleep 0.2; rm -rf \"$1\"";
        #[expect(clippy::zombie_processes, reason = "it outlives the tests, whose end it waits for")]
        let mut watcher = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let watch = Mutex::new(watcher.stdin.take().unwrap());
        let ground = Ground { dir, watch, servers: AtomicU32::new(0) };
        let made = unprivileged("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg("--innodb-log-file-size=8M")
            .arg(format!("--datadir={}", ground.dir.join("template").display()))
            .output()
            .expect("mariadb-server is installed: benches/setup.sh test");
        must("mariadb-install-db", &made);
        ground
    })
}

impl MariaDb {
    /// Returns the server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// Starts a server of the test's own, with further options.
    pub fn start(options: &[&str]) -> Self {
        let number = ground().servers.fetch_add(1, Ordering::Relaxed);
        let dir = ground().dir.join(format!("server-{number}"));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        Self::start_in(&dir, options)
    }

    /// Starts a server whose data are below a directory, which may be a file system of its own.
    pub fn start_in(dir: &Path, options: &[&str]) -> Self {
        let copied = Command::new("cp")
            .args(["--archive", "--sparse=always"])
            .arg(ground().dir.join("template"))
            .arg(dir.join("data"))
            .output()
            .unwrap();
        must("cp", &copied);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { dir: dir.to_owned(), socket: dir.join("socket"), port, pid: 0 }.run(options);
        let with_password = format!("ALTER USER root@localhost IDENTIFIED BY {}", text(PASSWORD));
        must("ALTER USER", &server.try_as("root", "", &with_password));
        server
    }

    fn run(mut self, options: &[&str]) -> Self {
        let at = |name: &str, path: &str| format!("--{name}={}", self.dir.join(path).display());
        let log = fs::File::create(self.dir.join("log")).unwrap();
        let child = unprivileged("mariadbd")
            .args(["--no-defaults", "--skip-log-bin", "--performance-schema=OFF", "--skip-name-resolve"])
            .args(["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--bind-address=127.0.0.1"])
            .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-fast-shutdown=2"])
            .args([
                at("datadir", "data"),
                at("socket", "socket"),
                at("pid-file", "pid"),
                at("tmpdir", "data"),
            ])
            .arg(format!("--port={}", self.port))
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.pid = child.id();
        writeln!(ground().watch.lock().unwrap(), "{}", self.pid).unwrap();
        let begun = Instant::now();
        while !self.try_as("root", "", "SELECT 1").status.success()
            && !self.try_sql("SELECT 1").status.success()
        {
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "the server does not start: {}", log());
            sleep(Duration::from_millis(50));
        }
        // Reaped, or it would look alive after its end.
        std::thread::spawn(move || {
            let mut child = child;
            let _ = child.wait();
        });
        self
    }

    /// Runs SQL as `root`; returns what the client printed.
    pub fn sql(&self, sql: &str) -> String {
        let output = self.try_sql(sql);
        must(sql, &output);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Opens a session of somebody else, as `root`.
    pub fn session(&self) -> Other {
        let mut client = self.client("root", PASSWORD);
        client.arg("--unbuffered").stderr(Stdio::null());
        let mut client = client.spawn().unwrap();
        let output = BufReader::new(client.stdout.take().unwrap());
        Other { input: client.stdin.take().unwrap(), client, output }
    }

    /// Runs SQL as `root`.
    pub fn try_sql(&self, sql: &str) -> Output {
        self.try_as("root", PASSWORD, sql)
    }

    /// Runs SQL as somebody.
    pub fn try_as(&self, user: &str, password: &str, sql: &str) -> Output {
        let mut client = self.client(user, password).spawn().unwrap();
        let mut input = client.stdin.take().unwrap();
        let sql = sql.to_owned();
        let writer = std::thread::spawn(move || drop(input.write_all(sql.as_bytes())));
        let output = client.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    fn client(&self, user: &str, password: &str) -> Command {
        let mut client = Command::new("mariadb");
        client
            .args([
                "--no-defaults",
                "--batch",
                "--skip-print-query-on-error",
                "--skip-column-names",
                "--default-character-set=utf8mb4",
            ])
            .arg(format!("--user={user}"))
            .arg(format!("--socket={}", self.socket.display()))
            .env("MYSQL_PWD", password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        client
    }

    /// Returns the checksum of every table of a database, and what makes its tables, views, triggers and routines.
    pub fn state(&self, database: &str) -> String {
        let names = self.sql(&format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{database}' AND TABLE_TYPE <> 'SEQUENCE' \
             ORDER BY TABLE_NAME"
        ));
        let mut state = String::new();
        for name in names.lines() {
            let table = format!("`{database}`.`{}`", name.replace('`', "``"));
            state += &self.sql(&format!("SHOW CREATE TABLE {table}; CHECKSUM TABLE {table} EXTENDED"));
        }
        state += &self.sql(&format!(
            "SELECT TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, HEX(ACTION_STATEMENT), SQL_MODE FROM information_schema.TRIGGERS \
             WHERE TRIGGER_SCHEMA = '{database}' ORDER BY TRIGGER_NAME; \
             SELECT ROUTINE_NAME, ROUTINE_TYPE, HEX(ROUTINE_DEFINITION), SQL_MODE FROM information_schema.ROUTINES \
             WHERE ROUTINE_SCHEMA = '{database}' ORDER BY ROUTINE_NAME; \
             SELECT EVENT_NAME, HEX(EVENT_DEFINITION), STATUS FROM information_schema.EVENTS \
             WHERE EVENT_SCHEMA = '{database}' ORDER BY EVENT_NAME"
        ));
        state.replace(&format!("`{database}`"), "`DB`").replace(&format!("{database}."), "DB.")
    }

    /// Sends the server a signal, by its number.
    pub fn signal(&self, signal: &str) {
        let sent =
            Command::new("kill").args([&format!("-{signal}"), &self.pid.to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Kills the server and waits for its end.
    pub fn kill(&self) {
        self.signal("KILL");
        let begun = Instant::now();
        while Path::new(&format!("/proc/{}", self.pid)).exists() {
            assert!(begun.elapsed() < Duration::from_secs(20));
            sleep(Duration::from_millis(20));
        }
    }

    /// Starts it again after [`Self::kill`].
    pub fn restart(&mut self) {
        let Self { dir, socket, port, .. } = self;
        *self = Self { dir: dir.clone(), socket: socket.clone(), port: *port, pid: 0 }.run(&[]);
    }
}

/// A session that stays open until it is dropped.
pub struct Other {
    client: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Other {
    /// Runs SQL without an answer, and waits for its end.
    pub fn sql(&mut self, sql: &str) {
        writeln!(self.input, "{sql};\nSELECT 'done';").unwrap();
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 && !line.ends_with("done\n") {}
        assert!(line.ends_with("done\n"), "{sql}: {line}");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// Returns text as SQL has it.
pub fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// What is hard to carry: every kind of column with its extremes, keys of every kind, other engines, what is made of
/// programs.
pub const HARD: &str = include_str!("mariadb.sql");
