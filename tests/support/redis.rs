//! Real Redis servers, from the distribution's packages, as an unprivileged user in a temporary folder.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The password of its user.
pub const PASSWORD: &str = "p a\"s's%";

/// A server in a folder of its own, as nobody.
pub struct Server {
    /// Its folder.
    pub dir: tempfile::TempDir,
    /// Its port on 127.0.0.1.
    pub port: u16,
    child: Child,
    options: Vec<String>,
}

impl Server {
    /// Starts one, with further options.
    pub fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Self::run(&dir, port, options);
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let server = Self { dir, port, child, options };
        server.wait();
        server
    }

    fn run(dir: &tempfile::TempDir, port: u16, options: &[impl AsRef<std::ffi::OsStr>]) -> Child {
        let words = [
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "redis-server",
            "--rdbcompression",
            "no",
            "--save",
            "",
            "--bind",
            "127.0.0.1",
        ];
        Command::new("setpriv")
            .args(words)
            .arg("--dir")
            .arg(dir.path())
            .arg("--unixsocket")
            .arg(dir.path().join("socket"))
            .args(["--unixsocketperm", "777", "--requirepass", PASSWORD, "--port", &port.to_string()])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed: benches/setup.sh test")
    }

    fn wait(&self) {
        for _ in 0..200 {
            if self.cli(&["PING"]) == "PONG\n" {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        panic!("the server does not start");
    }

    /// Returns its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after [`Self::kill`], with what it saved last.
    pub fn restart(&mut self) {
        self.child = Self::run(&self.dir, self.port, &self.options);
        self.wait();
    }

    /// Returns its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Asks it by its own client.
    pub fn cli(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .arg("-s")
            .arg(self.socket())
            .args(words)
            .env("REDISCLI_AUTH", PASSWORD)
            .output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    }

    /// Runs a script.
    pub fn lua(&self, script: &str) -> String {
        self.cli(&["EVAL", script, "0"])
    }

    /// Every kind of value.
    pub fn fill(&self) {
        self.lua(
            "for i = 1, 2000 do redis.call('SET', 'key:' .. i, string.rep(tostring(i), 500)) end \
             redis.call('HSET', 'hash', 'a', '1', 'b', '\\0\\255'); redis.call('RPUSH', 'list', 'x', 'y'); \
             redis.call('SADD', 'set', '1', '2', 'three'); redis.call('ZADD', 'sorted', 1.5, 'a', -2, 'b'); \
             redis.call('XADD', 'stream', '1-1', 'f', 'v'); redis.call('SETEX', 'soon', 100000, 'v'); redis.call('PFADD', 'hll', 'a')",
        );
        self.cli(&["-n", "3", "SET", "other", "database"]);
    }

    /// Returns a digest of all keys and values.
    pub fn state(&self) -> String {
        format!(
            "{}{}",
            self.cli(&["DEBUG", "DIGEST"]),
            self.cli(&["INFO", "keyspace"]).replace(|c: char| c.is_ascii_digit(), "")
        )
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success()
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
