//! `dedup module discover`: manifests for what runs or is installed here, to look at.

use crate::context::Context;
use crate::declared::{self, ModuleDirs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::find_repo::create_private_dir;
use crate::human;
use crate::output::put_path;
use dedup_modules::catalog::Catalog;
use dedup_modules::discover::{Proposal, System, discover};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Propose manifests for what runs or is installed on this machine
///
/// Database servers, SQLite files, stacks of containers, FreePBX, FreedomBox, and services that are known by name. The
/// manifests are printed; look at them before they are used. Nothing is run, changed or connected to, and no password is
/// read. Run it as root to see what belongs to everybody.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup module discover
  dedup module discover --write /etc/dedup/modules.d")]
pub struct DiscoverArgs {
    /// Write each manifest to a file ID.toml in this directory; files that are there are left as they are
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,

    #[command(flatten)]
    dirs: ModuleDirs,
}

/// What became of a proposal that was to be written.
enum Written {
    Now(PathBuf),
    WasThere(PathBuf),
}

pub fn run(ctx: &Context, args: &DiscoverArgs) -> Result<Exit, Failure> {
    let catalog = declared::catalog(&args.dirs)?;
    let system = System::read(Path::new("/"));
    tell_and_write(ctx, &catalog, discover(&system), args.write.as_deref())?;
    Ok(Exit::Complete)
}

/// Prints proposals that are not declared yet, or writes them to files of a directory.
pub fn tell_and_write(
    ctx: &Context,
    catalog: &Catalog,
    proposals: Vec<Proposal>,
    dir: Option<&Path>,
) -> Result<(), Failure> {
    let (declared, new): (Vec<Proposal>, Vec<Proposal>) =
        proposals.into_iter().partition(|proposal| catalog.find(&proposal.id).is_some());
    if !ctx.output.json {
        for proposal in &declared {
            if let Some(entry) = catalog.find(&proposal.id) {
                ctx.output.note(&format!("{} is declared already, in {}", proposal.id, entry.file.display()));
            }
        }
    }
    let mut written = Vec::new();
    if let Some(dir) = dir {
        create_private_dir(dir)?;
        for proposal in &new {
            written.push(write(dir, proposal.id.as_str(), &proposal.text)?);
        }
    }
    if ctx.output.json {
        let proposals = new.iter().enumerate().map(|(n, proposal)| as_json(proposal, written.get(n)));
        let declared: Vec<&str> = declared.iter().map(|proposal| proposal.id.as_str()).collect();
        let proposals: Vec<Value> = proposals.collect();
        ctx.output.object(&json!({ "type": "discovered", "proposals": proposals, "declared": declared }))?;
        return Ok(());
    }
    if dir.is_some() { tell_written(ctx, &new, &written) } else { print(ctx, &new) }
}

/// Writes a job to a file ID.toml of a directory, unless one is there.
pub fn write_job(ctx: &Context, dir: &Path, id: &str, text: &str) -> Result<(), Failure> {
    create_private_dir(dir)?;
    match write(dir, id, text)? {
        Written::Now(path) => ctx.output.note(&format!("the job {id} is written to {}", path.display())),
        Written::WasThere(path) => {
            ctx.output.note(&format!("{} is there already and left as it is", path.display()));
        }
    }
    Ok(())
}

/// Writes a text to a file of its own, which was not there before.
fn write(dir: &Path, id: &str, text: &str) -> Result<Written, Failure> {
    let path = dir.join(format!("{id}.toml"));
    let failed = |error| Failure::io(format!("cannot write {}", path.display()), &error);
    // Neither follows a link nor writes to what is there, whoever put it there.
    let mut file = match File::options().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Written::WasThere(path)),
        Err(error) => return Err(failed(error)),
    };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(Written::Now(path))
}

fn tell_written(ctx: &Context, new: &[Proposal], written: &[Written]) -> Result<(), Failure> {
    let mut count = 0;
    for (proposal, written) in new.iter().zip(written) {
        match written {
            Written::Now(path) => {
                count += 1;
                let path = crate::escape::name(path.as_os_str().as_bytes());
                ctx.output.line(format!("{path}: {}", proposal.found.join(", ")))?;
            }
            Written::WasThere(path) => {
                ctx.output.note(&format!("{} is there already and left as it is", path.display()));
            }
        }
    }
    let files = human::counted(count, "manifest", "manifests");
    ctx.output.summary_line(format!("{files} written; look at them before a run uses them"))?;
    Ok(())
}

/// Prints the manifests one after another, each under the name that its file would have.
fn print(ctx: &Context, new: &[Proposal]) -> Result<(), Failure> {
    if new.is_empty() {
        ctx.output.note("nothing was found that is not declared already");
        return Ok(());
    }
    for proposal in new {
        ctx.output.line(format!("# ---- {}.toml\n{}", proposal.id, proposal.text))?;
    }
    let files = human::counted(new.len() as u64, "manifest", "manifests");
    ctx.output.note(&format!("{files} proposed; --write DIR writes them to files"));
    Ok(())
}

fn as_json(proposal: &Proposal, written: Option<&Written>) -> Value {
    let mut object = json!({
        "id": proposal.id.as_str(),
        "found": proposal.found,
        "manifest": proposal.text,
        "written": written.map(|written| matches!(written, Written::Now(_))),
    });
    if let Some(Written::Now(path) | Written::WasThere(path)) = written {
        put_path(&mut object, "path", path.as_os_str().as_bytes());
    }
    object
}
