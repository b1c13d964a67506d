//! The restore stands: what was kept aside goes, or stays to be reverted.

use super::Run;
use crate::id::ModuleId;
use crate::manifest::lifecycle::Revert;
use crate::manifest::programs::Severity;
use crate::undo::Ticket;

impl Run<'_, '_> {
    /// Lets go of what was kept aside: the restore stands, as a whole from one moment on.
    pub(super) fn settle(&mut self) {
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        for at in 0..self.puts.len() {
            let tickets = std::mem::take(&mut self.puts[at].tickets);
            match self.keep(at, &tickets) {
                true => kept.extend(tickets),
                false => gone.extend(tickets.into_iter().map(|ticket| (at, ticket))),
            }
        }
        self.let_go(&gone, &kept);
    }

    /// Keeps what a module had, if its manifest wants that; `false` if it is to go.
    fn keep(&mut self, at: usize, tickets: &[Ticket]) -> bool {
        let member = &self.job.members[at];
        let spaces = &member.manifest.spaces;
        let wanted = spaces.persistent && spaces.revert != Revert::None && self.job.keeps_way_back(at);
        if !wanted || tickets.is_empty() {
            return false;
        }
        // A name of a space is one of a module; whatever else stands there is no name of a directory.
        let id = spaces.id.as_deref().and_then(|id| ModuleId::parse(id).ok());
        let id = id.unwrap_or_else(|| member.id().clone());
        if let Err(error) = self.conduct.undoing.keep(id.as_str(), member.id(), tickets) {
            let why = format!("what it had before cannot be kept to be reverted, and is removed: {error}");
            self.conduct.log(Severity::Warning, Some(member.id()), &why);
            self.conduct.standings[at].warn(why);
            return false;
        }
        for what in &self.puts[at].one_way {
            let why = format!("{what}: cannot be reverted, as nothing of what was there before is kept");
            self.conduct.log(Severity::Warning, Some(member.id()), &why);
        }
        self.puts[at].kept = Some(id.as_str().to_owned());
        true
    }

    /// Notes that what was done stays, and removes what was kept for undoing it; not that of `kept`.
    pub(super) fn let_go(&mut self, gone: &[(usize, Ticket)], kept: &[Ticket]) {
        if gone.is_empty() && kept.is_empty() {
            return;
        }
        // First the journal, one record for all: what is not kept any more must not be put back.
        let tickets: Vec<Ticket> = gone.iter().map(|(_, ticket)| *ticket).collect();
        let stands = self.conduct.undoing.stand(&tickets, kept).map_err(|error| error.to_string());
        for (at, ticket) in gone {
            let removed = match &stands {
                Ok(()) => self.conduct.undoing.discard(*ticket).map_err(|error| error.to_string()),
                Err(why) => Err(why.clone()),
            };
            if let Err(why) = removed {
                let why = format!("what was kept for the way back is still there: {why}");
                self.conduct.log(Severity::Warning, Some(self.job.members[*at].id()), &why);
                self.conduct.standings[*at].warn(why);
            }
        }
    }
}
