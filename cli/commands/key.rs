//! `dedup key`: what opens the repository.

use super::key_paper::{self, ExportArgs, ImportArgs};
use super::key_rotate::{self, RotateArgs};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Table;
use crate::passphrase::{Way, create_key_file};
use crate::select::prefix;
use clap::Subcommand;
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::error::Kind;
use dedup_engine::id::ObjectId;
use dedup_engine::listing::Time;
use dedup_engine::repo::{Repository, SlotInfo};
use serde_json::json;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

/// List, add, remove and change what opens the repository
///
/// Each passphrase and each key file has a slot of its own. Nothing that is stored is written again when they
/// change; whoever had a key and a copy of its slot can still open what they copied.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup key list
  dedup key add --new-key-file /etc/dedup/key --label server
  dedup key add --write-only --new-key-file server.key --label server
  dedup key change
  dedup key remove 1a2b3c4d
  dedup key rotate --keep-all
  dedup key export | lpr")]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand, Debug)]
enum KeyCommand {
    /// Write the key in use as text that can be printed, and typed or scanned back
    #[command(after_help = "Examples:
  dedup key export --key-file ~/backups.key | lpr
  dedup key export sheet.txt
  dedup restore latest --target /mnt/new --key-file sheet.txt")]
    Export(ExportArgs),
    /// Put a key back that is on paper, into a repository that lost its keys
    #[command(after_help = "Examples:\n  dedup key import typed.txt")]
    Import(ImportArgs),
    /// List the slots
    #[command(after_help = "Examples:\n  dedup key list --json")]
    List,
    /// Add a passphrase or a key file
    #[command(after_help = "Examples:\n  dedup key add --new-passphrase-file ~/second --label ann")]
    Add {
        #[command(flatten)]
        new: NewArgs,
        /// What it is for; anybody who sees the storage can read this
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        label: String,
        /// Do not let it open the secrets that modules store
        #[arg(long)]
        no_secrets: bool,
        /// Let it store and nothing else: it reads no snapshot, and takes nothing away
        ///
        /// For machines that are more likely to be broken into than the place where backups are read. They back up as
        /// others do, with deduplication, and do not read again what has not changed. Whoever takes over such a machine
        /// can still store rubbish, and can tell whether bytes that he has are in the repository; that he deletes
        /// nothing is the storage's to see to.
        #[arg(long, conflicts_with = "no_secrets")]
        write_only: bool,
    },
    /// Remove a slot; not the one in use, and not the last one that opens everything
    #[command(after_help = "Examples:\n  dedup key remove 1a2b3c4d")]
    Remove {
        /// First digits of the slot's id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Begin a new key epoch: what is stored from now on does not open with what somebody may have copied
    ///
    /// After a key was lost or stolen, or somebody left: remove that key, then rotate. New keys of all kinds are drawn for
    /// those who go on, who need not do anything; passphrases and key files stay. Whoever is left out cannot read what is
    /// stored from then on, and nothing that he signs counts, also if he still reaches the storage. What was stored before
    /// is not written again: who has seen its keys can read a copy of it. Only the key that made the repository, or that
    /// rotated it last, can do this.
    #[command(after_help = "Examples:
  dedup key remove 1a2b3c4d && dedup key rotate --keep-all
  dedup key rotate --keep 1a2b --keep 5e6f")]
    Rotate(RotateArgs),
    /// Replace the passphrase or key file that is used for this very command
    ///
    /// Who knows the old one and has a copy of its slot can go on until `dedup key rotate`.
    #[command(after_help = "Examples:\n  dedup key change\n  dedup key change --new-key-file ~/new.key")]
    Change {
        #[command(flatten)]
        new: NewArgs,
    },
}

/// The new passphrase or key file; asked for twice on a terminal if nothing is said.
#[derive(clap::Args, Debug)]
#[group(multiple = false)]
struct NewArgs {
    /// Read the new passphrase from a file
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Run a command by the shell; the new passphrase is what it prints
    #[arg(long, value_name = "COMMAND")]
    new_passphrase_command: Option<OsString>,
    /// Use this key file; it is made if it is not there
    #[arg(long, value_name = "FILE")]
    new_key_file: Option<PathBuf>,
    /// Ask for it, or read one line of standard input if that is no terminal
    #[arg(long)]
    new_passphrase: bool,
}

pub fn run(ctx: &Context, args: &KeyArgs) -> Result<Exit, Failure> {
    // The repository may have no key left that opens it.
    if let KeyCommand::Import(args) = &args.command {
        return key_paper::import(ctx, args);
    }
    let mut repo = ctx.open()?;
    match &args.command {
        KeyCommand::Export(args) => key_paper::export(ctx, &repo, args)?,
        KeyCommand::Import(_) => {}
        KeyCommand::Rotate(args) => key_rotate::run(ctx, &repo, args)?,
        KeyCommand::List => list(ctx, &repo.slots()?)?,
        KeyCommand::Add { new, label, no_secrets, write_only } => {
            // Before a key file is made that would open nothing.
            repo.assert_reads()?;
            let id = with_new(new, |unlock| {
                let (kdf, now) = (ctx.kdf(unlock)?, ctx.now().secs);
                Ok(match write_only {
                    true => repo.add_write_only_slot(unlock, &kdf, label, now)?,
                    false => repo.add_slot(unlock, &kdf, label, !no_secrets, now)?,
                })
            })?;
            report(ctx, "added", &id)?;
        }
        KeyCommand::Remove { id } => {
            let id = resolve(&repo.slots()?, id)?;
            remove(ctx, &repo, &id)?;
        }
        KeyCommand::Change { new } => {
            let id =
                with_new(new, |unlock| Ok(repo.change_slot(unlock, &ctx.kdf(unlock)?, ctx.now().secs)?))?;
            report(ctx, "changed", &id)?;
        }
    }
    Ok(Exit::Complete)
}

fn list(ctx: &Context, slots: &[SlotInfo]) -> Result<(), Failure> {
    let created = |slot: &SlotInfo| Time { secs: slot.created_unix_secs, nanos: 0 };
    if ctx.output.json {
        let slots = slots.iter().map(|slot| {
            json!({
                "id": slot.id.to_hex(),
                "kind": if slot.passphrase { "passphrase" } else { "key_file" },
                "label": slot.label,
                "created": human::rfc3339(created(slot)),
                "write_only": !slot.can_read,
                "opens_secrets": slot.holds_secrets,
                "in_use": slot.current,
            })
        });
        return Ok(ctx.output.object(&json!({ "type": "keys", "keys": slots.collect::<Vec<_>>() }))?);
    }
    Ok(table(slots).lines().iter().try_for_each(|line| ctx.output.line(line))?)
}

/// Returns keys as people see them.
pub(super) fn table(slots: &[SlotInfo]) -> Table {
    let kind = |slot: &SlotInfo| if slot.passphrase { "passphrase" } else { "key file" };
    let created = |slot: &SlotInfo| Time { secs: slot.created_unix_secs, nanos: 0 };
    let opens = |slot: &SlotInfo| match (slot.can_read, slot.holds_secrets) {
        (true, true) => "everything",
        (true, false) => "all but secrets",
        (false, _) => "nothing: writes only",
    };
    let mut table = Table::new(&["ID", "Kind", "Created", "Opens", "In use", "Label"], &[]);
    for slot in slots {
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        table.row(vec![
            slot.id.short(),
            kind(slot).into(),
            human::local_time(created(slot)),
            opens(slot).into(),
            yes(slot.current),
            crate::escape::name(slot.label.as_bytes()),
        ]);
    }
    table
}

/// Gets the new secret and hands it on.
///
/// A key file that was made for it stays whatever comes of that: a run that fails may have stored the slot, and
/// even removed the old one, so that nothing else opens the repository. The next try takes the file up.
fn with_new(
    new: &NewArgs,
    store: impl FnOnce(&Unlock) -> Result<ObjectId, Failure>,
) -> Result<ObjectId, Failure> {
    if let Some(path) = new.new_key_file.as_ref().filter(|path| !path.exists()) {
        return store(&create_key_file(path)?);
    }
    store(&new.way()?.new_secret("New passphrase: ")?)
}

impl NewArgs {
    fn way(&self) -> Result<Way, Failure> {
        if let Some(path) = &self.new_passphrase_file {
            return Ok(Way::File(path.clone()));
        }
        if let Some(command) = &self.new_passphrase_command {
            return Ok(Way::Command(command.clone()));
        }
        if let Some(path) = &self.new_key_file {
            return Ok(Way::KeyFile(path.clone()));
        }
        if self.new_passphrase || std::io::stdin().is_terminal() {
            return Ok(Way::Ask);
        }
        Err(Failure::new(Kind::WrongKey, "no new passphrase is given, and there is no terminal to ask on")
            .hint(
                "use --new-passphrase-file FILE, --new-passphrase-command COMMAND, --new-key-file FILE, or \
             --new-passphrase with a line on standard input",
            ))
    }
}

fn remove(ctx: &Context, repo: &Repository, id: &ObjectId) -> Result<(), Failure> {
    repo.remove_slot(id)?;
    report(ctx, "removed", id)
}

pub(super) fn report(ctx: &Context, what: &str, id: &ObjectId) -> Result<(), Failure> {
    if ctx.output.json {
        return Ok(ctx.output.object(&json!({ "type": "key", "change": what, "id": id.to_hex() }))?);
    }
    Ok(ctx.output.line(format!("key {} {what}", id.short()))?)
}

pub(super) fn resolve(slots: &[SlotInfo], text: &str) -> Result<ObjectId, Failure> {
    let digits = prefix(text.as_bytes()).ok_or_else(|| {
        Failure::refused(format!("{text:?} is no id of a key")).hint("`dedup key list` shows them")
    })?;
    let fitting: Vec<&SlotInfo> = slots.iter().filter(|slot| slot.id.to_hex().starts_with(&digits)).collect();
    match fitting[..] {
        [one] => Ok(one.id),
        [] => Err(Failure::new(Kind::Missing, format!("no key begins with {digits}"))
            .hint("`dedup key list` shows them")),
        _ => {
            let ids: Vec<String> = fitting.iter().map(|slot| slot.id.to_hex()[..16].to_owned()).collect();
            Err(Failure::refused(format!("{digits} could be any of {} keys", ids.len()))
                .hint(format!("write more digits: {}", ids.join("; "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_enough_digits() {
        let slot = |first: u8| SlotInfo {
            id: ObjectId::from_bytes([first; 32]),
            passphrase: true,
            label: String::new(),
            created_unix_secs: 0,
            can_read: true,
            holds_secrets: true,
            current: false,
        };
        let slots = [slot(0x11), slot(0x12), slot(0x20)];
        assert_eq!(resolve(&slots, "2").ok(), Some(ObjectId::from_bytes([0x20; 32])));
        assert_eq!(resolve(&slots, "111").ok(), Some(ObjectId::from_bytes([0x11; 32])));
        assert!(
            resolve(&slots, "1").unwrap_err().hint.unwrap().contains("1111111111111111; 1212121212121212")
        );
        assert_eq!(resolve(&slots, "3").unwrap_err().kind, "missing");
        assert_eq!(resolve(&slots, "").unwrap_err().kind, "refused");
    }
}
