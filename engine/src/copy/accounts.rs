//! Accounts of a snapshot, carried part by part into a run.

use super::CopyError;
use super::carry::{Carry, Figures, Stays};
use super::memo::Memo;
use crate::backup::Parts;
use crate::listing::StoredPath;
use crate::map::Value;
use crate::progress::Events;
use crate::repo::Repository;
use crate::snapshot::{Account, Dump, Form, Item, Listing, Outcome, Section, Snapshot, Totals};
use std::cell::RefCell;

/// What is carried from where to where, and what of it stays.
pub(super) struct Load<'l> {
    pub from: &'l Repository,
    pub to: &'l Repository,
    pub snapshot: &'l Snapshot,
    /// `None`: everything stays.
    pub stays: Option<&'l Stays<'l>>,
    pub events: &'l dyn Events,
}

/// Carries all accounts; returns them as they stand here.
pub(super) fn carry(
    load: &Load<'_>,
    memo: &RefCell<Memo<'_>>,
    parts: &mut Parts<'_>,
) -> Result<(Vec<Account>, Figures), CopyError> {
    let mut sum = Figures::default();
    let mut made = Vec::new();
    for account in &load.snapshot.accounts {
        let mut totals = account.totals;
        (totals.chunks_new, totals.bytes_new, totals.bytes_stored, totals.bytes_read) = (0, 0, 0, 0);
        let mut here = Account { listings: Vec::new(), dumps: Vec::new(), totals, ..account.clone() };
        let mut figures = Figures::default();
        // The manifest belongs to no section, and is read with what is open.
        section(load, memo, parts, account, &mut here, None, &mut figures)?;
        for of in Section::ALL {
            section(load, memo, parts, account, &mut here, Some(of), &mut figures)?;
        }
        here.dumps.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(stays) = load.stays {
            here.items.iter_mut().for_each(|item| exclude(item, stays));
        }
        (here.totals.chunks_new, here.totals.bytes_new) = parts.new_of(&account.module);
        here.totals.bytes_read = figures.bytes_read;
        sum.add(figures);
        made.push(here);
    }
    Ok((made, sum))
}

/// Carries what an account has of a section; without one, its manifest.
fn section(
    load: &Load<'_>,
    memo: &RefCell<Memo<'_>>,
    parts: &mut Parts<'_>,
    account: &Account,
    here: &mut Account,
    of: Option<Section>,
    figures: &mut Figures,
) -> Result<(), CopyError> {
    let is_there = match of {
        Some(of) => account.listing(of).is_some() || account.dumps.iter().any(|dump| dump.section == of),
        None => account.manifest.len > 0,
    };
    if !is_there {
        return Ok(());
    }
    let (sinks, _) =
        parts.sinks(&account.module, of.unwrap_or(Section::Config)).map_err(CopyError::target)?;
    let carry = Carry::new(load.from, load.to, &sinks, load.events)?;
    let Some(of) = of else {
        here.manifest = carry.blob(memo, &account.manifest)?;
        figures.add(carry.finish()?);
        return Ok(());
    };
    if let Some(listing) = account.listing(of) {
        let listed = carry.listing(memo, &listing.root, load.stays.unwrap_or(&|_, _| true))?;
        let mut gone = listed.gone;
        let problems = carry.map(memo, &listing.problems, &mut |key, value| {
            let stays = load.stays.is_none_or(|stays| problem_stays(key, stays));
            gone.problems += u64::from(!stays && is_gap(value));
            stays
        })?;
        take_off(&mut here.totals, &gone);
        here.listings.push(Listing { section: of, root: listed.root, problems });
    }
    for dump in account.dumps.iter().filter(|dump| dump.section == of) {
        let root = match dump.form {
            Form::Records => carry.map(memo, &dump.root, &mut |_, _| true)?,
            Form::Listing => carry.listing(memo, &dump.root, &|_, _| true)?.root,
        };
        let schema = carry.blob(memo, &dump.schema)?;
        here.dumps.push(Dump { root, schema, ..dump.clone() });
    }
    figures.add(carry.finish()?);
    Ok(())
}

/// Says whether a problem is of something that stays: of what is below no directory that goes, and does not go itself. Whether
/// it was a directory is not known; where that decides, the problem stays.
fn problem_stays(key: &[u8], stays: &Stays<'_>) -> bool {
    let Ok(path) = StoredPath::from_key(key) else { return true };
    let mut above = path.parent();
    while let Some(directory) = above {
        if !stays(&directory, true) {
            return false;
        }
        above = directory.parent();
    }
    stays(&path, false)
}

fn is_gap(value: Value<'_>) -> bool {
    match value {
        Value::Inline([code, ..]) => Outcome::from_code(*code).is_some_and(Outcome::is_gap),
        _ => false,
    }
}

fn take_off(totals: &mut Totals, gone: &Totals) {
    let pairs = [
        (&mut totals.entries, gone.entries),
        (&mut totals.files, gone.files),
        (&mut totals.directories, gone.directories),
        (&mut totals.bytes, gone.bytes),
        (&mut totals.problems, gone.problems),
    ];
    for (figure, less) in pairs {
        *figure = figure.saturating_sub(less);
    }
}

/// Says of a declared path that is not there any more that it is not.
fn exclude(item: &mut Item, stays: &Stays<'_>) {
    let path = item.name.split_once(':').filter(|(word, _)| Section::ALL.iter().any(|s| s.word() == *word));
    let path = path.and_then(|(_, path)| StoredPath::from_slashes(path.as_bytes()));
    let goes = |path: &StoredPath| !problem_stays(path.as_key(), stays) || !stays(path, true);
    if path.is_some_and(|path| path != StoredPath::root() && goes(&path)) {
        item.outcome = Outcome::Excluded;
        item.message = "taken out of the snapshot later".into();
    }
}
