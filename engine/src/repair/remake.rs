//! Accounts of a snapshot without what they lost, and with the word that they lost it.

use super::RepairError;
use super::losses::{Fate, Reach};
use super::remains::{Left, ListingRemains};
use crate::backup::{Parts, Sinks, built};
use crate::check::stop_if_asked;
use crate::copy::{Carry, CopyError, Memo, count};
use crate::format::MAX_LIST;
use crate::listing::{Node, StoredPath, encode_node};
use crate::map::{Blob, Builder, Remain, Remains, Root, SaveChunk, Value};
use crate::progress::Events;
use crate::repo::RepoError;
use crate::repo::read::ChunkReader;
use crate::snapshot::{Account, Form, Item, Listing, Outcome, Section, State, Totals};
use crate::wire::Put;
use std::cell::RefCell;

/// Longest text of a problem, in bytes.
const MAX_MESSAGE: usize = 500;

/// What is carried, and what is known of it.
pub(super) struct Remake<'m> {
    pub reach: &'m Reach<'m>,
    pub memo: &'m RefCell<Memo<'m>>,
    pub events: &'m dyn Events,
}

/// What an account lacks.
struct Lacks<'a> {
    /// Places of declared paths among the items.
    declared: Vec<(usize, Section, StoredPath)>,
    items: &'a mut [Item],
    entries: u64,
    dumps: u64,
    others: u64,
}

impl<'a> Lacks<'a> {
    fn of(items: &'a mut [Item]) -> Self {
        let declared = items.iter().enumerate().filter_map(|(place, item)| {
            let (word, path) = item.name.split_once(':')?;
            let section = Section::ALL.into_iter().find(|section| section.word() == word)?;
            Some((place, section, StoredPath::from_slashes(path.as_bytes())?))
        });
        let declared = declared.collect();
        Self { declared, items, entries: 0, dumps: 0, others: 0 }
    }

    fn mark(&mut self, is_hit: impl Fn(Section, &StoredPath) -> bool) {
        for (place, section, path) in &self.declared {
            if is_hit(*section, path) {
                lose(&mut self.items[*place], "something of it was lost in the repository");
            }
        }
    }

    fn entry(&mut self, section: Section, path: &StoredPath) {
        self.entries = self.entries.saturating_add(1);
        self.mark(|of, declared| of == section && path.is_within(declared));
    }

    fn range(
        &mut self,
        section: Section,
        after: Option<&StoredPath>,
        through: Option<&StoredPath>,
        entries: u64,
    ) {
        self.entries = self.entries.saturating_add(entries);
        self.mark(|of, declared| {
            let begins = after.is_none_or(|after| after < declared || after.is_within(declared));
            let ends = through.is_none_or(|through| declared <= through || through.is_within(declared));
            of == section && begins && ends
        });
    }

    fn dump(&mut self, name: &str) {
        self.dumps += 1;
        let source = self.items.iter_mut().find(|item| item.name.strip_prefix("source:") == Some(name));
        source.into_iter().for_each(|item| lose(item, "it was lost in the repository"));
    }

    fn any(&self) -> bool {
        self.entries > 0 || self.dumps > 0 || self.others > 0
    }

    fn reason(&self) -> String {
        let told = [(self.entries, "entries"), (self.dumps, "dumps"), (self.others, "other things")];
        let told = told.iter().filter(|(count, _)| *count > 0);
        let told: Vec<_> = told.map(|(count, what)| format!("{count} {what}")).collect();
        format!("lost in the repository and left out by a repair: {}", told.join(", "))
    }
}

fn lose(item: &mut Item, message: &str) {
    (item.outcome, item.message) = (Outcome::Failed, message.into());
}

/// Says of an error of carrying whether what was carried is lost; other errors end the work.
fn lost<T>(carried: Result<T, CopyError>) -> Result<Result<T, String>, RepairError> {
    match carried {
        Ok(value) => Ok(Ok(value)),
        Err(CopyError::Source(error)) if error.is_damage() => Ok(Err(error.to_string())),
        Err(CopyError::Source(error)) => Err(error.into()),
        Err(error) => Err(error.into()),
    }
}

impl Remake<'_> {
    /// Carries all that is left of an account.
    pub fn account(&self, account: &Account, parts: &mut Parts<'_>) -> Result<Account, RepairError> {
        let mut totals = account.totals;
        (totals.chunks_new, totals.bytes_new, totals.bytes_stored, totals.bytes_read) = (0, 0, 0, 0);
        (totals.entries, totals.files, totals.directories, totals.bytes) = (0, 0, 0, 0);
        let mut items = account.items.clone();
        let mut lacks = Lacks::of(&mut items);
        let mut here = Account {
            listings: Vec::new(),
            dumps: Vec::new(),
            items: Vec::new(),
            manifest: Blob::EMPTY,
            ..account.clone()
        };
        let repo = self.reach.repo;
        // The manifest belongs to no section, and is read with what is open.
        if account.manifest.len > 0 {
            let (sinks, _) = parts.sinks(&account.module, Section::Config)?;
            let carry = Carry::new(repo, repo, &sinks, self.events)?;
            match lost(carry.blob(self.memo, &account.manifest))? {
                Ok(manifest) => here.manifest = manifest,
                Err(_) => lacks.others += 1,
            }
            carry.finish()?;
        }
        for section in Section::ALL {
            let listing = account.listing(section);
            let dumps: Vec<_> = account.dumps.iter().filter(|dump| dump.section == section).collect();
            if listing.is_none() && dumps.is_empty() {
                continue;
            }
            let (sinks, _) = parts.sinks(&account.module, section)?;
            let carry = Carry::new(repo, repo, &sinks, self.events)?;
            let nodes = ChunkReader::of_maps(repo, section.class());
            if let Some(listing) = listing {
                let made = self.listing(&carry, &nodes, &sinks, listing, &mut lacks, &mut totals)?;
                here.listings.push(made);
            }
            for dump in dumps {
                let whole = match self.reach.dump(&nodes, dump, self.events)? {
                    None => lost(self.dump(&carry, dump))?,
                    Some(why) => Err(why),
                };
                match whole {
                    Ok((root, schema)) => {
                        totals.entries = totals.entries.saturating_add(root.entries);
                        totals.bytes = totals.bytes.saturating_add(dump.bytes);
                        totals.files += if dump.is_listing() { root.entries } else { 0 };
                        here.dumps.push(crate::snapshot::Dump { root, schema, ..dump.clone() });
                    }
                    // Half a dump must not look like one.
                    Err(_) => lacks.dump(&dump.name),
                }
            }
            carry.finish()?;
        }
        if lacks.any() {
            here.state = here.state.max(State::Partial);
            if totals.entries == 0 && here.dumps.is_empty() {
                here.state = here.state.max(State::Failed);
            }
            let reason =
                [&here.reason[..], &lacks.reason()[..]].join(if here.reason.is_empty() { "" } else { "; " });
            here.reason = cut(reason, MAX_LIST);
        }
        here.items = items;
        (totals.chunks_new, totals.bytes_new) = parts.new_of(&account.module);
        here.totals = totals;
        Ok(here)
    }

    fn dump(&self, carry: &Carry<'_>, dump: &crate::snapshot::Dump) -> Result<(Root, Blob), CopyError> {
        let root = match dump.form {
            Form::Records => carry.map(self.memo, &dump.root, &mut |_, _| true)?,
            Form::Listing => carry.listing(self.memo, &dump.root, &|_, _| true)?.root,
        };
        Ok((root, carry.blob(self.memo, &dump.schema)?))
    }

    /// Carries what is left of a listing; what is lost becomes a problem of it.
    fn listing(
        &self,
        carry: &Carry<'_>,
        nodes: &ChunkReader<'_>,
        sinks: &Sinks<'_>,
        listing: &Listing,
        lacks: &mut Lacks<'_>,
        totals: &mut Totals,
    ) -> Result<Listing, RepairError> {
        let repo = self.reach.repo;
        let (saver, target) = (sinks.saver(), repo.leaf_target());
        let boundary = repo.objects.keyring.further("dedup 2026-11-21 boundary").map_err(RepoError::from)?;
        let mut made = Builder::new(&saver, &boundary, target);
        let old = Remains::new(nodes, listing.problems, target, RepoError::is_damage);
        let builder = Builder::new(&saver, &boundary, target);
        let mut problems = Problems { old, builder, waiting: None, last: None, lost: 0, told: 0 };
        let mut groups = repo.index()?.spill_map();
        let section = listing.section;
        let mut remains = ListingRemains::new(nodes, listing.root, target);
        while let Some(left) = remains.next()? {
            stop_if_asked(self.events)?;
            let (path, mut node) = match left {
                Left::Gap { after, through, entries } => {
                    lacks.range(section, after.as_ref(), through.as_ref(), entries);
                    if let Some(through) = through {
                        let message =
                            format!("lost in the repository, with those before it: {entries} entries");
                        problems.put(self, carry, &through, &message)?;
                    }
                    continue;
                }
                Left::Lost(path, why) => {
                    lacks.entry(section, &path);
                    problems.put(self, carry, &path, &why)?;
                    continue;
                }
                Left::Stead(path, node) => {
                    lacks.entry(section, &path);
                    problems.put(self, carry, &path, "its owner, mode and times are lost")?;
                    (path, node)
                }
                Left::Entry(path, node) => (path, node),
            };
            let why = match self.reach.entry(nodes, &node)? {
                Fate::Lost(why) => Some(why),
                Fate::Bare(why) => {
                    lacks.entry(section, &path);
                    node.xattrs = crate::listing::Xattrs::None;
                    problems.put(self, carry, &path, &format!("its extended attributes are lost: {why}"))?;
                    None
                }
                Fate::Whole => None,
            };
            let why = match why {
                None => lost(carry.node(self.memo, &path, &mut node, &mut groups))?.err(),
                why => why,
            };
            if let Some(why) = why {
                lacks.entry(section, &path);
                problems.put(self, carry, &path, &format!("lost in the repository: {why}"))?;
                continue;
            }
            push(&mut made, &path, &node)?;
            count(totals, &node);
        }
        let root = built(made.finish())?;
        let (problems, lost, told) = problems.finish(self, carry)?;
        lacks.others += lost;
        totals.problems = totals.problems.saturating_add(told);
        saver.flush()?;
        Ok(Listing { section, root, problems })
    }
}

fn push<S: SaveChunk<Error = RepoError>>(
    made: &mut Builder<'_, S>,
    path: &StoredPath,
    node: &Node,
) -> Result<(), RepoError> {
    let encoded = encode_node(node)?;
    built(made.push(path.as_key(), &encoded))
}

/// Problems of a listing: those that were told of, and new ones between them.
struct Problems<'p, S: SaveChunk<Error = RepoError>> {
    old: Remains<'p, ChunkReader<'p>>,
    builder: Builder<'p, S>,
    /// The next old one.
    waiting: Option<(Vec<u8>, OldValue)>,
    /// The last key that was put.
    last: Option<Vec<u8>>,
    lost: u64,
    told: u64,
}

/// A value of an old problem.
enum OldValue {
    Inline(Vec<u8>),
    Blob(Blob),
}

impl<S: SaveChunk<Error = RepoError>> Problems<'_, S> {
    /// Notes that an entry is lost. A place has one problem: the new one takes an old one's.
    fn put(
        &mut self,
        remake: &Remake<'_>,
        carry: &Carry<'_>,
        path: &StoredPath,
        why: &str,
    ) -> Result<(), RepairError> {
        let key = path.as_key();
        self.up_to(remake, carry, Some(key))?;
        // Where a range was told of already, nothing more is said of what is in it.
        if self.last.as_deref().is_some_and(|last| last >= key) {
            return Ok(());
        }
        let mut value = Vec::new();
        value.put_u8(Outcome::Failed.code());
        value.put_bytes(cut(why.to_owned(), MAX_MESSAGE).as_bytes());
        built(self.builder.push(key, &value))?;
        self.last = Some(key.to_vec());
        self.told += 1;
        Ok(())
    }

    /// Puts the old ones before a key, and passes over the one of that key; without a key all that are left.
    fn up_to(
        &mut self,
        remake: &Remake<'_>,
        carry: &Carry<'_>,
        end: Option<&[u8]>,
    ) -> Result<(), RepairError> {
        loop {
            if self.waiting.is_none() {
                self.waiting = match self.old.next()? {
                    Some(Remain::Entry(entry)) => Some((
                        entry.key.to_vec(),
                        match entry.value {
                            Value::Inline(bytes) => OldValue::Inline(bytes.to_vec()),
                            Value::Blob(blob) => OldValue::Blob(blob),
                        },
                    )),
                    Some(Remain::Gap(_)) => {
                        self.lost += 1;
                        continue;
                    }
                    None => return Ok(()),
                };
            }
            let Some((key, value)) = self.waiting.take() else { return Ok(()) };
            if end.is_some_and(|end| &key[..] > end) {
                self.waiting = Some((key, value));
                return Ok(());
            }
            if end == Some(&key[..]) || self.last.as_ref().is_some_and(|last| *last >= key) {
                continue;
            }
            match value {
                OldValue::Inline(bytes) => built(self.builder.push(&key, &bytes))?,
                OldValue::Blob(blob) => match lost(carry.blob(remake.memo, &blob))? {
                    Ok(blob) => built(self.builder.push_value(&key, Value::Blob(blob)))?,
                    Err(_) => {
                        self.lost += 1;
                        continue;
                    }
                },
            }
            self.last = Some(key);
        }
    }

    /// Returns the map, how much of the old one is lost, and how many new problems there are.
    fn finish(mut self, remake: &Remake<'_>, carry: &Carry<'_>) -> Result<(Root, u64, u64), RepairError> {
        self.up_to(remake, carry, None)?;
        Ok((built(self.builder.finish())?, self.lost, self.told))
    }
}

/// Cuts a text to at most `max` bytes at a character boundary.
fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
