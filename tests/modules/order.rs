//! Random graphs of modules: what is chosen and in which order, beside a naive model.

use crate::support::budget::Budget;
use crate::support::random::Random;
use dedup_modules::id::ModuleId;
use dedup_modules::manifest::job::Modules;
use dedup_modules::selection::{Candidate, Ready, Request, SelectError, Selection, select};
use dedup_modules::version::{Requirement, Version};
use std::collections::{BTreeMap, BTreeSet};

fn id(number: u64) -> ModuleId {
    ModuleId::parse(&format!("m{number}")).unwrap()
}

/// Makes up to 12 modules that require, follow and rename one another; a few names lead nowhere.
fn graph(random: &mut Random) -> Vec<Candidate> {
    let count = 1 + random.below(12);
    let density = 1 + random.below(6);
    let mut modules: Vec<Candidate> = (0..count)
        .map(|number| {
            let mut others = |chance: u64| -> Vec<u64> {
                (0..=count).filter(|other| *other != number && random.below(24) < chance).collect()
            };
            let (requires, after) = (others(density), others(density));
            Candidate {
                id: id(number),
                version: Version::parse("1.5").unwrap(),
                essential: random.below(4) == 0,
                enabled: random.below(8) != 0,
                ready: if random.below(8) == 0 { Ready::NeedsSetup } else { Ready::Ready },
                requires: requires
                    .into_iter()
                    .map(|other| {
                        let name =
                            if random.below(5) == 0 { format!("OLD{other}") } else { format!("M{other}") };
                        Requirement::parse(&name).unwrap()
                    })
                    .collect(),
                after: after.into_iter().map(id).collect(),
                aliases: vec![ModuleId::parse(&format!("old{number}")).unwrap()],
            }
        })
        .collect();
    // In any order.
    for n in (1..modules.len()).rev() {
        modules.swap(n, random.below(n as u64 + 1) as usize);
    }
    modules
}

fn request(random: &mut Random, modules: &[Candidate]) -> Request {
    let mut some = |chance: u64| -> Vec<ModuleId> {
        modules.iter().filter(|_| random.below(10) < chance).map(|module| module.id.clone()).collect()
    };
    let (named, unselected) = (some(3), some(1));
    let modules = if named.is_empty() || random.below(4) == 0 { Modules::All } else { Modules::Named(named) };
    Request {
        unselected,
        dependencies: random.below(4) != 0,
        with_needs_setup: random.below(4) == 0,
        ..Request::backup(modules)
    }
}

/// Finds a module by its number, whatever it is called.
fn number(name: &ModuleId) -> ModuleId {
    id(name.as_str().trim_start_matches(|c: char| !c.is_ascii_digit()).parse().unwrap())
}

/// What must be chosen: repeated until nothing changes.
fn naive_choice(modules: &BTreeMap<ModuleId, &Candidate>, request: &Request) -> BTreeSet<ModuleId> {
    let able = |module: &Candidate| {
        module.enabled
            && (request.with_needs_setup || module.ready == Ready::Ready)
            && !request.unselected.contains(&module.id)
    };
    let wanted = |module: &Candidate| match &request.modules {
        Modules::All => {
            able(module) || (module.essential && module.enabled && request.unselected.contains(&module.id))
        }
        Modules::Named(ids) => ids.contains(&module.id) && able(module),
    };
    let mut chosen: BTreeSet<ModuleId> =
        modules.values().filter(|module| wanted(module)).map(|module| module.id.clone()).collect();
    loop {
        let required =
            chosen.iter().flat_map(|id| &modules[id].requires).map(|requirement| number(&requirement.module));
        let more: Vec<ModuleId> = required
            .filter(|id| {
                request.dependencies
                    && !chosen.contains(id)
                    && modules.get(id).is_some_and(|module| able(module))
            })
            .collect();
        if more.is_empty() {
            return chosen;
        }
        chosen.extend(more);
    }
}

/// What a module waits for, of those chosen.
fn before(module: &Candidate, chosen: &BTreeSet<ModuleId>) -> BTreeSet<ModuleId> {
    let names = module.requires.iter().map(|requirement| &requirement.module).chain(&module.after);
    names.map(number).filter(|id| chosen.contains(id)).collect()
}

/// The order, found by looking through everything again for each place; what is left waits in circles.
fn naive_order(
    modules: &BTreeMap<ModuleId, &Candidate>,
    chosen: &BTreeSet<ModuleId>,
) -> (Vec<ModuleId>, BTreeSet<ModuleId>) {
    let (mut order, mut left) = (Vec::new(), chosen.clone());
    loop {
        let could =
            left.iter().filter(|id| before(modules[*id], chosen).iter().all(|other| order.contains(other)));
        let Some(next) = could.min_by_key(|id| (!modules[*id].essential, (*id).clone())).cloned() else {
            return (order, left);
        };
        left.remove(&next);
        order.push(next);
    }
}

fn chosen(selection: &Selection) -> Vec<ModuleId> {
    selection.chosen.iter().map(|chosen| chosen.id.clone()).collect()
}

#[test]
fn random_graphs_are_ordered_as_a_naive_model_does() {
    let budget = Budget::of("module graphs", 1000, 20_000);
    let (mut ordered, mut circular, mut pulled) = (0, 0, 0);
    budget.each(|_, random| {
        let list = graph(random);
        let request = request(random, &list);
        let modules: BTreeMap<ModuleId, &Candidate> =
            list.iter().map(|module| (module.id.clone(), module)).collect();
        let expected = naive_choice(&modules, &request);
        let (order, left) = naive_order(&modules, &expected);
        let result = select(&list, &request);
        let mut turned = list.clone();
        turned.reverse();
        assert_eq!(select(&turned, &request), result, "the order of the input shows");
        match result {
            Ok(selection) => {
                assert!(left.is_empty(), "{left:?} wait for one another");
                assert_eq!(chosen(&selection), order);
                tell_all(&modules, &request, &selection);
                ordered += 1;
                pulled += usize::from(
                    selection.chosen.iter().any(|one| one.reason.to_string().starts_with("required by")),
                );
            }
            Err(SelectError::Circle { circles }) => {
                assert!(!left.is_empty(), "{circles:?}, but the model ordered {order:?}");
                hold_circles(&modules, &expected, &left, &circles);
                circular += 1;
            }
            Err(error) => panic!("{error}"),
        }
    });
    let many = budget.cases() >= 1000;
    assert!(
        !many || (ordered > 300 && circular > 100 && pulled > 50),
        "{ordered} ordered, {circular} circular, {pulled}"
    );
    budget.tell(&format!("{ordered} ordered, {circular} refused for circles, each named"));
}

/// Whatever was asked for or is required, and is not chosen, is told.
fn tell_all(modules: &BTreeMap<ModuleId, &Candidate>, request: &Request, selection: &Selection) {
    let taking_part: BTreeSet<ModuleId> = chosen(selection).into_iter().collect();
    let left: BTreeSet<&ModuleId> = selection.left_out.iter().map(|left| &left.id).collect();
    let asked: Vec<&ModuleId> = match &request.modules {
        Modules::All => modules.keys().collect(),
        Modules::Named(ids) => ids.iter().collect(),
    };
    assert!(
        asked.iter().all(|id| taking_part.contains(*id) != left.contains(*id)),
        "{asked:?}: {selection:?}"
    );
    for id in &taking_part {
        for requirement in &modules[id].requires {
            let told =
                selection.remarks.iter().any(|remark| remark.id == *id && remark.requirement == *requirement);
            assert_eq!(told, !taking_part.contains(&number(&requirement.module)), "{id}: {requirement}");
        }
    }
}

/// Each circle is one, no two share a member, and whatever cannot be ordered is in one or waits for one.
fn hold_circles(
    modules: &BTreeMap<ModuleId, &Candidate>,
    chosen: &BTreeSet<ModuleId>,
    left: &BTreeSet<ModuleId>,
    circles: &[Vec<ModuleId>],
) {
    let mut reached = BTreeSet::new();
    for circle in circles {
        assert!(circle.len() > 1);
        for (n, id) in circle.iter().enumerate() {
            assert!(before(modules[id], chosen).contains(&circle[(n + 1) % circle.len()]), "{circle:?}");
            assert!(reached.insert(id.clone()), "{id} is in two of {circles:?}");
        }
    }
    assert!(reached.is_subset(left));
    while let Some(next) = left.iter().find(|id| {
        !reached.contains(*id) && before(modules[*id], chosen).iter().any(|other| reached.contains(other))
    }) {
        reached.insert(next.clone());
    }
    assert_eq!(&reached, left, "{circles:?}");
}
