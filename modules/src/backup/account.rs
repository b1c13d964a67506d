//! The end of the work: one account for each module, with its manifest, and nothing left untold.

use super::{Run, RunError};
use crate::manifest::programs::Severity;
use crate::selection::LeftOut;
use dedup_engine::backup::Parts;
use dedup_engine::planted::{Bug, planted};
use dedup_engine::snapshot::{Account, Section, State};

impl Run<'_, '_> {
    /// Makes the accounts.
    ///
    /// # Errors
    /// Every module failed, or was left out by its own hook: then nothing is worth publishing. Or something is missing,
    /// and the job wants all or nothing.
    pub(super) fn tell(&mut self, parts: &mut Parts<'_>) -> Result<Vec<Account>, RunError> {
        let members = self.job.members;
        let mut accounts: Vec<Account> = self.paths_account.take().into_iter().collect();
        let mut reasons = Vec::new();
        let accounts_of = std::mem::take(&mut self.accounts);
        for (at, ((member, standing), mut account)) in
            members.iter().zip(&self.conduct.standings).zip(accounts_of).enumerate()
        {
            (account.state, account.reason) = standing.state();
            let level = if account.state == State::Complete { Severity::Info } else { Severity::Notice };
            let text = match &account.reason[..] {
                "" => "complete".to_owned(),
                reason => format!("not complete: {reason}"),
            };
            self.conduct.machine.log.log(level, Some(member.id()), &text);
            if matches!(account.state, State::Failed | State::Skipped) {
                reasons.push(format!("{}: {}", member.id(), account.reason));
                // What it gave before it failed belongs together with what it did not.
                account.listings.clear();
                account.dumps.clear();
                account.totals = Default::default();
            }
            account.version = member.manifest.module.version.to_string();
            account.items.clone_from(&standing.items);
            let requires = &member.manifest.depends.requires;
            account.dependencies = requires.iter().map(ToString::to_string).collect();
            let exported = std::mem::take(&mut self.exports[at].requires);
            account.dependencies.extend(exported);
            account.manifest = parts.blob(&account.module, Section::Config, member.text)?;
            accounts.push(account);
        }
        let nothing = accounts.iter().all(|account| matches!(account.state, State::Failed | State::Skipped));
        if nothing && !planted(Bug::PublishNothing) {
            return Err(RunError::AllFailed { reasons });
        }
        let is_short = |account: &&Account| matches!(account.state, State::Partial | State::Failed);
        let short = accounts.iter().filter(is_short).filter(|_| !self.job.allow_partial);
        let reasons: Vec<_> =
            short.map(|account| format!("{}: {}", account.module, account.reason)).collect();
        if !reasons.is_empty() {
            return Err(RunError::NotWhole { reasons });
        }
        accounts.extend(self.job.left_out.iter().filter(|left| left.wanted).map(left_out));
        Ok(accounts)
    }
}

/// A module that was wanted and takes no part.
fn left_out(left: &LeftOut) -> Account {
    Account { state: State::Skipped, reason: left.why.to_string(), ..Account::new(left.id.as_str()) }
}
