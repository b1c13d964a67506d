//! `dedup module check`: what is wrong with manifests and job files.

use crate::context::Context;
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use dedup_modules::manifest::job::Job;
use dedup_modules::manifest::{MAX_FILE_BYTES, Manifest, Problems, looks_like_job};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// What a file was found to be.
struct Checked {
    is_job: bool,
    /// Id and version, or what is wrong.
    result: Result<(String, String), Problems>,
    /// What is right and yet worth saying.
    note: Option<&'static str>,
}

pub fn run(ctx: &Context, files: &[PathBuf]) -> Result<Exit, Failure> {
    // All are read first: an error of reading must not follow half a list.
    let texts: Vec<Vec<u8>> = files.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    let checked: Vec<(&PathBuf, Checked)> =
        files.iter().zip(&texts).map(|(path, bytes)| (path, check_one(path, bytes))).collect();
    let wrong = checked.iter().filter(|(_, checked)| checked.result.is_err()).count();
    if ctx.output.json {
        let files: Vec<Value> = checked.iter().map(|(path, checked)| as_json(path, checked)).collect();
        ctx.output.object(&json!({ "type": "module_check", "files": files, "files_wrong": wrong }))?;
    } else {
        for (path, checked) in &checked {
            tell(ctx, path, checked)?;
        }
    }
    Ok(if wrong == 0 { Exit::Complete } else { Exit::Refused })
}

/// Reads a file up to the limit of the parser, which says it if there is more.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let refused = |what: &str| Failure::refused(format!("{} {what}", path.display()));
    match fs::metadata(path) {
        Ok(stat) if stat.is_dir() => {
            return Err(refused("is a directory").hint("name the manifests in it, or the directory alone"));
        }
        // A pipe would be waited for.
        Ok(stat) if !stat.is_file() => return Err(refused("is no regular file")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(refused("is not there")),
        _ => {}
    }
    let mut bytes = Vec::new();
    let failed = |error| Failure::io(format!("cannot read {}", path.display()), &error);
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn check_one(path: &Path, bytes: &[u8]) -> Checked {
    let name = path.display().to_string();
    if looks_like_job(bytes) {
        let result = Job::parse(&name, bytes).map(|job| (job.id.to_string(), String::new()));
        return Checked { is_job: true, result, note: None };
    }
    let result = Manifest::parse(&name, bytes);
    let nothing = result.as_ref().is_ok_and(Manifest::stores_nothing);
    Checked {
        is_job: false,
        result: result.map(|manifest| (manifest.module.id.to_string(), manifest.module.version.to_string())),
        note: nothing.then_some("it declares nothing to store"),
    }
}

fn tell(ctx: &Context, path: &Path, checked: &Checked) -> Result<(), Failure> {
    let name = escape::text(&path.display().to_string());
    let problems = match &checked.result {
        Ok((id, version)) => {
            let kind = if checked.is_job { "job" } else { "module" };
            let version = if version.is_empty() {
                String::new()
            } else {
                format!(", version {}", escape::text(version))
            };
            let note = checked.note.map(|note| format!("; {note}")).unwrap_or_default();
            return Ok(ctx.output.summary_line(format!("{name}: {kind} {id}{version}: no errors{note}"))?);
        }
        Err(problems) => problems,
    };
    for problem in &problems.list {
        ctx.output.line(format!("{name}:{}: {}", problem.place, escape::text(&problem.message)))?;
        if let Some(help) = &problem.help {
            ctx.output.line(format!("    {}", escape::text(help)))?;
        }
    }
    let count = problems.list.len() + problems.more;
    let word = if count == 1 { "error" } else { "errors" };
    let shown = if problems.more > 0 {
        format!(", the first {} are shown", problems.list.len())
    } else {
        String::new()
    };
    Ok(ctx.output.summary_line(format!("{name}: {} {word}{shown}", human::count(count as u64)))?)
}

fn as_json(path: &Path, checked: &Checked) -> Value {
    let (right, problems) = match &checked.result {
        Ok(right) => (Some(right), None),
        Err(problems) => (None, Some(problems)),
    };
    let list = problems.iter().flat_map(|problems| &problems.list).map(|problem| {
        json!({
            "line": problem.place.line,
            "column": problem.place.column,
            "key": problem.key,
            "message": problem.message,
            "help": problem.help,
        })
    });
    let mut file = json!({
        "kind": if checked.is_job { "job" } else { "manifest" },
        "id": right.map(|(id, _)| id),
        "problems": list.collect::<Vec<_>>(),
        "problems_not_shown": problems.map_or(0, |problems| problems.more),
        "note": checked.note,
    });
    crate::output::put_path(&mut file, "path", path.as_os_str().as_encoded_bytes());
    file
}
