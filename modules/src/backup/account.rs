//! The end of the work: one account for each module, with its manifest, and nothing left untold.

use super::{BackupJob, RunError};
use crate::conduct::Standing;
use crate::machine::Machine;
use crate::manifest::programs::Severity;
use crate::planted::{Bug, planted};
use crate::selection::LeftOut;
use dedup_engine::backup::Parts;
use dedup_engine::snapshot::{Account, Section, State};

/// What a run knows of its members in the end; each list has a place for each of them.
pub(super) struct Known<'k> {
    pub standings: &'k [Standing],
    pub accounts: Vec<Account>,
    /// What their exporters said must be restored before.
    pub requires: Vec<Vec<String>>,
    /// The account of plain paths.
    pub paths: Option<Account>,
}

/// Makes the accounts.
///
/// # Errors
/// Every module failed, or was left out by its own hook: then nothing is worth publishing. Or something is missing, and
/// the job wants all or nothing.
pub(super) fn tell(
    job: &BackupJob<'_>,
    machine: &Machine<'_>,
    parts: &mut Parts<'_>,
    known: Known<'_>,
) -> Result<Vec<Account>, RunError> {
    let mut accounts: Vec<Account> = known.paths.into_iter().collect();
    let mut reasons = Vec::new();
    let members = job.members.iter().zip(known.standings).zip(known.accounts).zip(known.requires);
    for (((member, standing), mut account), exported) in members {
        (account.state, account.reason) = standing.state();
        let level = if account.state == State::Complete { Severity::Info } else { Severity::Notice };
        let text = match &account.reason[..] {
            "" => "complete".to_owned(),
            reason => format!("not complete: {reason}"),
        };
        machine.log.log(level, Some(member.id()), &text);
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
        account.dependencies.extend(exported);
        account.manifest = parts.blob(&account.module, Section::Config, member.text)?;
        accounts.push(account);
    }
    let nothing = accounts.iter().all(|account| matches!(account.state, State::Failed | State::Skipped));
    if nothing && !planted(Bug::PublishNothing) {
        return Err(RunError::AllFailed { reasons });
    }
    let is_short = |account: &&Account| matches!(account.state, State::Partial | State::Failed);
    let short = accounts.iter().filter(is_short).filter(|_| !job.allow_partial);
    let reasons: Vec<_> = short.map(|account| format!("{}: {}", account.module, account.reason)).collect();
    if !reasons.is_empty() {
        return Err(RunError::NotWhole { reasons });
    }
    accounts.extend(job.left_out.iter().filter(|left| left.wanted).map(left_out));
    Ok(accounts)
}

/// A module that was wanted and takes no part.
fn left_out(left: &LeftOut) -> Account {
    Account { state: State::Skipped, reason: left.why.to_string(), ..Account::new(left.id.as_str()) }
}
