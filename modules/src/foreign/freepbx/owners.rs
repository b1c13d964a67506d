//! Whose the parts of a legacy archive are: tables, and files by their places.

use super::Here;
use crate::manifest::Manifest;
use crate::manifest::legacy::{LegacyFormat, LegacyPart};
use crate::manifest::sections::SectionKind;
use crate::records::{Selection, TableName};

/// Whether a module takes a part of such an archive; without a word all of them.
pub(super) fn wants(here: &Here, part: LegacyPart) -> bool {
    here.legacy.as_ref().is_none_or(|legacy| legacy.import.is_empty() || legacy.import.contains(&part))
}

/// Whether a manifest here names a table of an archive: by the archive's name or by its own.
pub(super) fn owns(manifest: &Manifest, name: &str) -> bool {
    let legacy = manifest.legacy.iter().filter(|legacy| legacy.format == LegacyFormat::FreepbxLegacy);
    let named = legacy.into_iter().any(|legacy| {
        legacy.matches.tables.iter().any(|table| table == name)
            || legacy.map.tables.iter().any(|(old, _)| old == name)
    });
    named
        || manifest.sources.iter().any(|source| {
            let selection = Selection { select: source.select.clone(), ..Selection::default() };
            // Whoever takes everything names nothing.
            let names_some = !source.select.tables.is_empty() || !source.select.prefix.is_empty();
            names_some && TableName::simple(name).is_ok_and(|name| selection.takes(&name))
        })
}

pub(super) fn section_by_place(place: &[u8]) -> SectionKind {
    let begins = |begin: &str| place.starts_with(begin.as_bytes());
    match () {
        // They hold the passwords of extensions, trunks and databases.
        () if begins("/etc/asterisk/") || begins("/etc/freepbx.conf") || begins("/etc/amportal.conf") => {
            SectionKind::Secrets
        }
        () if begins("/etc/") || begins("/tftpboot/") => SectionKind::Config,
        () => SectionKind::Data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn places_say_what_files_are_for() {
        let unique: BTreeSet<_> = ["/etc/asterisk/sip.conf", "/etc/freepbx.conf"]
            .map(|place| section_by_place(place.as_bytes()).to_string())
            .into();
        assert_eq!(unique.into_iter().collect::<Vec<_>>(), ["secrets"]);
        assert_eq!(section_by_place(b"/etc/odbc.ini").to_string(), "config");
        assert_eq!(section_by_place(b"/var/spool/asterisk/voicemail/x.wav").to_string(), "data");
    }
}
