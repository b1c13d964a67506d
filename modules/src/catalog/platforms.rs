//! Products that modules live in: those that are shipped, and what they make of manifests.

use super::{Catalog, Entry, Platforms, Rank, Wrong};
use crate::manifest::Manifest;
use crate::manifest::platform::Platform;
use std::path::PathBuf;

/// The descriptions that are part of this program.
const SHIPPED: [(&str, &str); 2] = [
    ("freedombox.toml", include_str!("../../platforms.d/freedombox.toml")),
    ("freepbx.toml", include_str!("../../platforms.d/freepbx.toml")),
];

/// Adds the descriptions that are shipped; a file of the same id stands in their place, broken or not.
pub fn shipped(shelf: &mut Platforms) {
    for (name, text) in SHIPPED {
        let Ok(platform) = Platform::parse(name, text.as_bytes()) else { continue };
        let (id, file) = (platform.id.clone(), PathBuf::from(name));
        let (text, replaces) = (text.as_bytes().to_vec(), Vec::new());
        let entry = Entry { id: id.clone(), file, rank: Rank::System, what: Ok(platform), text, replaces };
        shelf.entries.entry(id).or_insert(entry);
    }
}

impl Catalog {
    /// Makes sources of platforms' kinds into sources of the platforms' databases. Modules of platforms that nobody
    /// describes stay as they are; those whose sources mean nothing there cannot be used.
    pub fn on_platforms(&mut self, platforms: &Platforms) {
        for entry in self.entries.values_mut() {
            let Ok(manifest) = &mut entry.what else { continue };
            let Some(platform) = platform_of(manifest, platforms) else { continue };
            if let Err(error) = manifest.on_platform(platform) {
                entry.what = Err(Wrong::Platform(error));
            }
        }
    }
}

fn platform_of<'p>(manifest: &Manifest, platforms: &'p Platforms) -> Option<&'p Platform> {
    let wanted = manifest.module.platform.as_deref()?.to_ascii_lowercase();
    platforms.usable().find(|platform| platform.id.as_str() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_description_that_is_shipped_is_right() {
        let mut shelf = Platforms::default();
        shipped(&mut shelf);
        assert_eq!(shelf.usable().count(), SHIPPED.len());
    }

    #[test]
    fn modules_meet_their_platforms() {
        let mut platforms = Platforms::default();
        shipped(&mut platforms);
        let mut catalog = Catalog::default();
        for (id, text) in [
            ("a", "platform = \"FreePBX\"\n[[source]]\nname = \"s\"\ndriver = \"settings\"\n"),
            ("b", "platform = \"other\"\n[[source]]\nname = \"s\"\ndriver = \"settings\"\n"),
            ("c", "platform = \"freedombox\"\n[[source]]\nname = \"s\"\ndriver = \"settings\"\n"),
        ] {
            let text = format!("schema = 1\n[module]\nid = {id:?}\n{text}");
            let manifest =
                Manifest::parse("m.toml", text.as_bytes()).unwrap_or_else(|wrong| panic!("{wrong}"));
            let (id, file, what) = (manifest.module.id.clone(), PathBuf::from("m"), Ok(manifest));
            let entry =
                Entry { id: id.clone(), file, rank: Rank::System, what, text: vec![], replaces: vec![] };
            catalog.entries.insert(id, entry);
        }
        catalog.on_platforms(&platforms);
        let drivers: Vec<_> =
            catalog.usable().map(|manifest| manifest.sources[0].driver.to_string()).collect();
        assert_eq!(drivers, ["mariadb", "settings"]);
        let wrong: Vec<_> =
            catalog.unusable().map(|(entry, wrong)| format!("{}: {wrong}", entry.id)).collect();
        assert!(
            wrong.len() == 1 && wrong[0].starts_with("c: ") && wrong[0].contains("select.keys"),
            "{wrong:?}"
        );
    }
}
