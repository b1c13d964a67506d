//! Storages that lie: somebody without keys hides, replays, forks, swaps and mixes objects, and the next machine that had
//! seen a newer state must notice. What a machine that sees the repository for the first time can tell stands beside it.

mod attacks;
mod scene;

use self::attacks::{Attack, attacks};
use self::scene::{Noticed, Scene};
use crate::support::budget::Budget;
use std::collections::BTreeMap;

/// Every attack, met by both machines that had seen the last state, and by one that has seen nothing.
#[test]
fn every_attack_on_the_storage_is_noticed_by_who_knew_better() {
    let scene = Scene::new();
    let attacks = attacks(&scene);
    assert!(attacks.len() >= 60, "{} attacks", attacks.len());
    let all = attacks.len() as u64;
    // In a short run most newcomers only list snapshots.
    let budget = Budget::of("R19 attacks on the storage", all - 1, all);
    let is_full = budget.cases() >= all;
    let (mut unnoticed, mut first) = (Vec::new(), BTreeMap::new());
    for Attack { name, storage, at_first_contact } in &attacks {
        for client in [&scene.one, &scene.two] {
            let noticed = scene.meet(storage, client.twin());
            if noticed == Noticed::Not {
                unnoticed.push(format!("{name}: by {}", client.host));
            }
        }
        let newcomer = scene.newcomer();
        // What entries say of other logs is all that a newcomer has against hidden ones.
        let is_whole = is_full || name.contains("are hidden");
        let noticed = if is_whole { scene.meet(storage, newcomer) } else { scene.glance(storage, &newcomer) };
        *first.entry(noticed).or_insert(0) += 1;
        let is_wrong = *at_first_contact != (noticed != Noticed::Not);
        if is_wrong && (is_whole || noticed != Noticed::Not) {
            unnoticed.push(format!("{name}: at first contact {noticed:?}"));
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
    budget.tell(&format!("{} of {} noticed; at first contact {first:?}", attacks.len(), attacks.len()));
}

/// Whoever cries wolf is not believed: nothing was done, or only what anybody may do.
#[test]
fn nobody_is_accused_wrongly() {
    let scene = Scene::new();
    for (name, storage) in scene.honest() {
        for client in [scene.one.twin(), scene.two.twin(), scene.newcomer()] {
            let host = client.host;
            assert_eq!(scene.meet(&storage, client), Noticed::Not, "{name}: {host}");
        }
    }
    // Machines that were set back to what they remembered earlier.
    for (moment, client) in scene.images() {
        assert_eq!(scene.meet(&scene.last().storage, client), Noticed::Not, "as of {moment}");
    }
}

/// What was noticed is not forgotten: a machine that stopped goes on to stop, until somebody decides.
#[test]
fn what_is_wrong_is_never_remembered() {
    let scene = Scene::new();
    for Attack { name, storage, .. } in attacks(&scene) {
        let client = scene.one.twin();
        if scene.glance(&storage, &client.twin()) != Noticed::AtOnce {
            continue;
        }
        let before = std::fs::read(client.memory()).unwrap();
        for _ in 0..2 {
            assert!(client.look(scene.fork(&storage)).is_err(), "{name}");
        }
        assert!(std::fs::read(client.memory()).unwrap() == before, "{name}: it is remembered");
        // The true storage is still the one that is known.
        assert!(client.look(scene.fork(&scene.last().storage)).is_ok(), "{name}");
    }
}
