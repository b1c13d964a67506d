//! `dedup prune`, run as a person or a script runs it, and by several processes at once.

use super::support::{Place, noise, start, tree, wait};
use std::fs;
use std::path::Path;

/// Makes a place with `count` snapshots of `src`, each of another file and one that stays.
fn place(count: u64) -> (Place, Vec<String>) {
    let place = Place::new();
    let mut ids = Vec::new();
    for n in 0..count {
        fs::create_dir_all(place.path("src")).unwrap();
        fs::write(place.path("src/changes"), noise(n + 1, 1_500_000)).unwrap();
        fs::write(place.path(format!("src/stays-{n}")), noise(n + 100, 200_000)).unwrap();
        place.run(["backup", "src"]).ok();
        ids.push(place.newest());
    }
    (place, ids)
}

fn size(dir: &Path) -> u64 {
    tree(dir)
        .keys()
        .map(|path| dir.join(path))
        .filter(|path| path.is_file())
        .map(|path| path.metadata().unwrap().len())
        .sum()
}

#[test]
fn room_is_free_when_it_returns() {
    let (place, ids) = place(4);
    let packs = place.path("repo/packs");
    let before = size(&packs);
    place.run(["prune"]).ok();
    assert_eq!(size(&packs), before, "nothing to do");
    place.run(["forget", "--keep-last", "1"]).ok();
    let plan = place.run(["prune", "--dry-run", "--max-unused", "0", "--json"]).ok().json();
    assert_eq!(size(&packs), before, "a dry run changes nothing");
    assert_eq!(plan["snapshots_removed"].as_array().unwrap().len(), 3);
    assert!(plan["repack_packs"].as_u64().unwrap() > 0, "{plan}");
    let done = place.run(["prune", "--max-unused", "0"]).ok();
    assert!(done.out.contains("Freed:") && done.out.contains("3 removed, 1 stay"), "{}", done.out);
    let freed = before - size(&packs);
    assert!(freed > 4_300_000, "{freed} of {before}");
    place.run(["forget", "--undo", &ids[0]]).ends(1);
    place.assert_sound();
    place.assert_restores();
    fs::remove_dir_all(place.path("home/.cache")).unwrap();
    place.run(["backup", "src"]).ok();
    place.assert_sound();
    place.assert_restores();
}

#[test]
fn forget_can_prune_at_once() {
    let (place, _) = place(3);
    let before = size(&place.path("repo/packs"));
    let run = place.run(["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]).ok();
    assert!(run.out.contains("2 snapshots forgotten") && run.out.contains("Freed:"), "{}", run.out);
    assert!(size(&place.path("repo/packs")) < before / 2);
    place.assert_restores();
    // More than an hour's worth of snapshots at once: that is told, and nothing goes without a yes.
    for n in 0..18 {
        fs::write(place.path("src/changes"), noise(n, 2000)).unwrap();
        place.run(["backup", "src"]).ok();
    }
    let left = size(&place.path("repo/packs"));
    place.run(["forget", "--keep-last", "1", "--prune"]).ends(2).says(&["within an hour"]);
    assert_eq!(size(&place.path("repo/packs")), left);
    place.run(["forget", "--keep-last", "1", "--prune", "--yes", "--max-unused", "0"]).ok();
    place.run(["prune", "--max-unused", "0"]).ok();
    assert!(size(&place.path("repo/packs")) < left);
}

#[test]
fn what_would_remove_everything_is_refused() {
    let (place, _) = place(1);
    place.run(["forget", "--allow-empty", "--keep-last", "0"]).ok();
    place.run(["prune"]).ends(2).says(&["no snapshot", "--allow-empty"]);
    place.run(["prune", "--allow-empty"]).ok();
    assert_eq!(size(&place.path("repo/packs")), 0);
    place.run(["backup", "src"]).ok();
    place.assert_restores();
}

/// Two processes that back up, one that forgets and two that prune, on one repository, each with an index of its own.
/// A prune that listed packs before another one put their chunks into new ones said once that chunks were in no pack.
#[test]
fn processes_back_up_and_prune_at_once() {
    let (place, first) = place(1);
    for name in ["a", "b"] {
        fs::create_dir_all(place.path(name)).unwrap();
        fs::write(place.path(name).join("same"), noise(1, 1_500_000)).unwrap();
    }
    place.run(["forget", "--allow-empty", &first[0]]).ok();
    let mut made = Vec::new();
    for round in 0..4u64 {
        for name in ["a", "b"] {
            fs::write(place.path(name).join("own"), noise(round * 2 + u64::from(name == "a"), 700_000))
                .unwrap();
        }
        let run = |arguments: &[&str], index: &str| {
            let mut command = place.command(arguments);
            command.args(["--index-dir", index, "--json"]);
            start(command)
        };
        let children = [
            run(&["backup", "a"], "index-a"),
            run(&["prune", "--max-unused", "0", "--allow-empty"], "index-p"),
            run(&["backup", "b"], "index-b"),
            run(&["prune", "--max-unused", "0", "--allow-empty"], "index-q"),
        ];
        let [a, p, b, q] = children.map(|child| wait(child, b""));
        for (name, run) in [("a", a), ("b", b)] {
            let id = run.ok().summary()["snapshot_id"].as_str().unwrap().to_owned();
            made.push((id, name, tree(&place.path(name))));
        }
        for prune in [p, q] {
            assert!(matches!(prune.code, 0 | 5), "{}", prune.err);
        }
        if round == 1 {
            place.run(["forget", &made.remove(0).0]).ok();
        }
    }
    place.assert_sound();
    for (n, (id, name, expected)) in made.iter().enumerate() {
        let (from, to) = (format!("{id}:{}", place.path(name).display()), format!("out-{n}"));
        place.run(["restore", &from, "--target", &to]).ok();
        assert_eq!(tree(&place.path(&to)), *expected, "{name} {n}");
    }
    place.run(["prune", "--max-unused", "0", "--fence"]).ok();
    place.assert_sound();
}
