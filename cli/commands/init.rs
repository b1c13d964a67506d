//! `dedup init`: creates a repository.

use crate::context::{Context, this_host, this_user};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::find_repo::{self, Place};
use crate::passphrase::{Way, create_key_file};
use dedup_engine::chunker::ChunkSizes;
use dedup_engine::crypto::slot::Unlock;
use dedup_engine::repo::{Repository, Settings};
use dedup_engine::storage::Storage;
use dedup_engine::storage::local::LocalStorage;
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// Create a repository
///
/// It becomes the default of this user if there is none yet, so that later commands need not name it.
/// Everything in it is encrypted: without its passphrase or a key file nobody reads it again, you included.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup init /mnt/disk/backups
  dedup init backups --key-file ~/backups.key    makes the key file if it is not there
  echo 'correct horse' | dedup init backups --passphrase")]
pub struct InitArgs {
    /// The directory to create it in [default: what --repo, DEDUP_REPO or the configuration name]
    repository: Option<OsString>,

    /// Make it the default even if there is one
    #[arg(long)]
    default: bool,

    /// Average size of chunks, the unit of deduplication: a power of two from 16K to 2M [default: 64K]
    ///
    /// Smaller chunks find more of what is alike, and cost about 90 bytes of local index each.
    #[arg(long, value_name = "SIZE", value_parser = crate::sizes::size)]
    chunk_size: Option<u64>,

    /// Size of packs, the unit of storage [default: 16M]
    #[arg(long, value_name = "SIZE", value_parser = crate::sizes::size)]
    pack_size: Option<u64>,
}

pub fn run(ctx: &Context, args: &InitArgs) -> Result<Exit, Failure> {
    let place = place(ctx, args)?;
    let (unlock, new_key_file) = unlock(ctx)?;
    let settings = settings(args)?;
    let repo = create(ctx, &place, &unlock, &settings).inspect_err(|failure| {
        // After any other failure there may be a repository that only this file opens.
        if let Some(file) = new_key_file.as_ref().filter(|_| failure.exit == Exit::Refused) {
            // It opens nothing; that it stays if it cannot be removed does no harm.
            let _ = std::fs::remove_file(file);
        }
    })?;
    let known = find_repo::remembered()?;
    let is_default = if args.default || known.is_none() {
        find_repo::remember(&place.path)?
    } else {
        known.as_ref() == Some(&place.path)
    };

    if ctx.output.json {
        ctx.output.object(&json!({
            "type": "init",
            "repository_id": repo.id().to_hex(),
            "path": place.path.to_string_lossy(),
            "key_file": new_key_file.as_ref().map(|file| file.to_string_lossy()),
            "is_default": is_default,
        }))?;
        return Ok(Exit::Complete);
    }
    let shown = |path: &std::path::Path| crate::escape::text(&path.display().to_string());
    ctx.output.line(format!("created repository {} at {}", repo.id().short(), shown(&place.path)))?;
    if let Some(file) = &new_key_file {
        ctx.output.summary_line(format!("created key file {}", shown(file)))?;
    }
    let loss = match unlock {
        Unlock::Passphrase(_) => "the passphrase",
        Unlock::KeyFile(_) => "the key file",
    };
    ctx.output.summary_line(format!(
        "keep {loss} safe, in another place: nothing opens the repository without it"
    ))?;
    match known {
        _ if is_default => {
            ctx.output.summary_line("it is your default repository: commands need not name it")?
        }
        Some(known) => ctx.output.summary_line(format!(
            "your default repository is still {}; name this one with -r, or use `init --default`",
            shown(&known)
        ))?,
        None => {}
    }
    // What is only said by an argument has to be said again.
    let again = ctx.global.key_file.as_ref().map(|file| format!("--key-file {} ", shown(file)));
    ctx.output.summary_line(format!("next: dedup backup {}PATH", again.unwrap_or_default()))?;
    Ok(Exit::Complete)
}

fn place(ctx: &Context, args: &InitArgs) -> Result<Place, Failure> {
    match (&args.repository, &ctx.global.repo) {
        (Some(_), Some(_)) => Err(Failure::refused("the repository is named twice, with and without --repo")),
        (Some(path), None) => find_repo::place(path, "the argument".into()),
        (None, given) => find_repo::named(given.as_deref(), &ctx.config)?.ok_or_else(|| {
            Failure::refused("no place is named for the repository").hint("write `dedup init PATH`")
        }),
    }
}

/// Gets the passphrase or key file; a key file that is not there is made, and its path returned.
fn unlock(ctx: &Context) -> Result<(Unlock, Option<PathBuf>), Failure> {
    match Way::choose(&ctx.global, &ctx.config)? {
        Way::KeyFile(path) if !path.exists() => Ok((create_key_file(&path)?, Some(path))),
        way => Ok((way.new_secret("Passphrase for the new repository: ")?, None)),
    }
}

/// Reads the sizes that are fixed for the life of the repository.
fn settings(args: &InitArgs) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    if let Some(average) = args.chunk_size {
        let average = u32::try_from(average).ok().filter(|size| size.is_power_of_two());
        let sizes = average.filter(|size| (16 << 10..=2 << 20).contains(size)).map(ChunkSizes::around);
        settings.chunks =
            sizes.ok_or_else(|| Failure::refused("--chunk-size is a power of two from 16K to 2M"))?;
    }
    if let Some(pack) = args.pack_size {
        settings.pack_target = u32::try_from(pack).unwrap_or(u32::MAX);
    }
    if settings.is_sound() { Ok(settings) } else { Err(Failure::refused("--pack-size is from 1M to 256M")) }
}

fn create(ctx: &Context, place: &Place, unlock: &Unlock, settings: &Settings) -> Result<Repository, Failure> {
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&place.path)?);
    let label = format!("{}@{}", this_user(), this_host());
    // Labels have at most 64 bytes (`FORMAT.md` 4).
    let label = &label[..label.floor_char_boundary(64)];
    let kdf = ctx.kdf(unlock)?;
    Ok(Repository::create(storage, unlock, &kdf, label, settings, ctx.now().secs)?)
}
