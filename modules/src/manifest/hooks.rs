//! `[hooks]`: programs that run at named points of a run.

use super::drivers::OnError;
use super::form::{Either, Flag, Form, List, Mapped, NAME, NamesTo, Sub, TEXT, Word, list, some, tables};
use super::paths::{ManifestPath, PathForm};
use super::reader::Table;
use super::services::Operation;
use super::sources::LIMIT;
use super::words::words;
use std::time::Duration;
use toml::de::DeValue;

/// How long a hook may run if it does not say: 30 minutes.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(30 * 60);

words! {
    /// When a hook runs.
    pub enum HookPhase {
        /// Before services stop, or after they have started.
        Live = "live",
        /// After services have stopped, or before they start.
        Stopped = "stopped",
        /// After the snapshot is published.
        Published = "published",
    }
}

words! {
    /// How what came before a post hook has ended.
    pub enum HookState {
        /// Well.
        Finish = "finish",
        /// Not.
        Fail = "fail",
    }
}

/// Where a hook runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// On this machine.
    Host,
    /// In the container of this name.
    Container(String),
}

/// A program at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program and its arguments; with `shell`, one text for `/bin/sh -c`.
    pub run: Vec<String>,
    /// Whether a shell reads it.
    pub shell: bool,
    /// Where it runs.
    pub place: Where,
    /// As whom.
    pub user: Option<String>,
    /// In which directory.
    pub cwd: Option<ManifestPath>,
    /// With which further variables of the environment.
    pub env: Vec<(String, String)>,
    /// How long; none: without limit.
    pub timeout: Option<Duration>,
    /// When.
    pub phase: HookPhase,
    /// What follows if it fails.
    pub on_error: OnError,
    /// In which runs; for `reset` and `check`, whose point says it all, empty.
    pub when: Vec<Operation>,
    /// After which end; for post hooks.
    pub states: Vec<HookState>,
    /// Whether it runs even if its pre hook or the module failed; for post hooks.
    pub run_on_failure: bool,
}

/// The hooks of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before a backup reads.
    pub backup_pre: Vec<Hook>,
    /// After a backup has read.
    pub backup_post: Vec<Hook>,
    /// Before a restore writes.
    pub restore_pre: Vec<Hook>,
    /// After a restore has written.
    pub restore_post: Vec<Hook>,
    /// Empties the module before a restore.
    pub reset: Vec<Hook>,
    /// Says whether a restore could succeed, and changes nothing.
    pub check: Vec<Hook>,
}

impl Hooks {
    /// Returns every hook with the name of its point.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Hook)> {
        let points = [
            ("backup_pre", &self.backup_pre),
            ("backup_post", &self.backup_post),
            ("restore_pre", &self.restore_pre),
            ("restore_post", &self.restore_post),
            ("reset", &self.reset),
            ("check", &self.check),
        ];
        points.into_iter().flat_map(|(point, hooks)| hooks.iter().map(move |hook| (point, hook)))
    }
}

/// What is known of a point before its hooks are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Point {
    Pre(Operation),
    Post(Operation),
    Other,
}

type Many = Either<Mapped<Sub<Hook>, Hook, Vec<Hook>>, List<Sub<Hook>>>;

/// One table, or an array of them.
fn many(read: fn(&mut Table<'_, '_>) -> Hook) -> Many {
    Either {
        one: Mapped { form: Sub(read), map: |hook| vec![hook] },
        other: tables(Sub(read)),
        is_one: |value| !matches!(value, DeValue::Array(_)),
    }
}

/// Reads `[hooks]`.
pub fn read_hooks(t: &mut Table<'_, '_>) -> Hooks {
    let mut at = |key: &'static str, read: fn(&mut Table<'_, '_>) -> Hook, doc: &'static str| {
        t.optional(key, many(read), doc).unwrap_or_default()
    };
    Hooks {
        backup_pre: at(
            "backup_pre",
            |t| read_hook(t, Point::Pre(Operation::Backup)),
            "Before a backup reads this module.",
        ),
        backup_post: at(
            "backup_post",
            |t| read_hook(t, Point::Post(Operation::Backup)),
            "After a backup has read this module.",
        ),
        restore_pre: at(
            "restore_pre",
            |t| read_hook(t, Point::Pre(Operation::Restore)),
            "Before a restore writes this module.",
        ),
        restore_post: at(
            "restore_post",
            |t| read_hook(t, Point::Post(Operation::Restore)),
            "After a restore has written this module.",
        ),
        reset: at(
            "reset",
            |t| read_hook(t, Point::Other),
            "Empties the module; runs if [restore] reset = \"command\".",
        ),
        check: at(
            "check",
            |t| read_hook(t, Point::Other),
            "Says by its status whether a restore could succeed; changes nothing.",
        ),
    }
}

/// The hooks of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobHooks {
    /// Before anything is stopped.
    pub before: Vec<Hook>,
    /// At the end, whatever it was.
    pub after: Vec<Hook>,
    /// At the end, if it was bad.
    pub error: Vec<Hook>,
}

/// Reads `[hooks]` of a job.
pub fn read_job_hooks(t: &mut Table<'_, '_>) -> JobHooks {
    let mut at = |key: &'static str, read: fn(&mut Table<'_, '_>) -> Hook, doc: &'static str| {
        t.optional(key, many(read), doc).unwrap_or_default()
    };
    JobHooks {
        before: at(
            "before",
            |t| read_hook(t, Point::Other),
            "Before anything is stopped; if it fails, nothing is done.",
        ),
        after: at("after", read_job_end, "At the end of the run, whatever it was."),
        error: at("error", read_job_end, "At the end of a run that failed or is partial."),
    }
}

fn read_job_end(t: &mut Table<'_, '_>) -> Hook {
    let (hook, on_error) = read_common(t);
    Hook { on_error: on_error.unwrap_or(OnError::Continue), run_on_failure: true, ..hook }
}

/// Reads what a hook of any point has.
fn read_common(t: &mut Table<'_, '_>) -> (Hook, Option<OnError>) {
    let run = t
        .required("run", some(TEXT), "The program and its arguments; with shell = true, one text.")
        .unwrap_or_default();
    let shell = t.or("shell", Flag, false, "Let /bin/sh read it; then `run` is one text.");
    if shell && run.len() > 1 {
        t.wrong(
            "run",
            "with shell = true, `run` is one text",
            "write it as [\"one text\"], or leave `shell` out",
        );
    }
    if run.first().is_some_and(|program| program.trim().is_empty()) {
        t.wrong("run", "`run` names no program", "");
    }
    let env = t.optional("env", NamesTo(TEXT), "Further variables of its environment.").unwrap_or_default();
    if let Some((name, _)) = env.iter().find(|(name, _)| name.contains('=') || name.starts_with("DEDUP_")) {
        t.wrong(
            &format!("env.{name}"),
            format!("{name:?} cannot be a variable of a hook's environment"),
            "names hold no `=`, and DEDUP_… are ours",
        );
    }
    let hook = Hook {
        run,
        shell,
        place: t.or("where", WHERE, Where::Host, "\"host\" (default), or { container = \"NAME\" }."),
        user: t.optional("user", NAME, "As whom it runs."),
        cwd: t.optional("cwd", PathForm, "The directory it runs in."),
        env,
        timeout: t.or("timeout", LIMIT, Some(HOOK_TIMEOUT), "How long it may run."),
        phase: HookPhase::Stopped,
        on_error: OnError::Fail,
        when: Vec::new(),
        states: vec![HookState::Finish, HookState::Fail],
        run_on_failure: false,
    };
    (hook, t.optional("on_error", Word::new(), "What follows if it fails; before: fail, after: continue."))
}

fn read_hook(t: &mut Table<'_, '_>, point: Point) -> Hook {
    let (mut hook, on_error) = read_common(t);
    let is_post = matches!(point, Point::Post(_));
    hook.on_error = on_error.unwrap_or(if is_post { OnError::Continue } else { OnError::Fail });
    if let Point::Pre(operation) | Point::Post(operation) = point {
        hook.phase = t.or("phase", Word::new(), HookPhase::Stopped, "live: before services stop or after they start; stopped (default); published (backup_post only): after the snapshot is there.");
        hook.when = t.or("when", list(Word::new()), vec![operation], "The runs that concern it.");
        if hook.phase == HookPhase::Published && point != Point::Post(Operation::Backup) {
            t.wrong("phase", "only backup_post has the phase published", "write live or stopped");
        }
        if hook.when.iter().any(|when| *when != operation) {
            t.wrong(
                "when",
                format!("this hook belongs to a {operation}"),
                "put it under the key of the other kind of run",
            );
        }
    }
    if is_post {
        hook.states =
            t.or("states", list(Word::new()), hook.states, "After which end of what came before it runs.");
        hook.run_on_failure = t.or("run_on_failure", Flag, true, "Run it even if the module failed.");
    }
    hook
}

/// Where a hook runs.
struct WhereForm;

const WHERE: WhereForm = WhereForm;

words! {
    /// The word for this machine.
    pub enum HostWord {
        /// This machine.
        Host = "host",
    }
}

type HostForm = Mapped<Word<HostWord>, HostWord, Where>;
type ContainerForm = Mapped<Sub<String>, String, Where>;

impl WhereForm {
    fn both() -> Either<HostForm, ContainerForm> {
        Either {
            one: Mapped { form: Word::new(), map: |_| Where::Host },
            other: Mapped {
                form: Sub(|t| t.required("container", NAME, "The container.").unwrap_or_default()),
                map: Where::Container,
            },
            is_one: |value| !matches!(value, DeValue::Table(_)),
        }
    }
}

impl Form for WhereForm {
    type Out = Where;

    fn shape(&self) -> super::shape::Shape {
        Self::both().shape()
    }

    fn read(&self, at: &super::reader::At<'_, '_>) -> Option<Where> {
        Self::both().read(at)
    }

    fn show(&self, value: &Where) -> Option<serde_json::Value> {
        (*value == Where::Host).then(|| "host".into())
    }
}
