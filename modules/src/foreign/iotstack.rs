//! Archives of IOTstack: `backup_DATE.tar.gz`, the stack's directory without its name.

use super::archive::Archive;
use super::error::ForeignError;
use super::plan::{Choice, Planned, PlannedModule};
use super::tar::TarKind;
use crate::id::ModuleId;
use crate::manifest::sections::SectionKind;
use dedup_engine::snapshot::Outcome;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The module that a stack is.
const ID: &str = "iotstack";
/// What the original meant to have in its archives, and what it is for. Also what it forgot.
const PARTS: [(&str, SectionKind); 12] = [
    ("docker-compose.yml", SectionKind::Config),
    ("compose-override.yml", SectionKind::Config),
    ("docker-compose.override.yml", SectionKind::Config),
    ("postbuild.sh", SectionKind::Config),
    ("pre_backup.sh", SectionKind::Config),
    ("post_backup.sh", SectionKind::Config),
    ("post_restore.sh", SectionKind::Config),
    (".env", SectionKind::Secrets),
    ("services", SectionKind::Config),
    ("extra", SectionKind::Config),
    ("volumes", SectionKind::Data),
    ("duck", SectionKind::Config),
];
/// Where a stack is unless its user says otherwise.
const USUAL: &str = "/home/pi/IOTstack";

pub(super) fn plan<'a>(archive: &'a Archive, choice: &Choice<'_>) -> Result<Planned<'a>, ForeignError> {
    let dir = choice.stack_dir.unwrap_or(Path::new(USUAL));
    let has = |name: &str| archive.names_from(name.as_bytes()).next().is_some();
    if !has("docker-compose.yml") && !has("services/") && !has("volumes/") {
        let why = "it has neither docker-compose.yml nor services/ nor volumes/".into();
        return Err(ForeignError::NotOf { product: "IOTstack", why });
    }
    let Ok(id) = ModuleId::parse(ID) else {
        return Err(ForeignError::NotOf { product: "IOTstack", why: "its id is none".into() });
    };
    let mut module = PlannedModule::new(id);
    let mut notes = Vec::new();
    module.version = "0".into();
    let mut newest = None;
    for (name, at) in archive.names_from(b"") {
        if name.is_empty() {
            continue;
        }
        let header = &archive.entries[at].header;
        newest = newest.max(Some(header.mtime.secs));
        let first = name.split(|byte| *byte == b'/').next().unwrap_or_default();
        let part = PARTS.iter().find(|(part, _)| part.as_bytes() == first);
        let Some((_, section)) = part else {
            let shown = String::from_utf8_lossy(first).chars().take(100).collect::<String>();
            let item = format!("data:{shown}");
            module.tell(&item, Outcome::Stored, "it is no part of a stack that is known");
            module.put(archive, SectionKind::Data, &below(dir, name), at);
            continue;
        };
        module.put(archive, *section, &below(dir, name), at);
    }
    for (part, section) in PARTS.iter().filter(|(part, _)| !part.ends_with("duck")) {
        let is_there = archive.position(part.as_bytes()).is_some() || has(&format!("{part}/"));
        let outcome = if is_there { Outcome::Stored } else { Outcome::Absent };
        let why = if is_there { "" } else { "the archive does not have it" };
        module.tell(&format!("{section}:{}", dir.join(part).display()), outcome, why);
    }
    if archive.find("docker-compose.yml").is_none_or(|packed| packed.header.kind != TarKind::File) {
        module.doubts.push("the archive has no docker-compose.yml".into());
    }
    if choice.stack_dir.is_none() {
        notes.push(format!("the stack is taken to be in {}; --stack-dir says otherwise", dir.display()));
    }
    Ok(Planned { what: "IOTstack".into(), modules: vec![module], database: None, time: newest, notes })
}

fn below(dir: &Path, name: &[u8]) -> Vec<u8> {
    [dir.as_os_str().as_bytes(), b"/", name].concat()
}
