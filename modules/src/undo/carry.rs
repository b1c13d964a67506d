//! Carrying out: one act of a living run, or all that a dead one left.

use super::act::Undo;
use super::journal::{Header, Journal, JournalError, Ticket, journals};
use crate::id::ModuleId;
use crate::machine::Machine;
use crate::manifest::programs::Severity;
use crate::planted::{Bug, planted};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// How long the lock of a dead run is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried.
const TICK: Duration = Duration::from_millis(20);

/// Something that could not be undone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {what}: {why}")]
pub struct UndoError {
    /// What was tried.
    pub what: String,
    /// Why it failed.
    pub why: String,
}

/// The list of a living run.
#[derive(Debug)]
pub struct Undoing<'a> {
    journal: Journal<Undo>,
    machine: Machine<'a>,
}

/// What became of one act of a dead run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// What was done, for people.
    pub what: String,
    /// Why it failed, if it did.
    pub failed: Option<String>,
    /// Whether the machine is not as it was then: something stands still, or is half replaced. Else only what was kept for
    /// a way back is still there.
    pub matters: bool,
}

/// What a dead run left, and what became of it.
#[derive(Debug)]
pub struct Left {
    /// What the run was.
    pub header: Header,
    /// Its journal.
    pub journal: PathBuf,
    /// Each act, in the order in which it was undone.
    pub carried: Vec<Carried>,
    /// Lines of the journal that nobody can read.
    pub damage: Option<JournalError>,
}

impl Left {
    /// Returns whether nothing is left to be done.
    pub fn is_settled(&self) -> bool {
        self.carried.iter().all(|carried| carried.failed.is_none() || !carried.matters)
    }
}

impl<'a> Undoing<'a> {
    /// Begins the list of a run.
    pub fn begin(dir: &Path, header: Header, machine: Machine<'a>) -> Result<Self, JournalError> {
        Ok(Self { journal: Journal::create(dir, header)?, machine })
    }

    /// Notes what must be undone, durably, before it is done.
    pub fn note(&mut self, act: Undo) -> Result<Ticket, JournalError> {
        self.journal.push(act)
    }

    /// Returns an act that is still on the list.
    pub fn act(&self, ticket: Ticket) -> Option<&Undo> {
        self.journal.open().iter().find(|(open, _)| *open == ticket).map(|(_, act)| act)
    }

    /// Keeps acts of the list so that they can be undone after the run, under the name of a space; they stay on the list.
    pub fn keep(&self, id: &str, module: &ModuleId, tickets: &[Ticket]) -> Result<(), JournalError> {
        let acts: Vec<Undo> = tickets.iter().filter_map(|ticket| self.act(*ticket).cloned()).collect();
        let header = self.journal.header();
        let header = Header { run: format!("{}-{module}", header.run), ..header.clone() };
        super::kept::keep(&self.machine.state_dir.join(super::kept::DIR), id, header, &acts)
    }

    /// Takes an act off the list: it needs no undoing any more.
    pub fn settle(&mut self, ticket: Ticket) -> Result<(), JournalError> {
        self.journal.done(ticket)
    }

    /// Notes that acts stay, all of them or none; see [`Journal::stand`].
    pub fn stand(&mut self, gone: &[Ticket], kept: &[Ticket]) -> Result<(), JournalError> {
        self.journal.stand(gone, kept)
    }

    /// Removes what was kept for undoing an act that stays. If that fails, it stays on the list.
    pub fn discard(&mut self, ticket: Ticket) -> Result<(), UndoError> {
        let Some(act) = self.act(ticket) else { return Ok(()) };
        let what = format!("let go of what was kept to {act}");
        let failed = |why: String| UndoError { what: what.clone(), why };
        act.discard(self.machine.state_dir).map_err(failed)?;
        self.journal.done(ticket).map_err(|error| failed(error.to_string()))
    }

    /// Undoes one act, unless it stays. If that fails, it stays on the list.
    pub fn undo(&mut self, ticket: Ticket) -> Result<(), UndoError> {
        if self.journal.stands(ticket) {
            return self.discard(ticket);
        }
        let Some(act) = self.act(ticket) else { return Ok(()) };
        let what = act.to_string();
        self.machine.log.log(Severity::Info, act.module(), &what);
        let failed = |why: String| UndoError { what: what.clone(), why };
        act.carry_out(&self.machine).map_err(failed)?;
        self.journal.done(ticket).map_err(|error| failed(error.to_string()))
    }

    /// Undoes all that is left, the last act first, each whatever becomes of the others. To be called at the end of
    /// every run; whoever has undone everything already loses nothing.
    pub fn finish(mut self) -> Result<Vec<UndoError>, JournalError> {
        let tickets: Vec<_> = self.journal.open().iter().map(|(ticket, _)| *ticket).rev().collect();
        let failed = tickets.into_iter().filter_map(|ticket| self.undo(ticket).err()).collect();
        self.journal.close()?;
        Ok(failed)
    }
}

/// Undoes what the dead runs of a directory left: all of them, or the one of this id, which is known to be dead. Living
/// runs are let be.
///
/// The run of `machine` is not looked at: each dead run's programs are told its own id.
pub fn carry_out_left(
    dir: &Path,
    only: Option<&str>,
    machine: &Machine<'_>,
) -> Result<Vec<Left>, JournalError> {
    let mut all = Vec::new();
    for path in journals(dir)? {
        if only.is_some_and(|run| super::journal::path_of(dir, run) != path) {
            continue;
        }
        let mut taken = Journal::<Undo>::take_over(&path)?;
        let mut waited = Duration::ZERO;
        // Who asks for one run knows that it is dead. A program that it was just about to start still holds everything
        // that it had open, its journal's lock too, until the program begins.
        while taken.is_none() && only.is_some() && waited < PATIENCE && path.exists() {
            sleep(TICK);
            waited += TICK;
            taken = Journal::take_over(&path)?;
        }
        let Some((mut journal, damage)) = taken else { continue };
        let header = journal.header().clone();
        let machine = Machine { run: &header.run, ..*machine };
        // What the run had started must not go on while its work is undone.
        super::marked::end_marked(&header.run);
        let carried = carry_out(&mut journal, &machine)?;
        // Lines that nobody can read do not become readable; they are told once.
        journal.close()?;
        all.push(Left { header, journal: path, carried, damage });
    }
    Ok(all)
}

/// Undoes what is on a journal, the last act first, each whatever becomes of the others. What fails stays on it.
pub(super) fn carry_out(
    journal: &mut Journal<Undo>,
    machine: &Machine<'_>,
) -> Result<Vec<Carried>, JournalError> {
    let mut carried = Vec::new();
    let acts: Vec<_> = journal.open().iter().rev().cloned().collect();
    for (ticket, act) in acts {
        if journal.stands(ticket) {
            // The run had come to its end. What cannot be removed now is told, and keeps nobody from going on.
            let failed = act.discard(machine.state_dir).err();
            journal.done(ticket)?;
            let what = format!("let go of what was kept to {act}");
            carried.push(Carried { what, failed, matters: false });
            continue;
        }
        let what = act.to_string();
        let mut done = act.carry_out(machine);
        if done.is_err() && matches!(act, Undo::StartService { .. }) {
            // As a living run does: what had not quite stopped yet may start now.
            done = act.carry_out(machine);
        }
        if done.is_ok() {
            journal.done(ticket)?;
        }
        carried.push(Carried { what, failed: done.err(), matters: true });
    }
    Ok(carried)
}

/// Removes what restores kept aside that came to their end and died before they had removed it. Only where no journal
/// is left, and no run goes on: then nobody needs it any more, but restores that are kept to be reverted.
pub fn settle_leftovers(journal_dir: &Path, state_dir: &Path) -> Result<(), JournalError> {
    if !journals(journal_dir)?.is_empty() || planted(Bug::KeepLeftovers) {
        return Ok(());
    }
    let Some(needed) = super::kept::logs(&state_dir.join(super::kept::DIR)) else { return Ok(()) };
    let Ok(entries) = std::fs::read_dir(state_dir.join("aside")) else { return Ok(()) };
    let logs = entries.flatten().map(|entry| entry.path());
    for log in logs.filter(|log| log.extension().is_some_and(|name| name == "log") && !needed.contains(log)) {
        // What cannot be removed now is tried again by the next run.
        let _ = crate::files::settle(Path::new(super::act::PLACE), &log);
    }
    Ok(())
}
