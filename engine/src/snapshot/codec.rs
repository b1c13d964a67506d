//! Encoding of snapshots. Normative text: `FORMAT.md` 12.

use super::{
    Account, Dump, Form, Item, Listing, Origin, Outcome, Provenance, Section, Snapshot, State, Totals,
};
use crate::error::Corrupt;
use crate::format::MAX_LIST;
use crate::id::{ObjectId, RepoId, SessionId};
use crate::listing::Time;
use crate::map::{Blob, Root};
use crate::wire::{Put, Reader};

const SHORT: usize = 255;
const MAX_TAGS: usize = 64;
const MAX_PARENTS: usize = 64;
const MAX_ACCOUNTS: usize = 1024;
const MAX_SOURCE: usize = 65_536;
const MAX_MANIFEST: u64 = 1 << 20;
const MAX_SCHEMA: u64 = 16 << 20;

/// Extensions of a snapshot.
const COPY_OF: u64 = 2;
const REWRITTEN_FROM: u64 = 4;

const STATES: [State; 5] = [State::Complete, State::Warned, State::Partial, State::Failed, State::Skipped];
const SECTIONS: [Section; 3] = Section::ALL;
const FORMS: [Form; 2] = [Form::Records, Form::Listing];
const OUTCOMES: [Outcome; 11] = [
    Outcome::Stored,
    Outcome::Empty,
    Outcome::Absent,
    Outcome::Unreadable,
    Outcome::Excluded,
    Outcome::SkippedByChoice,
    Outcome::Failed,
    Outcome::Vanished,
    Outcome::ChangedWhileRead,
    Outcome::NotStorable,
    Outcome::Damaged,
];

/// Codes are places in the lists above, from 1.
fn code_of<T: PartialEq>(all: &[T], value: &T) -> u8 {
    all.iter().position(|known| known == value).map_or(0, |place| place as u8 + 1)
}

fn from_code<T: Copy>(all: &[T], reader: &mut Reader<'_>, name: &str) -> Result<T, Corrupt> {
    let code = reader.u8()?;
    let known = usize::from(code).checked_sub(1).and_then(|place| all.get(place));
    known.copied().ok_or_else(|| reader.corrupt(format!("{name} {code} is unknown")))
}

impl Outcome {
    /// Returns the stored code.
    pub fn code(self) -> u8 {
        code_of(&OUTCOMES, &self)
    }

    /// Reads a stored code.
    pub fn from_code(code: u8) -> Option<Self> {
        OUTCOMES.get(usize::from(code).checked_sub(1)?).copied()
    }
}

/// Encodes the body of a snapshot.
pub fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let mut out = Vec::new();
    out.put(snapshot.session.as_bytes());
    out.put_i64(snapshot.time.secs);
    out.put_u32(snapshot.time.nanos);
    out.put_i16(snapshot.utc_offset_minutes);
    for text in [&snapshot.host, &snapshot.user, &snapshot.program] {
        out.put_bytes(text.as_bytes());
    }
    put_texts(&mut out, &snapshot.tags);
    out.put_bytes(snapshot.comment.as_bytes());
    out.put_varint(snapshot.parents.len() as u64);
    snapshot.parents.iter().for_each(|parent| out.put(parent.as_bytes()));
    out.put_varint(snapshot.accounts.len() as u64);
    snapshot.accounts.iter().for_each(|account| put_account(&mut out, account));
    put_totals(&mut out, &snapshot.totals);
    let Provenance { copy_of, rewritten_from } = &snapshot.provenance;
    let origins = [(COPY_OF, copy_of), (REWRITTEN_FROM, rewritten_from)];
    out.put_varint(origins.iter().filter(|(_, origin)| origin.is_some()).count() as u64);
    for (tag, origin) in origins.iter().filter_map(|(tag, origin)| Some((tag, origin.as_ref()?))) {
        out.put_varint(*tag);
        out.put_bytes(&[&origin.repo.as_bytes()[..], origin.snapshot.as_bytes()].concat());
    }
    out
}

/// Decodes the body of a snapshot.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, Corrupt> {
    let mut reader = Reader::new("snapshot", bytes);
    let reader = &mut reader;
    let session = SessionId::from_bytes(reader.array()?);
    let time = Time { secs: reader.i64()?, nanos: reader.u32()? };
    if time.nanos >= 1_000_000_000 {
        return Err(reader.corrupt("nanoseconds of a second or more"));
    }
    let utc_offset_minutes = reader.i16()?;
    let host = reader.text(SHORT, "host")?;
    let user = reader.text(SHORT, "user")?;
    let program = reader.text(SHORT, "program")?;
    let tags = texts(reader, MAX_TAGS, "tags")?;
    if !rises(&tags) {
        return Err(reader.corrupt("tags do not rise"));
    }
    let comment = reader.text(MAX_LIST, "comment")?;
    let parents = list(reader, MAX_PARENTS, 32, "parents", |r| r.array().map(ObjectId::from_bytes))?;
    let accounts = list(reader, MAX_ACCOUNTS, 20, "accounts", account)?;
    let names: Vec<_> = accounts.iter().map(|account| &account.module).collect();
    if accounts.is_empty() || !rises(&names) {
        return Err(reader.corrupt("accounts are missing or do not rise"));
    }
    let totals = totals(reader)?;
    let mut provenance = Provenance::default();
    reader.known_extensions(&mut |tag, value| {
        let place = match tag {
            COPY_OF => &mut provenance.copy_of,
            REWRITTEN_FROM => &mut provenance.rewritten_from,
            _ => return Ok(()),
        };
        let (repo, snapshot) = (RepoId::from_bytes(value.array()?), ObjectId::from_bytes(value.array()?));
        *place = Some(Origin { repo, snapshot });
        value.clone().finish()
    })?;
    reader.clone().finish()?;
    Ok(Snapshot {
        session,
        time,
        utc_offset_minutes,
        host,
        user,
        program,
        tags,
        comment,
        parents,
        accounts,
        totals,
        provenance,
    })
}

fn rises<T: PartialOrd>(items: &[T]) -> bool {
    items.windows(2).all(|pair| pair[0] < pair[1])
}

fn list<T>(
    reader: &mut Reader<'_>,
    max: usize,
    item_len: usize,
    name: &str,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T, Corrupt>,
) -> Result<Vec<T>, Corrupt> {
    let count = reader.count(max, item_len, name)?;
    // Items are larger in memory than in the input: the vector grows with what was really read.
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(item(reader)?);
    }
    Ok(items)
}

fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    out.put_varint(texts.len() as u64);
    texts.iter().for_each(|text| out.put_bytes(text.as_bytes()));
}

fn texts(reader: &mut Reader<'_>, max: usize, name: &str) -> Result<Vec<String>, Corrupt> {
    list(reader, max, 1, name, |r| r.text(SHORT, name))
}

fn put_account(out: &mut Vec<u8>, account: &Account) {
    out.put_bytes(account.module.as_bytes());
    out.put_bytes(account.version.as_bytes());
    out.put_u8(code_of(&STATES, &account.state));
    out.put_bytes(account.reason.as_bytes());
    out.put_varint(account.sources.len() as u64);
    account.sources.iter().for_each(|source| out.put_bytes(source));
    account.manifest.encode(out);
    out.put_varint(account.listings.len() as u64);
    for listing in &account.listings {
        out.put_u8(code_of(&SECTIONS, &listing.section));
        listing.root.encode(out);
        listing.problems.encode(out);
    }
    out.put_varint(account.items.len() as u64);
    for item in &account.items {
        out.put_bytes(item.name.as_bytes());
        out.put_u8(item.outcome.code());
        out.put_bytes(item.message.as_bytes());
    }
    out.put_varint(account.dumps.len() as u64);
    for dump in &account.dumps {
        out.put_bytes(dump.name.as_bytes());
        out.put_u8(code_of(&SECTIONS, &dump.section));
        out.put_bytes(dump.kind.as_bytes());
        out.put_u8(code_of(&FORMS, &dump.form));
        dump.root.encode(out);
        out.put_varint(dump.bytes);
        dump.schema.encode(out);
    }
    put_texts(out, &account.dependencies);
    put_totals(out, &account.totals);
    out.put_no_extensions();
}

fn account(reader: &mut Reader<'_>) -> Result<Account, Corrupt> {
    let account = Account {
        module: reader.text(SHORT, "module")?,
        version: reader.text(SHORT, "module version")?,
        state: from_code(&STATES, reader, "state")?,
        reason: reader.text(MAX_LIST, "reason")?,
        sources: list(reader, MAX_LIST, 1, "sources", |r| r.bytes(MAX_SOURCE, "source").map(<[u8]>::to_vec))?,
        manifest: Blob::decode(reader, MAX_MANIFEST)?,
        listings: list(reader, SECTIONS.len(), 5, "listings", listing)?,
        items: list(reader, MAX_LIST, 3, "items", |r| {
            Ok(Item {
                name: r.text(MAX_LIST, "item name")?,
                outcome: from_code(&OUTCOMES, r, "outcome")?,
                message: r.text(MAX_LIST, "item message")?,
            })
        })?,
        dumps: list(reader, MAX_LIST, 8, "dumps", dump)?,
        dependencies: texts(reader, MAX_LIST, "dependencies")?,
        totals: totals(reader)?,
    };
    let sections: Vec<_> = account.listings.iter().map(|listing| listing.section).collect();
    if !rises(&sections) {
        return Err(reader.corrupt("sections do not rise"));
    }
    let names: Vec<_> = account.dumps.iter().map(|dump| &dump.name).collect();
    if !rises(&names) {
        return Err(reader.corrupt("names of dumps do not rise"));
    }
    reader.extensions()?;
    Ok(account)
}

fn listing(reader: &mut Reader<'_>) -> Result<Listing, Corrupt> {
    let section = from_code(&SECTIONS, reader, "section")?;
    let (root, problems) = (root_of(section, reader)?, root_of(section, reader)?);
    Ok(Listing { section, root, problems })
}

/// Reads a root, which must have the class of its section: whoever lacks the keys of secrets reads nothing of
/// them, and nobody makes a reader take open chunks for secret ones.
fn root_of(section: Section, reader: &mut Reader<'_>) -> Result<Root, Corrupt> {
    let root = Root::decode(reader)?;
    if root.class != section.class() {
        return Err(reader.corrupt(format!("a map of another class in the section {}", section.word())));
    }
    Ok(root)
}

fn dump(reader: &mut Reader<'_>) -> Result<Dump, Corrupt> {
    let name = reader.text(SHORT, "dump name")?;
    if name.is_empty() {
        return Err(reader.corrupt("a dump without a name"));
    }
    let section = from_code(&SECTIONS, reader, "section")?;
    let kind = reader.text(SHORT, "dump kind")?;
    let form = from_code(&FORMS, reader, "form of a dump")?;
    let (root, bytes) = (root_of(section, reader)?, reader.varint()?);
    let expected = if root.entries == 0 { 0 } else { root.value_bytes };
    if bytes != expected && (form == Form::Records || root.entries == 0) {
        return Err(reader.corrupt(format!("{bytes} bytes in a dump that holds {expected}")));
    }
    let schema = Blob::decode(reader, MAX_SCHEMA)?;
    Ok(Dump { name, section, kind, form, root, bytes, schema })
}

fn put_totals(out: &mut Vec<u8>, t: &Totals) {
    for figure in [
        t.entries,
        t.files,
        t.directories,
        t.bytes,
        t.files_new,
        t.files_changed,
        t.files_unmodified,
        t.bytes_read,
        t.chunks_new,
        t.bytes_new,
        t.bytes_stored,
        t.problems,
    ] {
        out.put_varint(figure);
    }
}

fn totals(reader: &mut Reader<'_>) -> Result<Totals, Corrupt> {
    let mut next = || reader.varint();
    Ok(Totals {
        entries: next()?,
        files: next()?,
        directories: next()?,
        bytes: next()?,
        files_new: next()?,
        files_changed: next()?,
        files_unmodified: next()?,
        bytes_read: next()?,
        chunks_new: next()?,
        bytes_new: next()?,
        bytes_stored: next()?,
        problems: next()?,
    })
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
