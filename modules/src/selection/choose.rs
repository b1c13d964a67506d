//! Chooses modules, and says why.

use super::order::topological;
use super::{Chosen, LeftOut, Reason, Remark, Selection, Unmet, WhyNot};
use crate::id::ModuleId;
use crate::manifest::job::Modules;
use crate::manifest::{Manifest, nearest};
use crate::planted::{Bug, planted};
use crate::version::{Requirement, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Whether a module can be used, as its `[setup]` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ready {
    /// It is, if only after an upgrade.
    #[default]
    Ready,
    /// It was never set up.
    NeedsSetup,
}

/// A module that could take part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: ModuleId,
    /// Former ids.
    pub aliases: Vec<ModuleId>,
    /// The version of its data.
    pub version: Version,
    /// Whether it comes first among equals and cannot be left out of all.
    pub essential: bool,
    /// Whether its manifest lets it take part.
    pub enabled: bool,
    /// Whether it can be used.
    pub ready: Ready,
    /// What it requires.
    pub requires: Vec<Requirement>,
    /// What it comes after.
    pub after: Vec<ModuleId>,
}

impl Candidate {
    /// Takes what a manifest says.
    pub fn of(manifest: &Manifest, ready: Ready) -> Self {
        let module = &manifest.module;
        Self {
            id: module.id.clone(),
            aliases: module.aliases.clone(),
            version: module.version.clone(),
            essential: module.essential,
            enabled: module.enabled,
            ready,
            requires: manifest.depends.requires.clone(),
            after: manifest.depends.after.clone(),
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which modules.
    pub modules: Modules,
    /// Which to leave out: of all, or of what others require. In a restore: those to ignore.
    pub unselected: Vec<ModuleId>,
    /// Whether what they require is chosen too.
    pub dependencies: bool,
    /// Whether modules that were never set up take part: in a restore, which sets them up.
    pub with_needs_setup: bool,
    /// Modules that are on this machine though no candidates: in a restore, what need not be restored to be there.
    pub installed: Vec<(ModuleId, Version)>,
}

impl Request {
    /// Asks for a backup of these modules and what they require.
    pub fn backup(modules: Modules) -> Self {
        Self {
            modules,
            unselected: Vec::new(),
            dependencies: true,
            with_needs_setup: false,
            installed: Vec::new(),
        }
    }

    /// Asks for a restore of these modules only.
    pub fn restore(modules: Modules) -> Self {
        Self { dependencies: false, with_needs_setup: true, ..Self::backup(modules) }
    }
}

/// Why nothing can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A module was named that is not there.
    #[error("there is no module {name}{}", near.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    Unknown {
        /// The name.
        name: ModuleId,
        /// What was probably meant.
        near: Option<ModuleId>,
        /// What there is, sorted.
        known: Vec<ModuleId>,
    },
    /// Two modules have the same id.
    #[error("there are two modules {id}; an id is used once")]
    Duplicate {
        /// The id.
        id: ModuleId,
    },
    /// A former id leads to several modules.
    #[error("{alias} is a former id of {}; name one of them", list(of, ", "))]
    Ambiguous {
        /// The former id.
        alias: ModuleId,
        /// The modules, sorted.
        of: Vec<ModuleId>,
    },
    /// Modules wait for one another, so that none can come first.
    #[error("modules wait for one another in a circle: {}", circles.iter().map(|circle| circle_text(circle)).collect::<Vec<_>>().join("; "))]
    Circle {
        /// Each circle: a member waits for the next one, the last for the first.
        circles: Vec<Vec<ModuleId>>,
    },
}

fn list(ids: &[ModuleId], between: &str) -> String {
    ids.iter().map(ModuleId::as_str).collect::<Vec<_>>().join(between)
}

fn circle_text(circle: &[ModuleId]) -> String {
    let first = circle.first().map(ModuleId::as_str).unwrap_or_default();
    format!("{} → {first}", list(circle, " → "))
}

/// The candidates by id, and by former id.
struct Names<'c> {
    ids: BTreeMap<&'c ModuleId, &'c Candidate>,
    aliases: BTreeMap<&'c ModuleId, BTreeSet<&'c ModuleId>>,
}

impl<'c> Names<'c> {
    fn new(candidates: &'c [Candidate]) -> Result<Self, SelectError> {
        let mut names = Self { ids: BTreeMap::new(), aliases: BTreeMap::new() };
        for candidate in candidates {
            if names.ids.insert(&candidate.id, candidate).is_some() {
                return Err(SelectError::Duplicate { id: candidate.id.clone() });
            }
            for alias in &candidate.aliases {
                names.aliases.entry(alias).or_default().insert(&candidate.id);
            }
        }
        Ok(names)
    }

    /// Finds a module by its id, else by a former one.
    fn find(&self, name: &ModuleId) -> Result<Option<&'c Candidate>, SelectError> {
        if let Some(candidate) = self.ids.get(name) {
            return Ok(Some(candidate));
        }
        let Some(of) = self.aliases.get(name) else { return Ok(None) };
        match of.iter().collect::<Vec<_>>()[..] {
            [only] => Ok(self.ids.get(*only).copied()),
            _ => Err(SelectError::Ambiguous {
                alias: name.clone(),
                of: of.iter().map(|id| (*id).clone()).collect(),
            }),
        }
    }

    fn unknown(&self, name: &ModuleId) -> SelectError {
        let all = self.ids.keys().chain(self.aliases.keys()).map(|id| id.as_str());
        let near = nearest(name.as_str(), all).and_then(|near| ModuleId::parse(near).ok());
        SelectError::Unknown {
            name: name.clone(),
            near,
            known: self.ids.keys().map(|id| (*id).clone()).collect(),
        }
    }
}

/// Chooses modules and orders them; see the module's head for the rules.
pub fn select(candidates: &[Candidate], request: &Request) -> Result<Selection, SelectError> {
    let names = Names::new(candidates)?;
    let mut unselected: BTreeSet<&ModuleId> = BTreeSet::new();
    for name in &request.unselected {
        let found = names.find(name)?.ok_or_else(|| names.unknown(name))?;
        unselected.insert(&found.id);
    }
    let why_not = |candidate: &Candidate| {
        if unselected.contains(&candidate.id) {
            Some(WhyNot::Unselected)
        } else if !candidate.enabled {
            Some(WhyNot::Disabled)
        } else if candidate.ready == Ready::NeedsSetup && !request.with_needs_setup {
            Some(WhyNot::NeedsSetup)
        } else {
            None
        }
    };
    let mut chosen: BTreeMap<&ModuleId, (&Candidate, Reason)> = BTreeMap::new();
    let mut left_out: BTreeMap<&ModuleId, (WhyNot, bool)> = BTreeMap::new();
    match &request.modules {
        Modules::All => {
            for candidate in names.ids.values() {
                match why_not(candidate) {
                    None => drop(chosen.insert(&candidate.id, (candidate, Reason::All))),
                    Some(WhyNot::Unselected) if candidate.essential && candidate.enabled => {
                        chosen.insert(&candidate.id, (candidate, Reason::Essential));
                    }
                    Some(why) => drop(left_out.insert(&candidate.id, (why, false))),
                }
            }
        }
        Modules::Named(wanted) => {
            for name in wanted {
                let candidate = names.find(name)?.ok_or_else(|| names.unknown(name))?;
                match why_not(candidate) {
                    None => drop(chosen.insert(&candidate.id, (candidate, Reason::Named))),
                    Some(why) => drop(left_out.insert(&candidate.id, (why, true))),
                }
            }
        }
    }
    if request.dependencies {
        pull_in(&names, &mut chosen, &mut left_out, &why_not)?;
    }
    let mut order = ordered(&names, &chosen)?;
    let remarks = remarks(&names, &chosen, &left_out, &why_not, request)?;
    if planted(Bug::DropUnmet) {
        order.retain(|chosen| remarks.iter().all(|remark| remark.id != chosen.id));
    }
    let left_out =
        left_out.into_iter().map(|(id, (why, wanted))| LeftOut { id: id.clone(), why, wanted }).collect();
    Ok(Selection { chosen: order, left_out, remarks })
}

/// Chooses what chosen modules require, and what that requires.
fn pull_in<'c>(
    names: &Names<'c>,
    chosen: &mut BTreeMap<&'c ModuleId, (&'c Candidate, Reason)>,
    left_out: &mut BTreeMap<&'c ModuleId, (WhyNot, bool)>,
    why_not: &dyn Fn(&Candidate) -> Option<WhyNot>,
) -> Result<(), SelectError> {
    // Lowest id first in every round, so that the reason does not depend on the order of the input.
    let mut asking: BTreeSet<&'c ModuleId> = chosen.keys().copied().collect();
    while !asking.is_empty() {
        let mut next = BTreeSet::new();
        for id in asking {
            let Some((candidate, _)) = chosen.get(id) else { continue };
            let required: Vec<&ModuleId> =
                candidate.requires.iter().map(|requirement| &requirement.module).collect();
            for name in required {
                let Some(found) = names.find(name)? else { continue };
                if chosen.contains_key(&found.id) {
                    continue;
                }
                if let Some(why) = why_not(found) {
                    left_out.insert(&found.id, (why, true));
                    continue;
                }
                chosen.insert(&found.id, (found, Reason::RequiredBy(id.clone())));
                next.insert(&found.id);
            }
        }
        asking = next;
    }
    Ok(())
}

/// Orders what is chosen.
fn ordered(
    names: &Names<'_>,
    chosen: &BTreeMap<&ModuleId, (&Candidate, Reason)>,
) -> Result<Vec<Chosen>, SelectError> {
    let all: Vec<(&ModuleId, &(&Candidate, Reason))> =
        chosen.iter().map(|(id, entry)| (*id, entry)).collect();
    let index: BTreeMap<&ModuleId, usize> = all.iter().enumerate().map(|(n, (id, _))| (*id, n)).collect();
    let mut waits_for = Vec::with_capacity(all.len());
    for (id, (candidate, _)) in &all {
        let mut before = Vec::new();
        for name in candidate.requires.iter().map(|requirement| &requirement.module).chain(&candidate.after) {
            // By a former id a module may have meant its own successor.
            if let Some(found) = names.find(name)?.filter(|found| found.id != **id) {
                before.extend(index.get(&found.id));
            }
        }
        waits_for.push(if planted(Bug::OrderByName) { Vec::new() } else { before });
    }
    let ranks: Vec<_> = all.iter().map(|(id, (candidate, _))| (!candidate.essential, *id)).collect();
    match topological(&ranks, &waits_for) {
        Ok(order) => Ok(order
            .into_iter()
            .map(|n| Chosen { id: all[n].0.clone(), reason: all[n].1.1.clone() })
            .collect()),
        Err(circles) => {
            let ids = |circle: Vec<usize>| circle.into_iter().map(|n| all[n].0.clone()).collect();
            Err(SelectError::Circle { circles: circles.into_iter().map(ids).collect() })
        }
    }
}

/// Says which requirements of chosen modules are not met.
fn remarks(
    names: &Names<'_>,
    chosen: &BTreeMap<&ModuleId, (&Candidate, Reason)>,
    left_out: &BTreeMap<&ModuleId, (WhyNot, bool)>,
    why_not: &dyn Fn(&Candidate) -> Option<WhyNot>,
    request: &Request,
) -> Result<Vec<Remark>, SelectError> {
    let mut remarks = Vec::new();
    for (candidate, _) in chosen.values() {
        for requirement in &candidate.requires {
            let installed = request.installed.iter().find(|(id, _)| *id == requirement.module);
            let found = names.find(&requirement.module)?;
            let taking_part = found.filter(|found| chosen.contains_key(&found.id));
            let fits = |version: &Version| {
                let holds =
                    requirement.condition.as_ref().is_none_or(|condition| condition.holds_for(version));
                if holds { None } else { Some(Unmet::Version(version.clone())) }
            };
            let unmet = match (taking_part, installed, found) {
                (Some(found), ..) => fits(&found.version),
                (None, Some((_, version)), _) => fits(version),
                (None, None, Some(found)) => {
                    let why = left_out.get(&found.id).map(|(why, _)| *why).or_else(|| why_not(found));
                    Some(why.map_or(Unmet::NotAsked, Unmet::LeftOut))
                }
                (None, None, None) => Some(Unmet::Missing),
            };
            remarks.extend(unmet.map(|unmet| Remark {
                id: candidate.id.clone(),
                requirement: requirement.clone(),
                unmet,
            }));
        }
    }
    Ok(remarks)
}
