//! One run: its session from the beginning to the commit. What is stored in between is up to the caller.

use super::commit;
use super::compare::Parents;
use super::parts::Parts;
use super::{BackupError, RunReport, RunRequest};
use crate::error::Kind;
use crate::id::{ObjectId, SessionId};
use crate::listing::Time;
use crate::planted::{Bug, planted};
use crate::progress::{Event, Events, Phase};
use crate::repo::control::{Purpose, Verdict};
use crate::repo::sessions::{Endangered, OpenSession, look_again};
use crate::repo::write::{Meter, StoreOptions, Stored, store_chunks};
use crate::repo::{RepoError, Repository};
use crate::snapshot::{Account, Provenance, Snapshot, State, Totals};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often a fenced run begins a new session before it gives up.
const SESSIONS: usize = 6;

/// What each module gave.
pub(super) type Meters = BTreeMap<String, Arc<Meter>>;

/// Why a run ended before its end.
pub(crate) struct Ended<E> {
    error: E,
    /// What kind of failure it was, if it was the engine's.
    kind: Option<Kind>,
}

impl<E: From<BackupError>> From<BackupError> for Ended<E> {
    fn from(error: BackupError) -> Self {
        Self { kind: Some(error.kind()), error: error.into() }
    }
}

impl<E: From<BackupError>> From<RepoError> for Ended<E> {
    fn from(error: RepoError) -> Self {
        BackupError::from(error).into()
    }
}

/// What was stored by one go, and what is to be said of it.
pub(crate) struct Pass {
    accounts: Vec<Account>,
    parents: Vec<ObjectId>,
    meters: Meters,
    stored: Stored,
}

/// What kind of run it is.
pub(crate) struct RunKind<'a> {
    pub purpose: Purpose,
    /// Host and moment of the session, where they are not those of the snapshot.
    pub session_of: Option<(&'a str, Time)>,
    /// Parents that the snapshot names beside those that its parts were compared with: nothing of them is relied on.
    pub parents: Vec<ObjectId>,
    pub provenance: Provenance,
}

impl RunKind<'_> {
    /// An ordinary backup.
    pub const BACKUP: Self = Self {
        purpose: Purpose::Backup,
        session_of: None,
        parents: Vec::new(),
        provenance: Provenance { copy_of: None, rewritten_from: None },
    };
}

/// A run whose session is open; a dry run has none.
pub(crate) struct Run<'a> {
    kind: &'a RunKind<'a>,
    pub repo: &'a Repository,
    pub request: &'a RunRequest<'a>,
    pub events: &'a dyn Events,
    session: Option<OpenSession>,
    generation: u64,
    /// Newest key epoch when what it stored last was named by its segments.
    epoch: u32,
    avoid: Endangered,
    parents: OnceCell<Parents>,
    /// Packs that parents may depend on were lost: nothing of them is taken over.
    distrusts_parents: bool,
    /// Packs and segments of all passes.
    own: Stored,
}

/// Opens the session, lets `work` store and commit, and ends the session if that fails.
pub(crate) fn in_run<T, E: From<BackupError>>(
    repo: &Repository,
    request: &RunRequest<'_>,
    kind: &RunKind<'_>,
    events: &dyn Events,
    work: impl FnOnce(&mut Run<'_>) -> Result<T, Ended<E>>,
) -> Result<T, E> {
    events.event(Event::Phase(Phase::Store));
    let mut run = Run::begin(repo, request, kind, events).map_err(BackupError::from)?;
    let result = run.prepare().map_err(Ended::from).and_then(|()| work(&mut run));
    result.map_err(|ended| {
        run.abandon(ended.kind);
        ended.error
    })
}

impl<'a> Run<'a> {
    fn begin(
        repo: &'a Repository,
        request: &'a RunRequest<'a>,
        kind: &'a RunKind<'a>,
        events: &'a dyn Events,
    ) -> Result<Self, RepoError> {
        let generation = repo.index()?.generation()?.map_or(0, |mark| mark.number);
        let (avoid, parents, own) = Default::default();
        let session = None;
        let mut run = Self {
            kind,
            repo,
            request,
            events,
            session,
            generation,
            epoch: repo.objects.keyring.epoch(),
            avoid,
            parents,
            distrusts_parents: false,
            own,
        };
        // A dry run stores nothing at all, so it also works where nothing may be written.
        if !request.dry_run {
            repo.assert_taken_along()?;
            repo.know_log()?;
            run.session = Some(run.begin_session()?);
        }
        Ok(run)
    }

    fn begin_session(&self) -> Result<OpenSession, RepoError> {
        let (host, time) = self.kind.session_of.unwrap_or((&self.request.host, self.request.time));
        OpenSession::begin(&self.repo.objects, self.kind.purpose, host, time, self.generation)
    }

    fn prepare(&mut self) -> Result<(), RepoError> {
        self.repo.index()?.begin_run()?;
        if let Some(session) = &self.session {
            self.repo.adopt_unlisted_packs(session.id, self.events)?;
            self.avoid = look_again(&self.repo.objects, self.generation)?;
        }
        Ok(())
    }

    /// Ends the session of a run that failed.
    fn abandon(&self, kind: Option<Kind>) {
        // A storage that failed may have packs that no segment names, and so may a run whose memory is faulty.
        // The next run looks for them as long as the session has no end; that only makes a prune more careful.
        let leaves_packs = [Kind::Io, Kind::NoSpace, Kind::Permission, Kind::Integrity, Kind::Internal];
        if let Some(session) = &self.session
            && !kind.is_some_and(|kind| leaves_packs.contains(&kind))
        {
            // Best effort, for the same reason.
            let _ = session.end(Verdict::Abandoned);
        }
    }

    /// Returns what parts may be compared with.
    pub(super) fn parents(&self) -> Result<Option<&Parents>, RepoError> {
        if self.distrusts_parents {
            return Ok(None);
        }
        if let Some(parents) = self.parents.get() {
            return Ok(Some(parents));
        }
        let parents = Parents::load(self.repo, &self.request.host, &self.avoid.snapshots)?;
        Ok(Some(self.parents.get_or_init(|| parents)))
    }

    /// Returns whether a snapshot may be used as parent.
    pub fn trusts(&self, snapshot: &ObjectId) -> bool {
        !self.distrusts_parents && !self.avoid.snapshots.contains(snapshot)
    }

    /// Lets `body` store parts, and makes them durable.
    pub fn pass<E: From<BackupError>>(
        &self,
        body: impl FnOnce(&mut Parts<'_>) -> Result<Vec<Account>, E>,
    ) -> Result<Pass, Ended<E>> {
        let request = self.request;
        let session = self.session.as_ref();
        let options = StoreOptions {
            session: session.map_or(SessionId::from_bytes([0; 16]), |session| session.id),
            level: request.level,
            coders: self.repo.budget.threads(request.threads, request.level),
            dry_run: request.dry_run,
            anew: false,
            avoid: &self.avoid.packs,
            sign_of_life: &|| session.map_or(Ok(()), OpenSession::progress),
            elapsed: request.elapsed,
        };
        let ((accounts, parents, meters), stored) = store_chunks(self.repo, &options, |store| {
            let mut parts = Parts::new(self, store);
            match body(&mut parts) {
                Ok(accounts) => Ok((accounts, parts.parents, parts.meters)),
                Err(error) => Err(Ended { error, kind: parts.failed }),
            }
        })?;
        self.tell_lost(stored.lost);
        let mut pass = Pass { accounts, parents, meters, stored };
        pass.settle()?;
        Ok(pass)
    }

    /// Stores the snapshot and ends the session with it; a fenced run goes on with a new session over the same
    /// packs. `None` if something that the snapshot depends on is about to be removed, or is lost: then it
    /// has to be stored anew.
    pub fn commit(&mut self, pass: Pass) -> Result<Option<RunReport>, BackupError> {
        if self.request.dry_run {
            return Ok(Some(self.report(None, pass)));
        }
        self.own.packs.extend(&pass.stored.packs);
        self.own.segments.extend(&pass.stored.segments);
        self.events.event(Event::Phase(Phase::Commit));
        let epoch = self.repo.newest_epoch()?;
        if epoch > self.epoch {
            let session = self.session.as_ref().map_or(SessionId::from_bytes([0; 16]), |session| session.id);
            self.own.segments = self.repo.renew_segments(session, &self.own.segments)?;
            self.epoch = epoch;
        }
        let dependencies = commit::dependencies(&pass.parents, &pass.stored, &self.own);
        for _ in 0..SESSIONS {
            if self.session.is_none() {
                self.session = Some(self.begin_session()?);
            }
            let Some(session) = &self.session else { break };
            session.publish(&dependencies)?;
            if !planted(Bug::SkipSecondLook) {
                self.avoid = look_again(&self.repo.objects, self.generation)?;
            }
            if commit::is_endangered(&dependencies, &self.avoid) {
                commit::leave_behind(&mut self.own, &mut self.avoid);
                self.parents = OnceCell::new();
                return Ok(None);
            }
            let lost = commit::lost(self.repo, &dependencies)?;
            if !lost.is_empty() {
                // Parents may depend on them too: everything is read again, and what was lost stored anew.
                self.tell_lost(lost.len());
                self.avoid.packs.extend(lost);
                self.distrusts_parents = true;
                return Ok(None);
            }
            let snapshot = self.snapshot(session.id, &pass);
            if let Some(id) = commit::try_commit(self.repo, session, &snapshot, self.generation)? {
                // It counts without its entry, and the next writer would adopt it; but a storage that fails is told of.
                self.repo.log_snapshot(id, self.generation, self.request.time)?;
                return Ok(Some(self.report(Some(id), pass)));
            }
            // Fenced: it has an end already.
            self.session = None;
        }
        Err(BackupError::Overtaken)
    }

    fn tell_lost(&self, packs: usize) {
        if packs > 0 {
            let notice = format!("packs were lost ({packs}); what they held is stored again");
            self.events.event(Event::Notice(notice));
        }
    }

    fn snapshot(&self, session: SessionId, pass: &Pass) -> Snapshot {
        let request = self.request;
        let mut tags = request.tags.clone();
        tags.sort();
        tags.dedup();
        let parents = [&pass.parents[..], &self.kind.parents].concat();
        Snapshot {
            session,
            time: request.time,
            utc_offset_minutes: request.utc_offset_minutes,
            host: request.host.clone(),
            user: request.user.clone(),
            program: request.program.clone(),
            tags,
            comment: request.comment.clone(),
            parents,
            accounts: pass.accounts.clone(),
            totals: pass.totals(),
            provenance: self.kind.provenance,
        }
    }

    fn report(&self, snapshot: Option<ObjectId>, pass: Pass) -> RunReport {
        RunReport {
            snapshot,
            session: self.session.as_ref().map(|session| session.id).filter(|_| snapshot.is_some()),
            packs: self.own.packs.clone(),
            state: pass.accounts.iter().map(|account| account.state).max().unwrap_or(State::Failed),
            totals: pass.totals(),
            parents: pass.parents,
            accounts: pass.accounts,
        }
    }
}

impl Pass {
    /// Puts the accounts in order, refuses what a snapshot has no place for, and adds what is known only now.
    fn settle(&mut self) -> Result<(), RepoError> {
        self.accounts.sort_by(|a, b| a.module.cmp(&b.module));
        if self.accounts.is_empty() {
            return Err(RepoError::Refused("a run without a module: there is nothing to tell of".into()));
        }
        if let Some(twice) = self.accounts.windows(2).find(|pair| pair[0].module == pair[1].module) {
            return Err(RepoError::Refused(format!("two accounts of module {:?}", twice[0].module)));
        }
        for account in &mut self.accounts {
            account.listings.sort_by_key(|listing| listing.section);
            account.dumps.sort_by(|a, b| a.name.cmp(&b.name));
            if let Some(twice) = account.listings.windows(2).find(|pair| pair[0].section == pair[1].section) {
                let (section, module) = (twice[0].section.word(), &account.module);
                return Err(RepoError::Refused(format!("two listings of section {section} in {module:?}")));
            }
            if let Some(twice) = account.dumps.windows(2).find(|pair| pair[0].name == pair[1].name) {
                let (dump, module) = (&twice[0].name, &account.module);
                return Err(RepoError::Refused(format!("two dumps {dump:?} in {module:?}")));
            }
        }
        // Headers, directories and padding are nobody's: they go with the blocks.
        let sealed = |meter: &Arc<Meter>| u128::from(meter.bytes_sealed());
        let all: u128 = self.meters.values().map(sealed).sum();
        let mut left = self.stored.bytes_stored;
        let mut last = None;
        for (number, account) in self.accounts.iter_mut().enumerate() {
            let own = self.meters.get(&account.module).map_or(0, sealed);
            let share = (u128::from(self.stored.bytes_stored) * own).checked_div(all).unwrap_or(0);
            account.totals.bytes_stored = u64::try_from(share).unwrap_or(u64::MAX);
            left = left.saturating_sub(account.totals.bytes_stored);
            last = if own > 0 { Some(number) } else { last };
        }
        let told = self.accounts.iter().filter(|account| self.meters.contains_key(&account.module)).count();
        if let Some(last) = last.filter(|_| told == self.meters.len()) {
            self.accounts[last].totals.bytes_stored += left;
        }
        Ok(())
    }

    fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.accounts.iter().for_each(|account| totals.add(&account.totals));
        totals
    }
}
