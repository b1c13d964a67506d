//! `dedup module new`: a module of one's own that runs and passes the suite.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use dedup_modules::id::ModuleId;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Write a module in a language of choice, which runs as it is
///
/// A directory with a manifest, a program that speaks the line protocol (modules/PROTOCOL.md), and what it needs of the SDK.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  dedup module new ringqueue
  dedup module new ringqueue --lang sh --dir /etc/dedup/modules.d/ringqueue
  dedup module new ringqueue --lang rust && (cd ringqueue/program && cargo build --release)
  dedup module check ringqueue")]
pub struct NewArgs {
    /// Its id
    #[arg(value_name = "NAME")]
    id: ModuleId,
    /// The language of its program
    #[arg(long, value_enum, default_value = "python")]
    lang: Lang,
    /// Where to [default: a directory of its name]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A language that there is an SDK for.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Lang {
    /// POSIX shell; calls `dedup module-helper`.
    Sh,
    /// Python 3.8 or later, nothing else.
    Python,
    /// PHP 7.4 or later, nothing else; also for modules written for FreePBX.
    Php,
    /// Rust, its standard library alone; `cargo build --release` makes the program.
    Rust,
}

/// A file of a skeleton: its name, its text, whether it is run.
type Part = (&'static str, &'static str, bool);

macro_rules! sdk {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/modules/sdk/", $name))
    };
}

const SH: [Part; 2] =
    [("module.sh", sdk!("sh/skeleton.sh"), true), ("dedup-module.sh", sdk!("sh/dedup-module.sh"), false)];
const PYTHON: [Part; 5] = [
    ("module.py", sdk!("python/skeleton.py"), true),
    ("dedup_module/__init__.py", sdk!("python/dedup_module/__init__.py"), false),
    ("dedup_module/module.py", sdk!("python/dedup_module/module.py"), false),
    ("dedup_module/spaces.py", sdk!("python/dedup_module/spaces.py"), false),
    ("dedup_module/wire.py", sdk!("python/dedup_module/wire.py"), false),
];

const PHP: [Part; 16] = [
    ("module.php", sdk!("php/skeleton.php"), true),
    ("dedup/autoload.php", sdk!("php/dedup/autoload.php"), false),
    ("dedup/Base.php", sdk!("php/dedup/Base.php"), false),
    ("dedup/BackupBase.php", sdk!("php/dedup/BackupBase.php"), false),
    ("dedup/Database.php", sdk!("php/dedup/Database.php"), false),
    ("dedup/Dumped.php", sdk!("php/dedup/Dumped.php"), false),
    ("dedup/Errors.php", sdk!("php/dedup/Errors.php"), false),
    ("dedup/Export.php", sdk!("php/dedup/Export.php"), false),
    ("dedup/Import.php", sdk!("php/dedup/Import.php"), false),
    ("dedup/Legacy.php", sdk!("php/dedup/Legacy.php"), false),
    ("dedup/Module.php", sdk!("php/dedup/Module.php"), false),
    ("dedup/Platform.php", sdk!("php/dedup/Platform.php"), false),
    ("dedup/RestoreBase.php", sdk!("php/dedup/RestoreBase.php"), false),
    ("dedup/Space.php", sdk!("php/dedup/Space.php"), false),
    ("dedup/Values.php", sdk!("php/dedup/Values.php"), false),
    ("dedup/Wire.php", sdk!("php/dedup/Wire.php"), false),
];
const RUST: [Part; 6] = [
    ("program/Cargo.toml", CARGO, false),
    ("program/src/main.rs", sdk!("rust/skeleton.rs"), false),
    ("program/src/dedup_module/mod.rs", sdk!("rust/dedup_module/mod.rs"), false),
    ("program/src/dedup_module/bytes.rs", sdk!("rust/dedup_module/bytes.rs"), false),
    ("program/src/dedup_module/json.rs", sdk!("rust/dedup_module/json.rs"), false),
    ("program/src/dedup_module/wire.rs", sdk!("rust/dedup_module/wire.rs"), false),
];

/// What cargo needs of a module in Rust, below the directory, where its TOML would be taken for a manifest. The program has always the same name: an id may have what crates may not.
const CARGO: &str = "[package]\nname = \"module\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";

pub fn run(ctx: &Context, args: &NewArgs) -> Result<Exit, Failure> {
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(args.id.as_str()));
    let failed =
        |path: &Path, error: std::io::Error| Failure::io(format!("cannot write {}", path.display()), &error);
    if fs::symlink_metadata(&dir).is_ok() {
        return Err(Failure::refused(format!("{} is there already", dir.display()))
            .hint("name another directory with --dir"));
    }
    fs::create_dir_all(&dir).map_err(|error| failed(&dir, error))?;
    let whole = fs::canonicalize(&dir).map_err(|error| failed(&dir, error))?;
    let (parts, command): (&[Part], _) = match args.lang {
        Lang::Sh => (&SH, "[\"sh\", \"./module.sh\"]"),
        Lang::Python => (&PYTHON, "[\"python3\", \"./module.py\"]"),
        Lang::Php => (&PHP, "[\"php\", \"./module.php\"]"),
        Lang::Rust => (&RUST, "[\"./program/target/release/module\"]"),
    };
    for (name, text, runs) in parts {
        let path = whole.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        }
        fs::write(&path, text).map_err(|error| failed(&path, error))?;
        let mode = fs::Permissions::from_mode(if *runs { 0o755 } else { 0o644 });
        fs::set_permissions(&path, mode).map_err(|error| failed(&path, error))?;
    }
    // As TOML writes text; a path that is none cannot stand in a manifest.
    let home = whole.to_str().map(|text| toml::Value::from(text).to_string());
    let home = home.ok_or_else(|| Failure::refused(format!("{} is no text", whole.display())))?;
    let program = format!("command = {command}\ncwd = {home}\n");
    let manifest = format!(
        "schema = 1\n[module]\nid = \"{id}\"\nversion = \"1\"\n\n[exporter]\n{program}\n[importer]\n{program}",
        id = args.id
    );
    let path = whole.join(format!("{}.toml", args.id));
    fs::write(&path, manifest).map_err(|error| failed(&path, error))?;
    ctx.output.summary_line(format!(
        "{}: its manifest and program; `dedup module check {}` tries it, --modules-dir {} uses it",
        dir.display(),
        dir.display(),
        dir.display()
    ))?;
    Ok(Exit::Complete)
}
