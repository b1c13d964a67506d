//! `dedup space`: copies of what a repair is about to change, kept so that it can be put back.

use super::{space_back, space_module};
use crate::context::Context;
use crate::declared::ModuleDirs;
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::{Table, put_path};
use crate::state_dir::state_dir;
use clap::Subcommand;
use dedup_engine::error::Kind;
use dedup_modules::spaces::{ObjectKind, Replayed, Space, SpaceError, SpaceObject, Spaces};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process;

/// Keep what is about to be changed, and put it back
///
/// A space holds copies of files, directories and values. A repair puts into it what it will change; if it fails, all of it
/// is put back. Spaces lie in a sealed store of this machine (/var/lib/dedup/spaces for root; DEDUP_STATE_DIR names another
/// place), not in a repository.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup space run mysql -- ./repair-mysql.sh
  dedup space list
  dedup space revert mysql")]
pub struct SpaceArgs {
    #[command(subcommand)]
    command: SpaceCommand,
}

#[derive(Subcommand, Debug)]
enum SpaceCommand {
    /// List the spaces there are
    #[command(after_help = "Examples:\n  dedup space list --json")]
    List,
    /// List what is in a space, in the order in which it was put there
    #[command(after_help = "Examples:\n  dedup space show mysql")]
    Show {
        /// The space
        id: String,
    },
    /// Run a command, or a module, that puts into a space what it changes
    ///
    /// Without a command it is the program of the module ID that does what it is for (operation `run` of modules/PROTOCOL.md).
    /// A command finds the id in DEDUP_SPACE and calls `dedup space put`, `put-value` and `restore`. If it fails, what is in
    /// the space is put back, and the space is removed unless it is persistent. If that fails, the space stays. The exit
    /// status is that of the command, 128 more than the signal that ended it, or 1 if something could not be put back.
    #[command(after_help = "Examples:
  dedup space run grub --persistent -- sh -c 'dedup space put /etc/default/grub && ./change-grub'")]
    Run {
        /// The space
        id: String,
        /// Keep the space when the command has succeeded, so that it can be reverted later
        #[arg(long)]
        persistent: bool,
        /// The command and its arguments [default: the program of the module ID]
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
        #[command(flatten)]
        dirs: ModuleDirs,
    },
    /// Put back what is in spaces, in reverse order: each space whole or not at all
    ///
    /// A restore of a module whose manifest keeps a persistent space is taken back like this too: the last one first, its
    /// services standing still meanwhile.
    #[command(after_help = "Examples:\n  dedup space revert mysql\n  dedup space revert --all")]
    Revert {
        /// The spaces
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<String>,
        /// All persistent ones
        #[arg(long)]
        all: bool,
        /// Only say what would be put back
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        dirs: ModuleDirs,
    },
    /// Remove spaces with all that is in them
    #[command(after_help = "Examples:\n  dedup space remove mysql --yes")]
    Remove {
        /// The spaces
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Keep a temporary space until it is removed
    #[command(after_help = "Examples:\n  dedup space keep mysql")]
    Keep {
        /// The space
        id: String,
    },
    /// Put a file or directory into a space, before it is changed
    #[command(after_help = "Examples:\n  dedup space put /etc/fstab --name fstab")]
    Put {
        /// What to put
        path: PathBuf,
        /// Its name in the space [default: the path]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        of: Of,
    },
    /// Put a value, read from standard input, into a space
    #[command(after_help = "Examples:\n  sysctl -n vm.swappiness | dedup space put-value swappiness")]
    PutValue {
        /// Its name
        name: String,
        /// What it is, for whoever reads it: text, json, …
        #[arg(long, default_value = "text")]
        kind: String,
        #[command(flatten)]
        of: Of,
    },
    /// Print a value
    #[command(after_help = "Examples:\n  dedup space value swappiness")]
    Value {
        /// Its name
        name: String,
        #[command(flatten)]
        of: Of,
    },
    /// Put one object back to where it came from
    #[command(after_help = "Examples:\n  dedup space restore fstab --to /tmp/fstab")]
    Restore {
        /// Its name
        name: String,
        /// Elsewhere
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
        #[command(flatten)]
        of: Of,
    },
}

/// Which space is meant.
#[derive(clap::Args, Debug)]
struct Of {
    /// The space [default: DEDUP_SPACE]
    #[arg(long, value_name = "ID")]
    space: Option<String>,
}

impl Of {
    fn find(&self) -> Result<Space, Failure> {
        let id = self.space.clone().or_else(|| std::env::var("DEDUP_SPACE").ok().filter(|id| !id.is_empty()));
        let none = || {
            Failure::refused("no space is named")
                .hint("name one by --space ID, or run this below `dedup space run ID -- COMMAND`")
        };
        Ok(spaces()?.existing(&id.ok_or_else(none)?)?)
    }
}

impl SpaceArgs {
    /// Returns whether it may stop something that must come back even if its process is killed.
    pub fn wants_guard(&self) -> bool {
        match &self.command {
            SpaceCommand::Revert { dry_run, .. } => !dry_run,
            SpaceCommand::Run { command, .. } => command.is_empty(),
            _ => false,
        }
    }
}

pub(super) fn spaces() -> Result<Spaces, Failure> {
    Ok(Spaces::open(&state_dir()?.join("spaces"))?)
}

/// Spaces go by real paths; what is above the last name may be a link on the command line.
fn real(path: &Path) -> Result<PathBuf, Failure> {
    let path = std::path::absolute(path).map_err(|error| Failure::io(path.display().to_string(), &error))?;
    Ok(match (path.parent().map(std::fs::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path,
    })
}

pub fn run(ctx: &Context, args: &SpaceArgs) -> Result<Exit, Failure> {
    match &args.command {
        SpaceCommand::List => list(ctx),
        SpaceCommand::Show { id } => show(ctx, id),
        SpaceCommand::Run { id, persistent: false, command, dirs } if command.is_empty() => {
            space_module::run(ctx, id, dirs)
        }
        SpaceCommand::Run { id, persistent, command, .. } => run_command(ctx, id, *persistent, command),
        SpaceCommand::Revert { ids, all, dry_run, dirs } => {
            space_back::revert(ctx, ids, *all, *dry_run, dirs)
        }
        SpaceCommand::Remove { ids } => space_back::remove(ctx, ids),
        SpaceCommand::Keep { id } => done(spaces()?.keep(id)),
        SpaceCommand::Put { path, name, of } => done(of.find()?.put_path(&real(path)?, name.as_deref())),
        SpaceCommand::PutValue { name, kind, of } => {
            done(of.find()?.put_stream(name, &mut io::stdin().lock(), kind))
        }
        SpaceCommand::Value { name, of } => {
            let mut out = io::stdout().lock();
            io::copy(&mut of.find()?.value_reader(name)?, &mut out)?;
            out.flush()?;
            Ok(Exit::Complete)
        }
        SpaceCommand::Restore { name, to, of } => {
            let to = to.as_deref().map(real).transpose()?;
            let replayed = of.find()?.restore_name(name, to.as_deref())?;
            tell_notes(ctx, &replayed);
            Ok(Exit::Complete)
        }
    }
}

fn done(result: Result<(), SpaceError>) -> Result<Exit, Failure> {
    Ok(result.map(|()| Exit::Complete)?)
}

pub(super) fn tell_notes(ctx: &Context, replayed: &Replayed) {
    replayed.notes.iter().for_each(|note| ctx.output.warning(note));
}

fn list(ctx: &Context) -> Result<Exit, Failure> {
    let mut exit = Exit::Complete;
    let mut table = Table::new(&["ID", "Kept", "Objects", "Size"], &[2, 3]);
    let mut found = Vec::new();
    for (id, info) in spaces()?.list()? {
        match info {
            Ok(info) => {
                let kept = if info.is_persistent { "until removed" } else { "for a run" };
                table.row(vec![id.clone(), kept.into(), info.objects.to_string(), human::bytes(info.bytes)]);
                found.push(json!({ "id": id, "persistent": info.is_persistent, "objects": info.objects, "size_bytes": info.bytes }));
            }
            Err(error) => {
                ctx.output.warning(&format!("space {id} cannot be read: {error}"));
                exit = exit.merge(error.kind().into());
            }
        }
    }
    let kept = space_back::kept()?;
    if ctx.output.json {
        let restores: Vec<Value> = kept.iter().map(space_back::json).collect();
        ctx.output.object(&json!({ "type": "spaces", "spaces": found, "restores": restores }))?;
        return Ok(exit);
    }
    for one in &kept {
        let text = format!("restore of {}", escape::text(&one.header.begun));
        table.row(vec![escape::text(&one.id), text, one.acts.len().to_string(), "in place".into()]);
    }
    if found.is_empty() && kept.is_empty() {
        ctx.output.note("there is no space");
    } else {
        table.lines().iter().try_for_each(|line| ctx.output.line(line))?;
    }
    Ok(exit)
}

fn kind_word(kind: &ObjectKind) -> &str {
    match kind {
        ObjectKind::File => "file",
        ObjectKind::Directory => "directory",
        ObjectKind::Symlink => "symlink",
        ObjectKind::Special => "special",
        ObjectKind::Value(kind) => kind,
    }
}

fn object_json(object: &SpaceObject) -> Value {
    let is_value = matches!(object.kind, ObjectKind::Value(_));
    let mut line = json!({ "name": object.name, "kind": kind_word(&object.kind), "is_value": is_value, "entries": object.entries, "size_bytes": object.bytes, "path": null });
    if let Some(path) = &object.origin {
        put_path(&mut line, "path", path.as_os_str().as_bytes());
    }
    line
}

fn show(ctx: &Context, id: &str) -> Result<Exit, Failure> {
    let kept = space_back::kept_of(id)?;
    let objects = match spaces()?.existing(id) {
        Err(SpaceError::NoSpace(_)) if !kept.is_empty() => Vec::new(),
        space => space?.list()?,
    };
    if ctx.output.json {
        let objects: Vec<Value> = objects.iter().map(object_json).collect();
        let restores: Vec<Value> = kept.iter().map(space_back::json).collect();
        ctx.output.object(&json!({ "type": "space", "id": id, "objects": objects, "restores": restores }))?;
        return Ok(Exit::Complete);
    }
    for one in kept.iter().rev() {
        ctx.output.line(format!("restore of {}, reverted by", escape::text(&one.header.begun)))?;
        for act in one.acts.iter().rev() {
            ctx.output.line(format!("  {}", escape::text(&act.to_string())))?;
        }
    }
    if objects.is_empty() {
        return Ok(Exit::Complete);
    }
    let mut table = Table::new(&["Name", "Kind", "Size", "From"], &[2]);
    for object in &objects {
        let from =
            object.origin.as_ref().map_or_else(String::new, |path| escape::name(path.as_os_str().as_bytes()));
        let name = escape::text(&object.name);
        table.row(vec![name, kind_word(&object.kind).into(), human::bytes(object.bytes), from]);
    }
    table.lines().iter().try_for_each(|line| ctx.output.line(line))?;
    Ok(Exit::Complete)
}

fn run_command(ctx: &Context, id: &str, persistent: bool, command: &[OsString]) -> Result<Exit, Failure> {
    let state = state_dir()?;
    let spaces = spaces()?;
    if let Ok(there) = spaces.existing(id)
        && !persistent
        && !there.list()?.is_empty()
    {
        return Err(Failure::new(
            Kind::Exists,
            format!("space {id} is in use, or left over from a run that was cut short"),
        )
        .hint(format!("`dedup space show {id}` shows what is in it; revert it, or remove it")));
    }
    let space = spaces.get(id, persistent)?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::refused("no command is named")
            .hint("a module says itself which of its spaces are persistent: leave --persistent off"));
    };
    // An interruption goes to the command too; what it has changed is put back all the same.
    let _operation = ctx.operation();
    let status = process::Command::new(program)
        .args(arguments)
        .env("DEDUP_SPACE", space.id())
        .env("DEDUP_STATE_DIR", &state)
        .status();
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            if !persistent {
                spaces.close(id)?;
            }
            return Err(Failure::io(format!("cannot run {}", program.display()), &error));
        }
    };
    if status.success() {
        if spaces.close(id)? {
            let count = space.list()?.len();
            ctx.output.note(&format!(
                "space {id} is kept with {count} objects; `dedup space revert {id}` puts them back"
            ));
        }
        return Ok(Exit::Complete);
    }
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    match space.replay() {
        Ok(replayed) => {
            tell_notes(ctx, &replayed);
            let count = replayed.paths.len();
            ctx.output.warning(&format!(
                "the command failed ({status}); {count} paths were put back as they had been"
            ));
            spaces.close(id)?;
            Ok(Exit::Command(u8::try_from(code).unwrap_or(1)))
        }
        Err(error) => {
            spaces.keep(id)?;
            let mut failure = Failure::from(error);
            failure.message = format!(
                "the command failed ({status}), and what it changed was not put back: {}",
                failure.message
            );
            Err(failure
                .hint(format!("space {id} is kept; when the cause is gone: `dedup space revert {id}`")))
        }
    }
}
