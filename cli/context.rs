//! Arguments, environment and configuration → what a command works with.

use crate::args::Global;
use crate::config::{self, Config};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::find_repo::{self, Place};
use crate::human::stored_time;
use crate::interrupt::{Interrupt, Operation};
use crate::memory;
use crate::output::{Output, complain};
use crate::passphrase::Way;
use crate::progress::Progress;
use dedup_engine::crypto::slot::{KdfParams, Unlock};
use dedup_engine::error::Kind;
use dedup_engine::listing::Time;
use dedup_engine::planted::{Bug, planted};
use dedup_engine::progress::Events;
use dedup_engine::repo::{Budget, Repository};
use dedup_engine::storage::Storage;
use dedup_engine::storage::local::LocalStorage;
use jiff::Timestamp;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Memory of a command where nothing else is said: 256 MiB.
const DEFAULT_MEMORY: u64 = 256 << 20;
/// How often a person may type a passphrase.
const TRIES: u32 = 3;

/// What a command works with.
pub struct Context {
    /// Arguments of every command.
    pub global: Global,
    /// The configuration file.
    pub config: Config,
    /// Where results go.
    pub output: Output,
    /// Where events go.
    pub progress: Progress,
    interrupt: Interrupt,
    begun: Instant,
    of_job: OnceLock<Place>,
    owner: OnceLock<(u32, u32)>,
}

impl Context {
    /// Reads the configuration and takes the signals over.
    pub fn new(global: Global, output: Output) -> Result<Self, Failure> {
        let config = config::load(global.config.as_deref())?;
        if global.max_memory.or(config.max_memory).is_some_and(|bytes| bytes < Budget::LEAST_BYTES) {
            let least = Budget::LEAST_BYTES >> 20;
            return Err(Failure::refused(format!(
                "too little memory is allowed: {least}M are needed at least"
            ))
            .hint("raise --max-memory, or `max-memory` in the configuration file"));
        }
        let interrupt = Interrupt::install()?;
        let progress = Progress::new(output, interrupt.clone(), !global.no_progress);
        if let Some(file) = &config.file {
            output.detail(&format!("the configuration is that of {}", file.display()));
        }
        Ok(Self {
            global,
            config,
            output,
            progress,
            interrupt,
            begun: Instant::now(),
            of_job: OnceLock::new(),
            owner: OnceLock::new(),
        })
    }

    /// Returns the place of the repository.
    pub fn place(&self) -> Result<Place, Failure> {
        if self.global.repo.is_none()
            && let Some(place) = self.of_job.get()
        {
            return Ok(place.clone());
        }
        find_repo::find(self.global.repo.as_deref(), &self.config)
    }

    /// Takes the repository that a job names, unless the command line names one.
    pub fn prefer(&self, place: Place) {
        // A run is of one job.
        let _ = self.of_job.set(place);
    }

    /// Gives what is stored to this user and group, as a job may want it: only root can, and what others store is theirs.
    pub fn give_to(&self, owner: (u32, u32)) {
        let _ = self.owner.set(owner);
    }

    /// Opens the repository without its index: enough for keys and snapshots.
    pub fn open(&self) -> Result<Repository, Failure> {
        self.open_at(&self.place()?, &Way::choose(&self.global, &self.config)?, self.max_memory())
    }

    /// Opens the repository without its index, and does not read its log: for what is to tell what is wrong with that.
    pub fn open_unread(&self) -> Result<Repository, Failure> {
        self.open_keys(&self.place()?, &Way::choose(&self.global, &self.config)?, self.max_memory())
    }

    /// Opens the repository at a place for runs that use so much memory, without its index. Its log is read on first.
    pub fn open_at(&self, place: &Place, way: &Way, max_memory_bytes: u64) -> Result<Repository, Failure> {
        let repo = self.open_keys(place, way, max_memory_bytes)?;
        memory::attach(self, &repo)?;
        Ok(repo)
    }

    fn open_keys(&self, place: &Place, way: &Way, max_memory_bytes: u64) -> Result<Repository, Failure> {
        self.output.detail(&format!("the repository is {} ({})", place.path.display(), place.named_by));
        let explain = |failure: Failure| match failure.exit {
            Exit::NoRepository => {
                let path = place.path.display();
                let named_by = &place.named_by;
                failure.hint(format!(
                    "{named_by} names {path}; check that, or create one with `dedup init {path}`"
                ))
            }
            _ => failure,
        };
        let storage = LocalStorage::open(&place.path).map_err(|error| explain(error.into()))?;
        let storage = match self.owner.get().filter(|_| nix::unistd::geteuid().is_root()) {
            Some((user, group)) => storage.give_to(*user, *group),
            None => storage,
        };
        let storage: Arc<dyn Storage> = Arc::new(storage);
        let prompt = format!("Passphrase of {}: ", crate::escape::text(&place.path.display().to_string()));
        let mut tries = 1;
        loop {
            let unlock = way.unlock(&prompt)?;
            match Repository::open(Arc::clone(&storage), &unlock, max_memory_bytes) {
                Err(error) if error.kind() == Kind::WrongKey && way.may_ask_again() && tries < TRIES => {
                    complain("That is not it; try again.");
                    tries += 1;
                }
                result => return result.map_err(|error| explain(error.into())),
            }
        }
    }

    /// Opens the repository and brings its local index up to date.
    pub fn open_indexed(&self) -> Result<Repository, Failure> {
        self.indexed(self.open()?)
    }

    /// Brings the local index of a repository up to date.
    pub fn indexed(&self, mut repo: Repository) -> Result<Repository, Failure> {
        let dir = self.index_dir(&repo)?;
        repo.attach_index(&dir, self.events())?;
        Ok(repo)
    }

    /// Returns the directory of the repository's local index; its parents exist afterwards.
    pub fn index_dir(&self, repo: &Repository) -> Result<PathBuf, Failure> {
        let given = self.global.index_dir.clone();
        let variable =
            || std::env::var_os("DEDUP_INDEX_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let cache = || find_repo::base_dir("XDG_CACHE_HOME", ".cache").map(|dir| dir.join("dedup"));
        let dir = given.or_else(variable).or_else(|| self.config.index_dir.clone()).or_else(cache);
        let dir = dir.ok_or_else(|| {
            Failure::refused("there is no home directory to keep the local index in")
                .hint("name a directory with --index-dir or DEDUP_INDEX_DIR")
        })?;
        find_repo::create_private_dir(&dir)?;
        Ok(dir.join(repo.id().to_hex()))
    }

    /// Returns where events go.
    pub fn events(&self) -> &dyn Events {
        &self.progress
    }

    /// Begins a long operation: an interruption is a request to it while the guard lives.
    pub fn operation(&self) -> Operation<'_> {
        self.interrupt.operation()
    }

    /// Returns what tells whether the person asked to stop.
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// Returns the most memory to use, in bytes.
    pub fn max_memory(&self) -> u64 {
        self.global.max_memory.or(self.config.max_memory).unwrap_or(DEFAULT_MEMORY)
    }

    /// Returns the number of threads.
    pub fn threads(&self) -> usize {
        let given = self.global.threads.or(self.config.threads.filter(|threads| *threads > 0));
        match given {
            Some(threads) => threads.into(),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Returns the time by the clock.
    pub fn now(&self) -> Time {
        stored_time(Timestamp::now())
    }

    /// Returns the time since the command began, which never runs backwards.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Returns the cost of a new slot for `unlock`: measured for passphrases; a key file is not stretched.
    pub fn kdf(&self, unlock: &Unlock) -> Result<KdfParams, Failure> {
        match unlock {
            Unlock::Passphrase(_) => Ok(KdfParams::calibrate(&|| self.begun.elapsed())?),
            Unlock::KeyFile(_) => Ok(KdfParams::LEAST),
        }
    }

    /// Returns whether every question is answered already.
    fn is_yes(&self) -> bool {
        self.global.yes || planted(Bug::SilenceIsYes)
    }

    /// Refuses right away what could not be confirmed later.
    pub fn can_confirm(&self) -> Result<(), Failure> {
        if self.is_yes() || std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
            return Ok(());
        }
        Err(Failure::refused("this needs a yes, and there is no terminal to ask on")
            .hint("look at it with --dry-run, then add --yes; or write elsewhere with --target DIR"))
    }

    /// Asks a yes-or-no question; `--yes` answers it. Without a terminal nobody can: refused.
    pub fn confirm(&self, question: &str) -> Result<bool, Failure> {
        if self.is_yes() {
            return Ok(true);
        }
        self.can_confirm()?;
        let mut answer = String::new();
        self.progress.beside(|| eprint!("{question} [y/N] "));
        std::io::stdin()
            .read_line(&mut answer)
            .map_err(|error| Failure::io("cannot read the answer", &error))?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }
}

/// Returns the name of this machine.
pub fn this_host() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |host| host.to_string_lossy().into_owned())
}

/// Returns the name of the user, or the number where there is no name.
pub fn this_user() -> String {
    let uid = nix::unistd::geteuid();
    let named = nix::unistd::User::from_uid(uid).ok().flatten();
    named.map_or_else(|| uid.to_string(), |user| user.name)
}
