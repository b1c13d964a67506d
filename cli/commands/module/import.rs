//! `dedup module import`: what other products say of their applications, as manifests.

use super::discover;
use crate::context::Context;
use crate::declared::{self, ModuleDirs};
use crate::exit::Exit;
use crate::failure::Failure;
use dedup_modules::discover::iotstack::{self, StackChoice};
use dedup_modules::discover::{Proposal, System, proposal};
use dedup_modules::foreign::freedombox::apps::{self, App};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Make manifests of what another product says of its applications
///
/// The manifests are printed; look at them before they are used. Nothing of the product is run: its files are read, and what
/// could be known only by running them is told.
///
/// freedombox: a file manifest.py, a directory of an application, a directory of many, or the JSON that is in its archives.
/// iotstack: the directory of a stack.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup module import --from freedombox /usr/lib/python3/dist-packages/plinth/modules
  dedup module import --from iotstack ~/IOTstack --live --write /etc/dedup/modules.d
  dedup module import --from iotstack ~/IOTstack --type 3 --user pi --write /etc/dedup/modules.d --write-job /etc/dedup/jobs.d")]
pub struct ImportArgs {
    /// The product
    #[arg(long, value_enum)]
    from: From,
    /// What is read
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Write each manifest to a file ID.toml in this directory; files that are there are left as they are
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// freedombox: the program that calls its hooks and sets applications up: PROGRAM hook APP POINT, state APP, setup APP
    #[arg(long, value_name = "PROGRAM")]
    program: Option<String>,
    /// iotstack: dump databases while they run, instead of copying their files while they stand still
    #[arg(long)]
    live: bool,
    /// iotstack: keep snapshots as its own script did: 1 dated, 2 rolling by the day of the week, 3 both
    #[arg(long = "type", value_name = "TYPE", default_value = "3", value_parser = clap::value_parser!(u8).range(1..=3))]
    kind: u8,
    /// iotstack: whom logs and exported archives are given to
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// iotstack: write a job of that type to iotstack.toml in this directory
    #[arg(long, value_name = "DIR")]
    write_job: Option<PathBuf>,

    #[command(flatten)]
    dirs: ModuleDirs,
}

/// A product whose applications are known by their own manifests.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Freedombox,
    Iotstack,
}

pub fn run(ctx: &Context, args: &ImportArgs) -> Result<Exit, Failure> {
    let path = std::path::absolute(&args.path)
        .map_err(|error| Failure::io(format!("{} is no usable path", args.path.display()), &error))?;
    let stat = fs::metadata(&path)
        .map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
    let mut refused = Vec::new();
    let proposals = match args.from {
        From::Iotstack => vec![stack(&path, args)?],
        From::Freedombox => {
            let program = args.program.as_deref();
            let mut proposals = Vec::new();
            for (name, app) in freedombox(&path, stat.is_dir())? {
                match app.and_then(|app| app.manifest(program)) {
                    Ok(proposal) => proposals.push(proposal),
                    Err(why) => refused.push(format!("{name}: {why}")),
                }
            }
            proposals
        }
    };
    if proposals.is_empty() && refused.is_empty() {
        return Err(Failure::refused(format!("nothing of {} says what it would back up", path.display())));
    }
    for why in &refused {
        ctx.output.warning(&format!("no manifest is made: {why}"));
    }
    let catalog = declared::catalog(&args.dirs)?;
    discover::tell_and_write(ctx, &catalog, proposals, args.write.as_deref())?;
    if let Some(dir) = &args.write_job {
        let text = iotstack::job(args.kind, args.user.as_deref()).filter(|_| args.from == From::Iotstack);
        let text = text.ok_or_else(|| Failure::refused("--write-job is for --from iotstack"))?;
        discover::write_job(ctx, dir, "iotstack", &text)?;
    }
    Ok(if refused.is_empty() { Exit::Complete } else { Exit::Partial })
}

fn stack(dir: &Path, args: &ImportArgs) -> Result<Proposal, Failure> {
    let system = System { root: PathBuf::from("/"), ..System::default() };
    if !iotstack::is_stack(&system, dir) {
        let message = format!("{} is no stack of IOTstack", dir.display());
        return Err(
            Failure::refused(message).hint("it has docker-compose.yml, and menu.sh or .templates beside it")
        );
    }
    let draft = iotstack::draft(&system, dir, StackChoice { live: args.live });
    let made = draft.and_then(proposal);
    made.ok_or_else(|| Failure::refused(format!("{} cannot stand in a manifest", dir.display())))
}

/// The name of an application, and what it says of itself or why that is not known.
type Application = (String, Result<App, String>);

/// Reads what a path has: one application, many, or the JSON of an archive.
fn freedombox(path: &Path, is_dir: bool) -> Result<Vec<Application>, Failure> {
    if !is_dir {
        return match path.extension().and_then(|extension| extension.to_str()) {
            Some("py") => Ok(vec![python(path, &name_of(path.parent().unwrap_or(path)))?]),
            _ => {
                let (name, stem) =
                    (path.display().to_string(), path.file_stem().map(|stem| stem.to_string_lossy()));
                match apps::from_json(&stem.unwrap_or_default(), &read(path)?) {
                    Ok(apps) => Ok(apps.into_iter().map(|app| (app.name.clone(), Ok(app))).collect()),
                    Err(why) => Err(Failure::refused(format!("{name}: {why}"))),
                }
            }
        };
    }
    if path.join("manifest.py").is_file() {
        return Ok(vec![python(&path.join("manifest.py"), &name_of(path))?]);
    }
    let failed = |error| Failure::io(format!("cannot read {}", path.display()), &error);
    let mut dirs: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)?.take(apps::MAX_APPS) {
        dirs.push(entry.map_err(failed)?.path());
    }
    dirs.sort();
    let with_manifest = dirs.into_iter().filter(|dir| dir.join("manifest.py").is_file());
    with_manifest.map(|dir| python(&dir.join("manifest.py"), &name_of(&dir))).collect()
}

fn name_of(dir: &Path) -> String {
    dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn python(manifest: &Path, name: &str) -> Result<Application, Failure> {
    let init = manifest.with_file_name("__init__.py");
    let init = if init.is_file() { Some(read(&init)?) } else { None };
    Ok((name.to_owned(), apps::from_python(name, &read(manifest)?, init.as_deref())))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::io(format!("cannot read {}", path.display()), &error);
    // A pipe would be waited for.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Failure::refused(format!("{} is no regular file", path.display())));
    }
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Failure::refused(format!("{} has more than {MAX_FILE_BYTES} bytes", path.display())));
    }
    Ok(bytes)
}
