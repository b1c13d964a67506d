//! The examples that `modules/MANIFEST.md` shows: accepted, and understood as their comments say.

use super::{data, manifest};
use dedup_modules::manifest::drivers::{Driver, Format, Scope, SourcePhase};
use dedup_modules::manifest::hooks::HookPhase;
use dedup_modules::manifest::items::{Extent, section_of};
use dedup_modules::manifest::job::Job;
use dedup_modules::manifest::lifecycle::{Keep, Reset};
use dedup_modules::manifest::sections::SectionKind;
use dedup_modules::manifest::services::{Operation, ServiceKind, StopMethod, start_order};
use dedup_modules::version::Version;
use std::fs;
use std::path::Path;

#[test]
fn wordpress_has_nested_secrets_and_a_database() {
    let app = manifest("wordpress");
    let items = app.items(&app.paths).unwrap();
    let section = |path: &str| section_of(&items, Path::new(path));
    assert_eq!(section("/etc/wordpress/is_public"), Some(SectionKind::Data));
    assert_eq!(section("/etc/wordpress/wp-config.php"), Some(SectionKind::Secrets));
    assert_eq!(section("/var/lib/wordpress/a/b"), Some(SectionKind::Data));
    assert!(items.iter().any(|item| item.optional && item.extent == Extent::File));
    let start = start_order([&app], Operation::Backup);
    let start: Vec<_> = start.iter().map(|own| (own.service.kind, own.service.method)).collect();
    let expected = [(ServiceKind::System, StopMethod::Stop), (ServiceKind::WebConfig, StopMethod::Disable)];
    assert_eq!(start, expected, "the timer, then the site; stopped the other way round");
    let source = &app.sources[0];
    assert_eq!((source.driver, source.format, source.scope), (Driver::Mariadb, Format::Sql, Scope::Database));
}

#[test]
fn ringqueue_moves_with_its_variable_and_knows_what_it_needs() {
    let pbx = manifest("ringqueue");
    let mut here = pbx.paths.clone();
    here.set("VARLIB", "/opt/pbx/lib");
    assert_eq!(pbx.items(&here).unwrap()[0].path, Path::new("/opt/pbx/lib/sounds/custom/queues"));
    let platform = pbx.depends.platform.as_ref().unwrap();
    let holds = |version: &str| platform.holds_for(&Version::parse(version).unwrap());
    assert_eq!(["14.0.1alpha23", "14.0.1alpha24", "14.0.1", "16.0.40"].map(holds), [false, true, true, true]);
    assert_eq!(pbx.depends.requires[0].to_string(), "core >= 13.0.22");
    assert!(pbx.exporter.is_some() && pbx.importer.is_some() && pbx.restore.reset == Reset::Command);
    assert_eq!(pbx.legacy[0].matches.modules[0].as_str(), "queues");
    assert!(
        pbx.sources
            .iter()
            .all(|source| source.section == SectionKind::Config && source.phase == SourcePhase::Auto)
    );
}

#[test]
fn iotstack_has_scripts_and_optional_files() {
    let stack = manifest("iotstack");
    let items = stack.items(&stack.paths).unwrap();
    let files: Vec<_> = items.iter().filter(|item| item.extent == Extent::File).collect();
    assert!(
        files.len() == 8 && files.iter().all(|item| item.optional),
        "every file matches a pattern of `optional`"
    );
    assert_eq!(stack.hooks.backup_post[0].phase, HookPhase::Published);
    assert_eq!(
        stack.hooks.backup_pre[0].cwd.as_ref().unwrap().resolve(&stack.paths).unwrap(),
        Path::new("/home/pi/IOTstack")
    );
    assert_eq!(stack.spaces.keep, Some(Keep::Count(2)));
}

#[test]
fn the_short_one_and_the_job_are_accepted() {
    assert_eq!(manifest("short").module.id.as_str(), "notes");
    for entry in fs::read_dir(data("jobs")).unwrap() {
        let path = entry.unwrap().path();
        Job::parse("job", &fs::read(path).unwrap()).unwrap_or_else(|problems| panic!("{problems}"));
    }
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/modules/MANIFEST.md")).unwrap();
    let short = fs::read_to_string(data("manifests/short.toml")).unwrap();
    let plain = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split('#').next().unwrap().trim_end().to_owned()).collect()
    };
    let shown = guide.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(plain(shown), plain(&short), "the guide's first example is the tested file");
    for entry in fs::read_dir(data("manifests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_shown = name == "short.toml" || guide.contains(&format!("(../tests/data/manifests/{name})"));
        assert!(is_shown, "the guide does not show {name}");
        manifest(name.trim_end_matches(".toml"));
    }
}
