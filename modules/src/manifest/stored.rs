//! Manifests out of a snapshot: what they say of data is taken, what they would do is not.
//!
//! A snapshot comes from another day, another machine, perhaps from somebody who wrote it to harm. So of its manifests
//! only the data keys count: which paths and sources there are, what belongs to what. Every program, address, service
//! and path to delete comes from the manifest that is installed here, which its owner has vouched for.

use super::Manifest;
use super::hooks::Hooks;
use super::lifecycle::{Restore, Setup, Spaces};
use super::sources::Source;

impl Manifest {
    /// Returns what of a stored manifest may be used: its data keys.
    pub fn data_only(self) -> Self {
        let Self {
            module,
            depends,
            paths,
            config,
            data,
            secrets,
            exclude,
            settings,
            settings_store,
            sources,
            free,
            log_level,
            // Not these: each is a command, leads to one, or destroys something.
            services: _,
            hooks: _,
            lockdown: _,
            setup: _,
            restore: _,
            legacy: _,
            spaces: _,
            exporter: _,
            importer: _,
            limits,
        } = self;
        Self {
            module,
            depends,
            paths,
            config,
            data,
            secrets,
            exclude,
            settings,
            settings_store,
            sources: sources.into_iter().map(data_of_source).collect(),
            services: Vec::new(),
            hooks: Hooks::default(),
            lockdown: None,
            setup: Setup::default(),
            restore: Restore::default(),
            legacy: Vec::new(),
            spaces: Spaces::default(),
            exporter: None,
            importer: None,
            log_level,
            limits,
            free,
        }
    }
}

/// Takes away where a source is and what is run for it; the file of an SQLite database is data.
fn data_of_source(source: Source) -> Source {
    Source {
        endpoint: None,
        restore_endpoint: None,
        dump: Vec::new(),
        load: Vec::new(),
        needs: Vec::new(),
        ..source
    }
}
