//! What right manifests mean: defaults, the values of every kind of key, paths, services.

use super::super::drivers::{Driver, Format, OnError, SourcePhase};
use super::super::hooks::{HOOK_TIMEOUT, HookPhase, HookState, Where};
use super::super::items::{Extent, section_of};
use super::super::lifecycle::{Keep, LockdownWay, Restore, Revert, SetupState, Spaces};
use super::super::paths::Variables;
use super::super::programs::Program;
use super::super::secret::Secret;
use super::super::sections::{Section, SectionKind};
use super::super::services::{Operation, ServiceKind, StopMethod, start_order};
use super::{HEAD, right};
use std::path::Path;
use std::time::Duration;

#[test]
fn an_id_and_a_path_are_a_module() {
    let manifest = right("schema = 1\n[module]\nid = \"Notes\"\n[data]\ndirectories = [\"/srv/notes/\"]\n");
    assert_eq!(manifest.module.id.as_str(), "notes");
    assert_eq!(manifest.module.version.as_str(), "0");
    assert!(manifest.module.enabled && !manifest.module.essential && !manifest.stores_nothing());
    assert_eq!((&manifest.config, &manifest.secrets), (&Section::default(), &Section::default()));
    assert_eq!((manifest.restore, manifest.spaces), (Restore::default(), Spaces::default()));
    assert_eq!(manifest.setup.state, SetupState::AlwaysReady);
    let nothing = right("schema = 1\n[module]\nid = \"avahi\"\nessential = true\n");
    assert!(nothing.stores_nothing() && nothing.module.essential);
}

#[test]
fn a_source_has_sensible_defaults() {
    let text = format!(
        "{HEAD}[[source]]\nname = \"db\"\ndriver = \"postgresql\"\nselect = {{ databases = [\"a\"] }}\n"
    );
    let manifest = right(&text);
    let source = &manifest.sources[0];
    assert_eq!(
        (source.format, source.section, source.phase),
        (Format::Custom, SectionKind::Data, SourcePhase::Auto)
    );
    assert!(source.consistent && source.transaction && source.select.own_tables && source.timeout.is_none());
    assert_eq!((source.batch_rows, source.row_errors), (1000, OnError::Fail));
    assert!(
        Driver::Tables.is_of_platform() && !Driver::Mariadb.is_of_platform() && Driver::Redis.is_server()
    );
}

#[test]
fn secrets_are_references_and_never_shown() {
    let text = format!(
        "{HEAD}[[source]]\nname = \"db\"\ndriver = \"redis\"\nliteral_secrets = true\nendpoint = {{ password = \"hunter2\" }}\n\
         restore_endpoint = {{ host = \"other\", password = \"systemd:db\" }}\n"
    );
    let manifest = right(&text);
    let source = &manifest.sources[0];
    assert!(source.endpoint.as_ref().unwrap().has_literal_secret());
    let other = source.restore_endpoint.as_ref().unwrap();
    assert_eq!(other.password, Some(Secret::Systemd("db".into())));
    let shown = format!("{manifest:?}");
    assert!(!shown.contains("hunter2") && shown.contains("systemd:db"), "{shown}");
}

#[test]
fn hooks_differ_by_their_point() {
    let text = format!(
        "{HEAD}[hooks]\nbackup_pre = [{{ run = [\"a\"] }}, {{ run = [\"b | c\"], shell = true, phase = \"live\", timeout = \"0\" }}]\n\
         backup_post = {{ run = [\"d\"], where = {{ container = \"box\" }}, phase = \"published\", states = [\"fail\"] }}\n\
         check = {{ run = [\"e\"], env = {{ B = \"2\", A = \"1\" }}, cwd = \"${{LIB}}\" }}\n"
    );
    let hooks = right(&text).hooks;
    let points: Vec<_> = hooks.all().map(|(point, hook)| (point, hook.run[0].as_str())).collect();
    assert_eq!(points, [("backup_pre", "a"), ("backup_pre", "b | c"), ("backup_post", "d"), ("check", "e")]);
    let (first, second, post) = (&hooks.backup_pre[0], &hooks.backup_pre[1], &hooks.backup_post[0]);
    assert_eq!(
        (first.phase, first.on_error, first.timeout),
        (HookPhase::Stopped, OnError::Fail, Some(HOOK_TIMEOUT))
    );
    assert_eq!((second.phase, second.timeout, second.shell), (HookPhase::Live, None, true));
    assert_eq!((post.on_error, post.run_on_failure), (OnError::Continue, true));
    assert_eq!((&post.place, &post.states[..]), (&Where::Container("box".into()), &[HookState::Fail][..]));
    assert_eq!(hooks.check[0].env, [("A".into(), "1".into()), ("B".into(), "2".into())]);
}

#[test]
fn the_rest_of_the_keys_mean_what_they_say() {
    let manifest = right(&format!(
        "{HEAD}[lockdown]\non = [\"on\"]\noff = [\"off\"]\nrequired = true\n[setup]\nfile = \"/ready\"\ntimeout = \"1h\"\n\
         [spaces]\nkeep = \"30d\"\nrevert = {{ command = [\"undo\"] }}\n[importer]\nbuiltin = \"pbx\"\nmemory = \"64M\"\n\
         [limits]\nread_rate = \"50M/s\"\nnice = -5\n[x]\nanything = {{ goes = [1, 2.5, \"x\"] }}\n"
    ));
    let lockdown = manifest.lockdown.unwrap();
    assert!(
        lockdown.required
            && matches!(lockdown.way, LockdownWay::Commands { status, .. } if status.is_empty())
    );
    assert_eq!(manifest.setup.timeout, Some(Duration::from_secs(3600)));
    assert!(matches!(manifest.spaces.keep, Some(Keep::For(period)) if period.to_string() == "30d"));
    assert_eq!(manifest.spaces.revert, Revert::Command(vec!["undo".into()]));
    let importer = manifest.importer.unwrap();
    assert_eq!((importer.program, importer.memory_bytes), (Program::Builtin("pbx".into()), Some(64 << 20)));
    assert_eq!((importer.timeout, importer.idle_timeout), (None, Some(Duration::from_secs(600))));
    assert_eq!((manifest.limits.read_bytes_per_sec, manifest.limits.nice), (Some(50 << 20), Some(-5)));
    assert_eq!(manifest.free["anything"]["goes"].as_array().unwrap().len(), 3);
    assert!(matches!(right(&format!("{HEAD}[spaces]\nkeep = 2\n")).spaces.keep, Some(Keep::Count(2))));
    assert!(matches!(right(&format!("{HEAD}[spaces]\nkeep = \"2\"\n")).spaces.keep, Some(Keep::Count(2))));
}

#[test]
fn the_deepest_declaration_decides_the_section() {
    let manifest = right(&format!(
        "{HEAD}[data]\ndirectories = [\"${{LIB}}\"]\nfiles = [\"/etc/app/public\", \"/etc/app/more.txt\"]\n\
         entries = [{{ path = \"${{LIB}}/mnt\", recurse = \"entry-only\" }}]\nglob = [\"/etc/app/*.d\"]\n\
         optional = [\"/etc/app/*.txt\"]\n[secrets]\ndirectories = [\"/etc/app\"]\n[config]\ndirectories = [\"/etc/app/conf\"]\n"
    ));
    let mut variables = manifest.paths.clone();
    variables.set("LIB", "/srv/elsewhere");
    let items = manifest.items(&variables).unwrap();
    let section = |path: &str| section_of(&items, Path::new(path));
    assert_eq!(section("/etc/app/key"), Some(SectionKind::Secrets));
    assert_eq!(section("/etc/app/public"), Some(SectionKind::Data));
    assert_eq!(section("/etc/app/conf/x/y"), Some(SectionKind::Config));
    assert_eq!(section("/srv/elsewhere/x"), Some(SectionKind::Data));
    // By components, not by letters (a flaw of a seed).
    assert_eq!((section("/etc/application"), section("/var/lib/a/x")), (None, None));
    let optional: Vec<_> =
        items.iter().filter(|item| item.optional).map(|item| item.path.as_path()).collect();
    assert_eq!(optional, [Path::new("/etc/app/more.txt")]);
    let extents: Vec<_> = items.iter().map(|item| item.extent).collect();
    let expected = [
        Extent::Tree,
        Extent::Tree,
        Extent::File,
        Extent::File,
        Extent::DirectoryOnly,
        Extent::Pattern,
        Extent::Tree,
    ];
    assert_eq!(extents, expected);
    assert!(manifest.items(&Variables::default()).is_err(), "LIB has no value here");
}

#[test]
fn services_start_in_order_and_only_those_that_are_meant() {
    let manifest = right(&format!(
        "{HEAD}[[service]]\nname = \"web\"\nkind = \"web-site\"\n[[service]]\nname = \"db\"\nkind = \"system\"\norder = -1\n\
         [[service]]\nname = \"left\"\nkind = \"container\"\nstop = false\n[[service]]\nname = \"late\"\nkind = \"command\"\n\
         during = [\"restore\"]\nstatus = [\"s\"]\nstop = [\"t\"]\nstart = [\"u\"]\n"
    ));
    assert_eq!(manifest.services[0].method, StopMethod::Disable);
    assert_eq!(
        (manifest.services[3].kind, &manifest.services[3].commands.stop[0][..]),
        (ServiceKind::Command, "t")
    );
    let other =
        right("schema = 1\n[module]\nid = \"b\"\n[[service]]\nname = \"b\"\nkind = \"system\"\norder = -9\n");
    let names = |operation| -> Vec<&str> {
        start_order([&manifest, &other], operation).iter().map(|own| own.service.name.as_str()).collect()
    };
    assert_eq!(names(Operation::Backup), ["db", "web", "b"]);
    assert_eq!(names(Operation::Restore), ["db", "web", "late", "b"]);
}
