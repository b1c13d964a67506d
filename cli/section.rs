//! Which part of a module is meant: `--section`.

use crate::failure::Failure;
use dedup_engine::error::Kind;
use dedup_engine::map::Root;
use dedup_engine::snapshot::{Account, Dump, Section};

/// Narrows a command to a section.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct SectionChoice {
    /// Section of the module: config, data or secrets [default: data, or config if the module has no data]
    ///
    /// Secrets are shown only if they are asked for.
    #[arg(long, value_name = "SECTION", value_parser = parse)]
    pub section: Option<Section>,
}

fn parse(text: &str) -> Result<Section, String> {
    let known = Section::ALL.into_iter().find(|section| section.word() == text);
    known.ok_or_else(|| format!("{text:?} is none of config, data and secrets"))
}

impl SectionChoice {
    /// Returns whether a section is looked at when all that fit are.
    pub fn fits(self, section: Section) -> bool {
        self.section.map_or(section != Section::Secrets, |wanted| wanted == section)
    }

    /// Returns the listing that is meant.
    pub fn listing(self, account: &Account) -> Result<&Root, Failure> {
        let found = match self.section {
            Some(section) => account.listing(section),
            None => account.listing(Section::Data).or_else(|| account.listing(Section::Config)),
        };
        if let Some(listing) = found {
            return Ok(&listing.root);
        }
        let module = &account.module;
        let failure = Failure::new(
            Kind::Missing,
            match self.section {
                Some(section) => format!("module {module} of the snapshot has no section {}", section.word()),
                None => format!("module {module} of the snapshot has no files but secrets or dumps"),
            },
        );
        Err(failure.hint(format!("it has {}", parts(account))))
    }

    /// Returns the dump of that name.
    pub fn dump<'a>(self, account: &'a Account, name: &str) -> Result<&'a Dump, Failure> {
        let missing = || {
            let message = format!("module {} of the snapshot has no dump {name:?}", account.module);
            Failure::new(Kind::Missing, message).hint(format!("it has {}", parts(account)))
        };
        let dump = account.dump(name).ok_or_else(missing)?;
        if dump.section == Section::Secrets && !self.fits(Section::Secrets) {
            return Err(
                Failure::refused(format!("{name:?} holds secrets")).hint("ask for them: `--section secrets`")
            );
        }
        if self.fits(dump.section) { Ok(dump) } else { Err(missing()) }
    }
}

/// Names what an account has, in the words with which it can be asked for.
fn parts(account: &Account) -> String {
    let sections = account.listings.iter().map(|listing| format!("--section {}", listing.section.word()));
    let dumps = account.dumps.iter().map(|dump| format!("source:{}", dump.name));
    let all: Vec<_> = sections.chain(dumps).take(20).collect();
    if all.is_empty() { "nothing".into() } else { crate::escape::text(&all.join(", ")) }
}

/// Tells of the sections that a listing leaves out, if nobody chose one.
pub fn left_out(account: &Account, shown: &Root, choice: SectionChoice) -> Option<String> {
    let others: Vec<_> = account
        .listings
        .iter()
        .filter(|listing| choice.section.is_none() && listing.root != *shown)
        .map(|listing| listing.section.word())
        .collect();
    let (module, words) = (&account.module, others.join(" and "));
    (!others.is_empty()).then(|| format!("module {module} also has {words}: `--section` shows them"))
}
