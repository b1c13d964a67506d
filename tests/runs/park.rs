//! Applications that depend on one another, with everything that a module can have; and what each of them should hold.

use super::app::Machine;
use crate::cli::support::{Entry, tree};
use crate::support::random::Random;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The applications that have a way back: each requires the one before it.
pub const CHAIN: [&str; 3] = ["one", "two", "three"];
/// One whose dump is what a program prints; nothing reads that again.
pub const PRINTED: &str = "four";

/// What an application holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    tree: BTreeMap<OsString, Entry>,
    rows: Vec<i64>,
}

/// A machine with these applications.
pub struct Park {
    /// The machine.
    pub machine: Machine,
    /// The services that are up, and shall be.
    pub up: Vec<String>,
    /// Programs that run in a backup.
    pub in_backup: Vec<String>,
    /// Programs that run in a restore.
    pub in_restore: Vec<String>,
}

impl Park {
    /// Makes it.
    pub fn new() -> Self {
        let machine = Machine::new();
        let (mut in_backup, mut in_restore) = (Vec::new(), Vec::new());
        for (at, id) in CHAIN.iter().enumerate() {
            let mut more = String::new();
            for service in ["a", "b"] {
                let name = format!("{id}-{service}");
                more.push_str(&machine.service(&name));
                for verb in ["stop", "start"] {
                    in_backup.push(format!("{verb}-{name}"));
                }
            }
            more.push_str(&machine.lockdown(id));
            in_backup.extend([format!("lock-{id}"), format!("unlock-{id}")]);
            in_restore.extend(in_backup.iter().filter(|name| name.contains(id)).cloned());
            more.push_str(&hooks(&machine, id, &mut in_backup, &mut in_restore));
            more.push_str(&format!("[setup]\nstate = {}\n", machine.act(&format!("state-{id}"))));
            in_restore.push(format!("state-{id}"));
            let database = database(&machine, id);
            more.push_str(&format!(
                "[[source]]\nname = \"rows\"\ndriver = \"sqlite\"\npath = {database:?}\n"
            ));
            if at > 0 {
                more.push_str(&format!("[depends]\nrequires = [{:?}]\n", CHAIN[at - 1]));
            }
            let cache = machine.data(id).join("cache");
            more.push_str(&format!("[restore]\ndelete_before = [{cache:?}]\n"));
            machine.module(id, &more);
            for dir in ["sub", "cache"] {
                fs::create_dir(machine.data(id).join(dir)).unwrap();
            }
            fs::write(machine.data(id).join("sub/deep"), "deep").unwrap();
            let connection = rusqlite::Connection::open(database).unwrap();
            connection.execute_batch("create table t(x); insert into t values (1)").unwrap();
        }
        let dump = machine.act(&format!("dump-{PRINTED}"));
        machine
            .module(PRINTED, &format!("[[source]]\nname = \"out\"\ndriver = \"command\"\ndump = {dump}\n"));
        in_backup.push(format!("dump-{PRINTED}"));
        machine.events();
        let up = machine.up();
        Self { machine, up, in_backup, in_restore }
    }

    /// Returns what the applications hold now.
    pub fn holdings(&self) -> Vec<Holding> {
        CHAIN.iter().map(|id| self.holding(id)).collect()
    }

    fn holding(&self, id: &str) -> Holding {
        let connection = rusqlite::Connection::open(database(&self.machine, id)).unwrap();
        let mut asked = connection.prepare("select x from t order by rowid").unwrap();
        let rows = asked.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        Holding { tree: tree(&self.machine.data(id)), rows }
    }

    /// Changes what the applications hold, each in a way of its own.
    pub fn change(&self, random: &mut Random) {
        for id in CHAIN.into_iter().chain([PRINTED]) {
            let data = self.machine.data(id);
            let word = format!("{}", random.next());
            fs::write(data.join("file"), &word).unwrap();
            if id == PRINTED {
                continue;
            }
            let sub = data.join("sub");
            match random.below(4) {
                0 => {
                    remove(&sub);
                    fs::write(&sub, &word).unwrap();
                }
                1 => {
                    remove(&sub);
                    fs::create_dir(&sub).unwrap();
                    fs::write(sub.join("deep"), &word).unwrap();
                }
                2 => {
                    remove(&sub);
                    std::os::unix::fs::symlink("file", &sub).unwrap();
                }
                _ if sub.is_dir() && !sub.is_symlink() => fs::write(sub.join(&word), "more").unwrap(),
                _ => remove(&sub),
            }
            if random.below(2) == 0 {
                fs::write(data.join(format!("own-{}", random.below(3))), &word).unwrap();
            }
            let cache = data.join("cache");
            fs::create_dir_all(&cache).unwrap();
            fs::write(cache.join(format!("{}", random.below(3))), &word).unwrap();
            let connection = rusqlite::Connection::open(database(&self.machine, id)).unwrap();
            let gone = random.below(1 << 31);
            connection.execute_batch(&format!("delete from t where x > {gone}")).unwrap();
            for _ in 0..random.below(4) {
                let row = random.below(1 << 31);
                connection.execute_batch(&format!("insert into t values ({row})")).unwrap();
            }
        }
    }
}

impl Holding {
    /// Returns what an application holds after a restore of this, where it held `before`: what is not in the snapshot
    /// stays, but for what its manifest has moved away, and what stood where something else belongs.
    pub fn restored_over(&self, before: &Self) -> Self {
        let is_directory = |path: &Path| {
            self.tree.get(path.as_os_str()).is_none_or(|(mode, ..)| mode & 0o170_000 == 0o040_000)
        };
        let stays = |path: &Path| path.ancestors().skip(1).all(is_directory) && !path.starts_with("cache");
        let own = before.tree.iter().filter(|(path, _)| stays(Path::new(path)));
        let mut tree: BTreeMap<_, _> = own.map(|(path, entry)| (path.clone(), entry.clone())).collect();
        tree.extend(self.tree.iter().map(|(path, entry)| (path.clone(), entry.clone())));
        Self { tree, rows: self.rows.clone() }
    }
}

fn remove(path: &Path) {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path).unwrap();
    } else {
        let _ = fs::remove_file(path);
    }
}

fn database(machine: &Machine, id: &str) -> PathBuf {
    machine.place.path(format!("{id}.db"))
}

/// Hooks at every point, each with a limit of time.
fn hooks(machine: &Machine, id: &str, in_backup: &mut Vec<String>, in_restore: &mut Vec<String>) -> String {
    let mut text = "[hooks]\n".to_owned();
    for (point, phases) in [
        ("backup_pre", &["live", "stopped"][..]),
        ("backup_post", &["stopped", "live", "published"]),
        ("restore_pre", &["live", "stopped"]),
        ("restore_post", &["stopped", "live"]),
    ] {
        let mut hooks = Vec::new();
        for phase in phases {
            let name = format!("{id}-{point}-{phase}");
            hooks.push(format!("{{ run = {}, phase = {phase:?}, timeout = \"1s\" }}", machine.act(&name)));
            if point.starts_with("backup") { &mut *in_backup } else { &mut *in_restore }.push(name);
        }
        text.push_str(&format!("{point} = [{}]\n", hooks.join(", ")));
    }
    let check = format!("{id}-check");
    text.push_str(&format!("check = {{ run = {}, timeout = \"1s\" }}\n", machine.act(&check)));
    in_restore.push(check);
    text
}
