//! `dedup witness`: what the machines that write to a repository say of it.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Table;
use crate::{human, memory};
use clap::Subcommand;
use dedup_engine::error::Kind;
use dedup_engine::id::{ClientId, to_hex};
use dedup_engine::log::{ADMIT, ALL, APPEND, Complaint, FORGET, PRUNE};
use dedup_engine::repo::{LogHead, LogState, Repository};
use serde_json::{Value, json};

const RIGHTS: [(u64, &str); 4] = [(APPEND, "append"), (FORGET, "forget"), (PRUNE, "prune"), (ADMIT, "admit")];

/// Show who wrote to the repository and when, and a number to compare by eye
///
/// Every machine signs what it does in a log of its own, which also names the ends of all other logs; each remembers what
/// it saw. So a storage that was set back, hides something or shows two histories is noticed by whoever knew better.
/// Machines that see the same show the same fingerprint.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup witness
  dedup witness --json | jq -r .fingerprint
  dedup witness accept      after you put back a copy of the repository yourself
  dedup witness admit 1a2b3c4d")]
pub struct WitnessArgs {
    #[command(subcommand)]
    command: Option<WitnessCommand>,
}

#[derive(Subcommand, Debug)]
enum WitnessCommand {
    /// Take the storage as it is, though it shows less than it did; says what is given up, and asks
    #[command(after_help = "Examples:\n  dedup witness accept")]
    Accept,
    /// Give a client rights, or take them away, by its log
    ///
    /// A key that was added before there were logs has none where others have fewer than all. From the first time that
    /// somebody has fewer, only those who were admitted have any; so all who have written by then keep theirs.
    #[command(after_help = "Examples:
  dedup witness admit 1a2b3c4d
  dedup witness admit 1a2b3c4d --rights append,forget    it may not prune any more, nor give rights
  dedup witness admit 1a2b3c4d --rights none             what it writes counts for nothing from now on")]
    Admit {
        /// First digits of the client
        #[arg(value_name = "CLIENT")]
        client: String,
        /// What it may do from now on, and nothing else: append (store backups), forget, prune, admit (give rights), or
        /// `all`, `none`
        #[arg(long, value_name = "LIST", default_value = "all", value_parser = rights)]
        rights: u64,
    },
}

/// Reads a list of rights.
fn rights(text: &str) -> Result<u64, String> {
    match text {
        "all" => return Ok(ALL),
        "none" => return Ok(0),
        _ => {}
    }
    text.split(',').try_fold(0, |all, word| match RIGHTS.iter().find(|(_, name)| *name == word.trim()) {
        Some((right, _)) => Ok(all | right),
        None => Err(format!("{word:?} is no right: append, forget, prune, admit, or `all`, `none`")),
    })
}

pub fn run(ctx: &Context, args: &WitnessArgs) -> Result<Exit, Failure> {
    match &args.command {
        None => show(ctx, &ctx.open()?.log_state()?),
        Some(WitnessCommand::Accept) => accept(ctx),
        Some(WitnessCommand::Admit { client, rights }) => admit(ctx, &ctx.open()?, client, *rights),
    }
}

pub(super) fn words(rights: u64) -> Vec<&'static str> {
    RIGHTS.into_iter().filter(|(right, _)| rights & right != 0).map(|(_, word)| word).collect()
}

/// Returns a number for people to compare: eight groups of four digits.
fn shown(fingerprint: &[u8; 32]) -> String {
    let digits = to_hex(&fingerprint[..16]);
    digits.as_bytes().chunks(4).map(|four| String::from_utf8_lossy(four)).collect::<Vec<_>>().join(" ")
}

fn show(ctx: &Context, state: &LogState) -> Result<Exit, Failure> {
    if ctx.output.json {
        let client = |head: &LogHead| {
            json!({
                "client": head.client.to_hex(),
                "in_use": head.is_own,
                "host": head.seen.host,
                "last_entry": human::rfc3339(head.seen.time),
                "entries": head.seen.mark.number,
                "head": head.seen.mark.id.to_hex(),
                "snapshots": head.seen.live,
                "rights": words(head.rights),
            })
        };
        ctx.output.object(&json!({
            "type": "witness",
            "fingerprint": to_hex(&state.fingerprint),
            "first_contact": state.is_first_contact,
            "snapshots": state.alive,
            "generation": state.generation,
            "clients": state.heads.iter().map(client).collect::<Vec<Value>>(),
            "unheard": state.unheard.iter().map(|(client, _)| client.to_hex()).collect::<Vec<String>>(),
        }))?;
        return Ok(Exit::Complete);
    }
    let mut table = Table::new(&["Client", "Last entry", "Host", "Entries", "Rights", "In use"], &[3]);
    for head in &state.heads {
        table.row(vec![
            head.client.short(),
            human::local_time(head.seen.time),
            crate::escape::name(head.seen.host.as_bytes()),
            human::count(head.seen.mark.number),
            match head.rights {
                ALL => "all".into(),
                0 => "none".into(),
                rights => words(rights).join(", "),
            },
            if head.is_own { "yes" } else { "no" }.into(),
        ]);
    }
    if state.heads.is_empty() {
        ctx.output.note("nobody has written to the log yet");
    } else {
        table.lines().iter().try_for_each(|line| ctx.output.line(line))?;
    }
    ctx.output.summary_line(format!("Snapshots:   {} are alive", human::count(state.alive)))?;
    ctx.output.summary_line(format!("Fingerprint: {}", shown(&state.fingerprint)))?;
    if state.is_first_contact {
        ctx.output.note(
            "this machine sees the repository for the first time: of what was before it can say nothing",
        );
    }
    Ok(Exit::Complete)
}

fn accept(ctx: &Context) -> Result<Exit, Failure> {
    let repo = ctx.open_unread()?;
    let Some(wrong) = memory::attach_leniently(ctx, &repo)? else {
        ctx.output.summary_line("The storage shows all that it ever showed: there is nothing to accept")?;
        return Ok(Exit::Complete);
    };
    ctx.output.warning(&wrong);
    let question = "Take the storage as it is now, and give up what it does not show any more?";
    if !ctx.confirm(question)? {
        return Err(Failure::new(Kind::Cancelled, "nothing was accepted"));
    }
    let given_up = repo.accept_log()?;
    if ctx.output.json {
        let told = |complaint: &Complaint| {
            json!({
                "object": complaint.object.to_string(),
                "message": complaint.to_string(),
                "known_by": complaint.known_by,
                "time": complaint.since.as_ref().and_then(|(time, _)| human::rfc3339(*time)),
                "host": complaint.since.as_ref().map(|(_, host)| host),
            })
        };
        let given_up: Vec<Value> = given_up.iter().map(told).collect();
        ctx.output.object(&json!({ "type": "witness_accepted", "given_up": given_up }))?;
        return Ok(Exit::Complete);
    }
    for complaint in &given_up {
        ctx.output.line(format!("given up: {}", crate::escape::text(&complaint.to_string())))?;
    }
    ctx.output.summary_line("Every other machine that has seen more will ask for the same")?;
    Ok(Exit::Complete)
}

fn admit(ctx: &Context, repo: &Repository, text: &str, rights: u64) -> Result<Exit, Failure> {
    let heads = repo.log_state()?.heads;
    let digits = text.to_lowercase();
    let fitting: Vec<ClientId> =
        heads.iter().map(|head| head.client).filter(|client| client.to_hex().starts_with(&digits)).collect();
    let client = match fitting[..] {
        [client] if !digits.is_empty() => client,
        [] => {
            return Err(Failure::new(Kind::Missing, format!("no client begins with {digits}"))
                .hint("`dedup witness` lists them"));
        }
        _ => {
            return Err(Failure::refused(format!("{digits:?} could be any of {} clients", fitting.len()))
                .hint("write more digits"));
        }
    };
    repo.admit_client(client, rights, ctx.now())?;
    if ctx.output.json {
        ctx.output.object(&json!({
            "type": "witness_admitted",
            "client": client.to_hex(),
            "rights": words(rights),
        }))?;
    } else {
        let has = match rights {
            ALL => "has all rights".to_owned(),
            0 => "has no right any more".to_owned(),
            rights => format!("may do this from now on: {}", words(rights).join(", ")),
        };
        ctx.output.line(format!("client {} {has}", client.short()))?;
    }
    Ok(Exit::Complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_and_fingerprints_are_for_people() {
        assert_eq!(words(APPEND | PRUNE), ["append", "prune"]);
        assert_eq!(rights("append, prune"), Ok(APPEND | PRUNE));
        assert_eq!((rights("all"), rights("none")), (Ok(ALL), Ok(0)));
        assert!(rights("apend").unwrap_err().contains("apend"));
        let shown = shown(&[0xA5; 32]);
        assert_eq!((shown.len(), shown.split(' ').count()), (39, 8));
    }
}
