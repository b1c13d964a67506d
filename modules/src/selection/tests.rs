//! Choosing, with reasons. Random graphs beside a naive model: `tests/modules/order.rs` of the workspace.

use super::*;
use crate::manifest::job::Modules;

fn id(text: &str) -> ModuleId {
    ModuleId::parse(text).unwrap()
}

/// Makes a candidate: id, then what it requires.
fn module(name: &str, requires: &[&str]) -> Candidate {
    Candidate {
        id: id(name),
        version: Version::parse("2.0").unwrap(),
        enabled: true,
        requires: requires.iter().map(|text| Requirement::parse(text).unwrap()).collect(),
        ..Candidate::default()
    }
}

fn named(ids: &[&str]) -> Modules {
    Modules::Named(ids.iter().map(|text| id(text)).collect())
}

/// Returns the chosen ones with their reasons: `a: named`.
fn shown(selection: &Selection) -> Vec<String> {
    selection.chosen.iter().map(|chosen| format!("{}: {}", chosen.id, chosen.reason)).collect()
}

#[test]
fn requirements_are_pulled_in_with_a_reason_and_come_first() {
    let modules =
        [module("web", &["Db", "cache"]), module("db", &["disk"]), module("disk", &[]), module("cache", &[])];
    let named_web = select(&modules, &Request::backup(named(&["WEB"]))).unwrap();
    assert_eq!(
        shown(&named_web),
        ["cache: required by web", "disk: required by db", "db: required by web", "web: named"]
    );
    let alone = Request { dependencies: false, ..Request::backup(named(&["web"])) };
    let alone = select(&modules, &alone).unwrap();
    assert_eq!(shown(&alone), ["web: named"]);
    let remarks: Vec<String> = alone.remarks.iter().map(ToString::to_string).collect();
    assert_eq!(
        remarks,
        ["web requires db, which is not selected", "web requires cache, which is not selected"]
    );
}

#[test]
fn after_orders_and_never_selects() {
    let mut first = module("a", &[]);
    first.after = vec![id("z"), id("nowhere")];
    let modules = [first, module("z", &[])];
    assert_eq!(shown(&select(&modules, &Request::backup(named(&["a"]))).unwrap()), ["a: named"]);
    let all = select(&modules, &Request::backup(Modules::All)).unwrap();
    assert_eq!(all.chosen.iter().map(|chosen| chosen.id.as_str()).collect::<Vec<_>>(), ["z", "a"]);
    assert!(all.remarks.is_empty());
}

#[test]
fn what_is_left_out_is_told_with_its_reason() {
    let (mut off, mut new, mut vital) = (module("off", &[]), module("new", &[]), module("vital", &[]));
    (off.enabled, new.ready, vital.essential) = (false, Ready::NeedsSetup, true);
    let modules = [module("app", &["off", "new", "gone"]), off, new, vital, module("extra", &[])];
    let request = Request { unselected: vec![id("extra"), id("vital")], ..Request::backup(Modules::All) };
    let all = select(&modules, &request).unwrap();
    assert_eq!(shown(&all), ["vital: essential: cannot be left out", "app: all were asked for"]);
    let left: Vec<_> = all.left_out.iter().map(|left| (left.id.as_str(), left.why, left.wanted)).collect();
    let expected = [
        ("extra", WhyNot::Unselected, false),
        ("new", WhyNot::NeedsSetup, true),
        ("off", WhyNot::Disabled, true),
    ];
    assert_eq!(left, expected);
    let remarks: Vec<String> = all.remarks.iter().map(ToString::to_string).collect();
    assert_eq!(
        remarks,
        [
            "app requires off, which is left out: disabled in its manifest",
            "app requires new, which is left out: not set up yet",
            "app requires gone, which is not there",
        ]
    );
    // A disabled module that is named is told, not taken.
    let one = select(&modules, &Request::backup(named(&["off"]))).unwrap();
    assert!(one.chosen.is_empty() && one.left_out[0].wanted);
}

#[test]
fn a_restore_sets_up_and_counts_what_is_installed() {
    let mut new = module("new", &["core >= 3", "base"]);
    new.ready = Ready::NeedsSetup;
    let installed = vec![(id("core"), Version::parse("2.9").unwrap()), (id("base"), Version::default())];
    let request = Request { installed, ..Request::restore(Modules::All) };
    let restore = select(&[new], &request).unwrap();
    assert_eq!(shown(&restore), ["new: all were asked for"]);
    let remarks: Vec<String> = restore.remarks.iter().map(ToString::to_string).collect();
    assert_eq!(remarks, ["new requires core >= 3, but its version is 2.9"]);
}

#[test]
fn former_ids_lead_to_their_module() {
    let mut queue = module("ringqueue", &[]);
    queue.aliases = vec![id("queues")];
    let mut other = module("other", &["queues"]);
    other.aliases = vec![id("ringqueue")];
    let modules = [queue, other.clone()];
    let selection = select(&modules, &Request::backup(named(&["other"]))).unwrap();
    // A present id wins over a former one of somebody else.
    assert_eq!(shown(&selection), ["ringqueue: required by other", "other: named"]);
    other.aliases = vec![id("queues")];
    let modules = [modules[0].clone(), Candidate { requires: vec![], ..other }];
    let error = select(&modules, &Request::backup(named(&["queues"]))).unwrap_err();
    assert_eq!(error.to_string(), "queues is a former id of other, ringqueue; name one of them");
}

#[test]
fn what_cannot_be_chosen_is_refused_by_name() {
    let modules = [module("wordpress", &[]), module("mumble", &[])];
    let error = select(&modules, &Request::backup(named(&["wordpres"]))).unwrap_err();
    assert_eq!(error.to_string(), "there is no module wordpres; did you mean wordpress?");
    let unselected = Request { unselected: vec![id("nothing")], ..Request::backup(Modules::All) };
    assert!(
        matches!(select(&modules, &unselected), Err(SelectError::Unknown { known, .. }) if known.len() == 2)
    );
    let twice = [module("a", &[]), module("A", &[])];
    assert!(matches!(select(&twice, &Request::backup(Modules::All)), Err(SelectError::Duplicate { .. })));
}

#[test]
fn every_circle_is_named_with_its_members() {
    let mut back = module("x", &[]);
    back.after = vec![id("y")];
    let modules = [
        module("c", &["a"]),
        module("a", &["b"]),
        module("b", &["c"]),
        back,
        module("y", &["x"]),
        module("behind", &["a"]),
        module("free", &[]),
    ];
    let error = select(&modules, &Request::backup(Modules::All)).unwrap_err();
    assert_eq!(error.to_string(), "modules wait for one another in a circle: a → b → c → a; x → y → x");
    assert_eq!(shown(&select(&modules, &Request::backup(named(&["free"]))).unwrap()), ["free: named"]);
}

#[test]
fn a_long_chain_needs_no_stack() {
    let count = 100_000;
    let chain: Vec<Vec<usize>> =
        (0..count).map(|n| if n + 1 < count { vec![n + 1] } else { vec![] }).collect();
    let ranks: Vec<usize> = (0..count).collect();
    let order = order::topological(&ranks, &chain).unwrap();
    assert!(order.iter().rev().copied().eq(0..count));
    let circle: Vec<Vec<usize>> = (0..count).map(|n| vec![(n + 1) % count]).collect();
    let circles = order::topological(&ranks, &circle).unwrap_err();
    assert!(circles.len() == 1 && circles[0].len() == count && circles[0][0] == 0);
    assert_eq!(
        order::topological(&[0, 1], &[vec![7, 1], vec![]]),
        Ok(vec![1, 0]),
        "out of range is left out"
    );
}
