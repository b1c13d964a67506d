//! Whether a module is set up, asked of what its manifest names.

use crate::context::Context;
use crate::runs;
use dedup_modules::child::{Program, output};
use dedup_modules::manifest::Manifest;
use dedup_modules::manifest::lifecycle::SetupState;
use dedup_modules::selection::Ready;
use std::time::Duration;

/// How long the question may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns whether a module can be used.
///
/// # Errors
/// Why that cannot be told.
pub fn ready(ctx: &Context, manifest: &Manifest) -> Result<Ready, String> {
    match &manifest.setup.state {
        SetupState::AlwaysReady => Ok(Ready::Ready),
        SetupState::File(file) => {
            let path = file.resolve(&ctx.config.paths.of(manifest)).map_err(|error| error.to_string())?;
            Ok(if path.symlink_metadata().is_ok() { Ready::Ready } else { Ready::NeedsSetup })
        }
        SetupState::Command(argv) => {
            let program = Program::new(argv);
            let asked = output(&program, &runs::surroundings(), Some(LIMIT), &|| false, 1024)
                .map_err(|error| error.to_string())?;
            let word = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
            asked.finished.success(&program).map_err(|error| error.to_string())?;
            match &word[..] {
                "ready" | "needs-update" => Ok(Ready::Ready),
                "needs-setup" => Ok(Ready::NeedsSetup),
                _ => Err(format!("{} printed {word:?}; it prints ready, needs-setup or needs-update", program.name())),
            }
        }
    }
}
