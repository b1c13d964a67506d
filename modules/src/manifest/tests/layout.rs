//! What a manifest declares, walked.

use crate::files::{FilesOptions, FilesSource};
use crate::manifest::Manifest;
use dedup_engine::backup::source::{Found, Source};
use dedup_engine::snapshot::{Outcome, Section};
use std::fs;
use std::path::Path;

#[test]
fn every_rule_of_a_manifest_reaches_the_walk() {
    let scratch = tempfile::tempdir_in("/var/tmp").unwrap();
    for file in [
        "srv/app/keep",
        "srv/app/x.tgz",
        "srv/app/node_modules/m",
        "srv/app/.cache/c",
        "srv/app/log/a",
        "srv/app/sub/log/b",
        "srv/app/up/a.part",
        "srv/app/up/b",
        "srv/app/up/log/x",
        "srv/app/key.pem",
        "etc/app.conf",
        "etc/app.d/1.conf",
    ] {
        let path = scratch.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    fs::write(scratch.path().join("srv/app/large"), [1; 2000]).unwrap();
    let text = r#"
        schema = 1
        [module]
        id = "app"
        [paths]
        APP = "/srv/app"
        [config]
        files = ["/etc/app.conf", "/etc/missing.conf"]
        glob = ["/etc/app.d/*.conf"]
        optional = ["/etc/miss*"]
        [data]
        directories = ["${APP}"]
        entries = [{ path = "${APP}/up", kind = "dir", exclude = ["*.part", "!/log"] }]
        exclude = ["/log"]
        [secrets]
        glob = ["${APP}/*.pem"]
        [exclude]
        use_defaults = true
        caches = true
        larger_than = "1K"
    "#;
    let manifest = Manifest::parse("app", text.as_bytes()).unwrap();
    let layout = manifest.layout(&manifest.paths, scratch.path()).unwrap();
    let walk = |section| {
        let source = FilesSource::of_section(&layout, section, FilesOptions::new("/var/tmp".into()));
        let mut seen = Vec::new();
        let mut visit = |found: Found<_>| {
            let (Found::Entry { path, .. } | Found::Problem { path, .. }) = found;
            seen.push(format!("{path:?}"));
            Ok(())
        };
        source.walk(&mut visit).unwrap();
        (seen, source.reports().iter().map(|report| report.outcome).collect::<Vec<_>>())
    };
    let (config, outcomes) = walk(Section::Config);
    assert_eq!(config, ["/", "/etc", "/etc/app.conf", "/etc/app.d", "/etc/app.d/1.conf"]);
    assert_eq!(outcomes, [Outcome::Stored, Outcome::Absent, Outcome::Stored]);
    let (data, outcomes) = walk(Section::Data);
    let below: Vec<_> = data.iter().filter_map(|path| path.strip_prefix("/srv/app/")).collect();
    assert_eq!(below, ["keep", "sub", "sub/log", "sub/log/b", "up", "up/b", "up/log", "up/log/x"]);
    assert_eq!(outcomes, [Outcome::Stored, Outcome::Stored]);
    assert_eq!(walk(Section::Secrets).0, ["/", "/srv", "/srv/app", "/srv/app/key.pem"]);

    let items = manifest.items(&manifest.paths).unwrap();
    let secret = items.iter().position(|item| item.path == Path::new("/srv/app/*.pem")).unwrap();
    assert_eq!(format!("{:?}", layout.places(secret)), "[/srv/app/key.pem]");
}
