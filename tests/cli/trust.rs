//! Root in the directory of a user who means ill: nothing of theirs runs. Each case plants a command that would leave
//! a trace, and asserts that there is none and that the message names the step that is wrong.

use super::support::{PermissionsExt, Place, is_root, skip};
use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user who means ill: `nobody`.
const OTHER: u32 = 65534;

/// A place of root's with a directory `theirs` of another user.
struct Hall {
    place: Place,
    /// Who runs what is planted leaves this file.
    trace: PathBuf,
}

impl Hall {
    fn new() -> Option<Self> {
        if !is_root() {
            skip("only root can give files to another user");
            return None;
        }
        let place = Place::private();
        let trace = place.path("trace");
        fs::create_dir(place.path("theirs")).unwrap();
        fs::create_dir(place.path("ours")).unwrap();
        give(&place.path("theirs"));
        // A repository that would open with what the planted command prints.
        fs::write(place.path("passphrase"), "open sesame").unwrap();
        place.run(["-r", "repo", "init", "--passphrase-file", "passphrase"]).ok();
        Some(Self { place, trace })
    }

    /// Returns a configuration whose command leaves a trace.
    fn evil_config(&self) -> String {
        let (repo, trace) = (self.place.path("repo"), self.trace.display());
        format!(
            "repository = \"{}\"\npassphrase-command = \"touch '{trace}'; echo open sesame\"\n",
            repo.display()
        )
    }

    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.place.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs a command in `dir` and asserts that it is refused because of `wrong`, and nothing planted ran.
    #[track_caller]
    fn refused(&self, mut command: Command, dir: &Path, wrong: &Path) -> super::support::Run {
        command.current_dir(dir);
        let run = super::support::finish(command, b"").ends(2);
        assert!(run.err.contains(wrong.to_str().unwrap()), "{} is not named: {}", wrong.display(), run.err);
        assert!(!self.trace.exists(), "what another user wrote was run");
        run
    }
}

fn give(path: &Path) {
    lchown(path, Some(OTHER), Some(OTHER)).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// The command that is planted does run where root wrote it: else the other tests would prove nothing.
#[test]
fn what_root_wrote_runs() {
    let Some(hall) = Hall::new() else { return };
    let config = hall.write("ours/dedup.toml", &hall.evil_config());
    hall.place.run(["--config", config.to_str().unwrap(), "snapshots"]).ok();
    assert!(hall.trace.exists());
}

#[test]
fn a_configuration_in_their_directory_is_refused() {
    let Some(hall) = Hall::new() else { return };
    let theirs = hall.place.path("theirs");
    let config = hall.write("theirs/dedup.toml", &hall.evil_config());
    give(&config);
    let list = || hall.place.command(["snapshots"]);
    // The directory is named first: whoever owns it may put another file there.
    hall.refused(list(), &theirs, &theirs).says(&["chown root: ", "--config"]);
    // Root's file in their directory: they could have put it there, from elsewhere.
    chown(&config, Some(0), Some(0)).unwrap();
    hall.refused(list(), &theirs, &theirs);
    // Without commands too: it decides where root's data go, and under which key.
    fs::write(&config, "repository = \"/srv/theirs\"\n").unwrap();
    hall.refused(list(), &theirs, &theirs);
    // A directory below it that is root's.
    fs::create_dir(theirs.join("sub")).unwrap();
    fs::write(theirs.join("sub/dedup.toml"), hall.evil_config()).unwrap();
    hall.refused(list(), &theirs.join("sub"), &theirs);
}

#[test]
fn a_configuration_that_others_may_write_is_refused() {
    let Some(hall) = Hall::new() else { return };
    let ours = hall.place.path("ours");
    let config = hall.write("ours/dedup.toml", &hall.evil_config());
    let list = || hall.place.command(["snapshots"]);
    for mode in [0o646, 0o664] {
        set_mode(&config, mode);
        hall.refused(list(), &ours, &config).says(&["chmod go-w "]);
    }
    set_mode(&config, 0o644);
    for mode in [0o777, 0o775, 0o1777] {
        set_mode(&ours, mode);
        hall.refused(list(), &ours, &ours);
    }
    set_mode(&ours, 0o755);
    give(&config);
    hall.refused(list(), &ours, &config);
    // Nor commands of root's own beside whatever lies here.
    chown(&config, Some(0), Some(0)).unwrap();
    hall.refused(list(), &ours, Path::new("dedup.toml")).says(&["must not hold commands"]);
}

#[test]
fn a_configuration_behind_a_link_is_refused() {
    let Some(hall) = Hall::new() else { return };
    let (ours, theirs) = (hall.place.path("ours"), hall.place.path("theirs"));
    let list = || hall.place.command(["snapshots"]);
    let (good, bad) =
        (hall.write("good.toml", &hall.evil_config()), hall.write("theirs/bad.toml", &hall.evil_config()));
    let link = ours.join("dedup.toml");
    symlink(&bad, &link).unwrap();
    hall.refused(list(), &ours, &theirs);
    fs::remove_file(&link).unwrap();
    symlink(&good, &link).unwrap();
    give(&link);
    hall.refused(list(), &ours, &link);
    // By a directory of theirs to a file of ours.
    symlink(&ours, theirs.join("way")).unwrap();
    let way = theirs.join("way/dedup.toml");
    hall.refused(
        hall.place.command(["--config".as_ref(), way.as_os_str(), "snapshots".as_ref()]),
        &ours,
        &theirs,
    );
}

#[test]
fn a_configuration_that_is_named_or_found_in_their_home_is_refused() {
    let Some(hall) = Hall::new() else { return };
    let (ours, theirs) = (hall.place.path("ours"), hall.place.path("theirs"));
    let config = hall.write("theirs/.config/dedup/dedup.toml", &hall.evil_config());
    let named = hall.place.command(["--config".as_ref(), config.as_os_str(), "snapshots".as_ref()]);
    hall.refused(named, &ours, &theirs);
    // `sudo` may keep the home of whoever called it.
    let mut at_home = hall.place.command(["snapshots"]);
    at_home.env("HOME", &theirs);
    hall.refused(at_home, &ours, &theirs);
    let mut by_variable = hall.place.command(["snapshots"]);
    by_variable.env("XDG_CONFIG_HOME", theirs.join(".config"));
    hall.refused(by_variable, &ours, &theirs);
}

/// `/tmp` keeps others from removing a file, not from being there first.
#[test]
fn root_reads_no_configuration_in_tmp() {
    let Some(hall) = Hall::new() else { return };
    let public = Place::empty();
    fs::write(public.path("dedup.toml"), hall.evil_config()).unwrap();
    let dir = public.path("");
    let run = hall.refused(hall.place.command(["snapshots"]), &dir, &std::env::temp_dir());
    assert!(!run.err.contains("chmod"), "{}", run.err);
}

impl Hall {
    /// Returns a manifest whose programs leave a trace.
    fn evil_manifest(&self) -> String {
        let run = format!("[\"/bin/sh\", \"-c\", \"touch '{}'\"]", self.trace.display());
        format!(
            "schema = 1\n[module]\nid = \"evil\"\n[data]\nfiles = [\"/etc/hostname\"]\n[setup]\nstate = {run}\n\
             [hooks]\nbackup_pre = {{ run = {run} }}\n"
        )
    }

    /// Lists the modules of `dir` and asserts that none can be used, that `wrong` is named, and that nothing ran.
    #[track_caller]
    fn unused(&self, dir: &Path, home: &Path, wrong: &Path) {
        let arguments = ["module", "list", "--json", "--modules-dir", dir.to_str().unwrap()];
        let mut command = self.place.command(arguments);
        command.env("HOME", home);
        let run = super::support::finish(command, b"").ok();
        let list = run.json();
        let states: Vec<_> =
            list["modules"].as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
        assert!(states.iter().all(|state| state == "invalid"), "{list}");
        assert!(
            run.out.contains(&format!("{} ", wrong.display())),
            "{} is not named: {}",
            wrong.display(),
            run.out
        );
        let mut show = self.place.command(["module", "show", "evil", "--modules-dir", dir.to_str().unwrap()]);
        show.env("HOME", home);
        assert_ne!(super::support::finish(show, b"").code, 0);
        assert!(!self.trace.exists(), "what another user wrote was run");
    }
}

#[test]
fn manifests_of_theirs_are_not_used() {
    let Some(hall) = Hall::new() else { return };
    let (ours, theirs, home) = (hall.place.path("ours"), hall.place.path("theirs"), hall.place.path("home"));
    let text = hall.evil_manifest();
    // In their directory, which is named; whoever the file belongs to.
    let file = hall.write("theirs/evil.toml", &text);
    hall.unused(&theirs, &home, &theirs);
    give(&file);
    hall.unused(&theirs, &home, &theirs);
    // In their home, if that is where root's is said to be.
    hall.write("theirs/.config/dedup/modules.d/evil.toml", &text);
    fs::create_dir(hall.place.path("empty")).unwrap();
    hall.unused(&hall.place.path("empty"), &theirs, &theirs);
    // In our directory: theirs, writable, or a link to theirs.
    let file = hall.write("ours/evil.toml", &text);
    give(&file);
    hall.unused(&ours, &home, &file);
    chown(&file, Some(0), Some(0)).unwrap();
    for mode in [0o666, 0o664] {
        set_mode(&file, mode);
        hall.unused(&ours, &home, &file);
    }
    fs::remove_file(&file).unwrap();
    symlink(theirs.join("evil.toml"), &file).unwrap();
    hall.unused(&ours, &home, &theirs);
    // In our directory that a group may write.
    fs::remove_file(&file).unwrap();
    fs::write(&file, &text).unwrap();
    set_mode(&ours, 0o775);
    hall.unused(&ours, &home, &ours);
}

/// A manifest of root's that names programs of theirs: told before a run meets it.
#[test]
fn programs_of_theirs_would_not_be_started() {
    let Some(hall) = Hall::new() else { return };
    let theirs = hall.place.path("theirs");
    let ours = |name: &str| {
        let path = hall.write(&format!("ours/{name}"), "#!/bin/sh\n");
        set_mode(&path, 0o755);
        path
    };
    let good = ours("good");
    let script = hall.write("theirs/script", "#!/bin/sh\n");
    set_mode(&script, 0o755);
    let owned = ours("owned");
    give(&owned);
    let writable = ours("writable");
    set_mode(&writable, 0o775);
    let link = hall.place.path("ours/link");
    symlink(&script, &link).unwrap();
    let list: [(&[&str], Option<&Path>); 8] = [
        (&[good.to_str().unwrap()], None),
        (&[script.to_str().unwrap()], Some(&theirs)),
        (&[owned.to_str().unwrap()], Some(&owned)),
        (&[writable.to_str().unwrap()], Some(&writable)),
        (&[link.to_str().unwrap()], Some(&theirs)),
        (&["sh", script.to_str().unwrap()], Some(&theirs)),
        (&["env", "A=1", "nice", script.to_str().unwrap()], Some(&theirs)),
        (&["./script"], Some(Path::new("./script"))),
    ];
    let hooks = list.map(|(argv, _)| format!("{{ run = {argv:?} }}"));
    let text = format!("schema = 1\n[module]\nid = \"app\"\n[hooks]\nbackup_pre = [{}]\n", hooks.join(", "));
    hall.write("modules/app.toml", &text);
    let dir = hall.place.path("modules");
    let mut command =
        hall.place.command(["module", "show", "app", "--json", "--modules-dir", dir.to_str().unwrap()]);
    command.env("PATH", "/usr/bin:/bin").current_dir(&theirs);
    let shown = super::support::finish(command, b"").ok().json();
    for ((argv, wrong), program) in list.iter().zip(shown["programs"].as_array().unwrap()) {
        let refused = program["refused"].as_str();
        match wrong {
            None => assert_eq!(refused, None, "{argv:?}"),
            Some(path) => {
                assert!(refused.unwrap_or_default().contains(path.to_str().unwrap()), "{argv:?}: {refused:?}")
            }
        }
    }
}
