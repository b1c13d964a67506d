//! `dedup key export` and `dedup key import`: keys on paper.

use super::key::report;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::passphrase::{Way, read_key_file};
use dedup_engine::crypto::paper::{MAX_TEXT, Paper};
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::repo::Repository;
use dedup_engine::storage::Storage;
use dedup_engine::storage::local::LocalStorage;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

#[derive(clap::Args, Debug)]
pub struct ExportArgs {
    /// Write it to this file, which must not be there yet, and not to standard output
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Leave out the slot: two lines of a key file, which need the keys that the repository has
    #[arg(long)]
    short: bool,
}

#[derive(clap::Args, Debug)]
pub struct ImportArgs {
    /// The text, as it was typed or scanned
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub fn export(ctx: &Context, repo: &Repository, args: &ExportArgs) -> Result<(), Failure> {
    let key = match Way::choose(&ctx.global, &ctx.config)? {
        Way::KeyFile(path) => match read_key_file(&path)? {
            Unlock::KeyFile(secret) => Some(secret),
            Unlock::Passphrase(_) => None,
        },
        _ => None,
    };
    if args.short && key.is_none() {
        return Err(Failure::refused("without the slot there is nothing to write of a passphrase")
            .hint("leave out --short, or use a key file: `dedup key add --new-key-file FILE`"));
    }
    let (id, stored) = repo.export_slot()?;
    let opens_alone = key.is_some();
    let paper = Paper { key, slot: Some(stored).filter(|_| !args.short) };
    let text = sheet(ctx, repo, &paper, &id.short())?;
    if let Some(file) = &args.file {
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        let written =
            written.and_then(|mut out| out.write_all(text.as_bytes()).and_then(|()| out.sync_all()));
        written.map_err(|error| Failure::io(format!("cannot write {}", file.display()), &error))?;
    }
    if ctx.output.json {
        let text = if args.file.is_none() { Some(text.as_str()) } else { None };
        return Ok(ctx.output.object(&json!({
            "type": "key_paper",
            "repository_id": repo.id().to_hex(),
            "id": id.to_hex(),
            "opens_alone": opens_alone,
            "text": text,
        }))?);
    }
    match &args.file {
        Some(file) => {
            let shown = crate::escape::text(&file.display().to_string());
            Ok(ctx.output.line(format!("key {} written to {shown}", id.short()))?)
        }
        None => Ok(text.lines().try_for_each(|line| ctx.output.line(line))?),
    }
}

/// Returns the whole sheet: what it is, what to do with it, and the lines.
fn sheet(ctx: &Context, repo: &Repository, paper: &Paper, slot: &str) -> Result<Zeroizing<String>, Failure> {
    let place = crate::escape::text(&ctx.place()?.path.display().to_string());
    let needs = match (paper.key.is_some(), paper.slot.is_some()) {
        (true, _) => "Whoever has this sheet and the repository opens it: keep it as you keep money.",
        (false, _) => "It needs its passphrase, which does not stand here.",
    };
    let lost = match paper.slot.is_some() {
        true => "If the repository has lost its keys:  dedup key import FILE -r PLACE\n",
        false => "",
    };
    let use_it = match paper.key.is_some() {
        true => "To restore:  dedup restore latest --target DIRECTORY -r PLACE --key-file FILE\n",
        false => "To restore:  dedup restore latest --target DIRECTORY -r PLACE\n",
    };
    let lines = paper.text();
    let repository = repo.id().to_hex();
    Ok(Zeroizing::new(format!(
        "Key {slot} of the dedup repository {repository}, which was at {place}\n\
         {needs}\n\n\
         Type or scan the lines below into a FILE. Each line has a check of its own: a letter that was misread is told with its line.\n\
         Small letters are as good, O is read as 0, I and L as 1; blanks do not matter.\n\
         {use_it}{lost}\n{}",
        lines.as_str()
    )))
}

pub fn import(ctx: &Context, args: &ImportArgs) -> Result<Exit, Failure> {
    let paper = read(&args.file)?;
    let Some(slot) = &paper.slot else {
        return Err(Failure::refused("there are no lines of a slot in it")
            .hint("a sheet that was written with --short is a key file: --key-file takes it as it is"));
    };
    let unlock = match paper.unlock() {
        Some(unlock) => unlock,
        None => Way::choose(&ctx.global, &ctx.config)?.unlock("Passphrase of the key: ")?,
    };
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(&ctx.place()?.path)?);
    let (id, was_gone) = Repository::import_slot(&storage, slot, &unlock, ctx.max_memory())?;
    report(ctx, if was_gone { "put back" } else { "is there" }, &id)?;
    Ok(Exit::Complete)
}

fn read(path: &Path) -> Result<Paper, Failure> {
    let failed = |error| Failure::io(format!("cannot read {}", path.display()), &error);
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_TEXT + 1));
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    Ok(Paper::read(&text)?)
}
