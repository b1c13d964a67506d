//! Whether a module is set up, asked of what its manifest names.

use crate::context::Context;
use crate::declared;
use crate::runs;
use dedup_modules::manifest::Manifest;
use dedup_modules::selection::Ready;
use dedup_modules::setup::SetupSpec;

/// Returns whether a module can be used.
///
/// # Errors
/// Why that cannot be told, or must not be asked.
pub fn ready(ctx: &Context, manifest: &Manifest) -> Result<Ready, String> {
    let variables = ctx.config.paths.of(manifest);
    // Before anything of it is run.
    declared::assert_trusted(manifest, &variables)?;
    let setup = SetupSpec::of(&manifest.setup, &variables).map_err(|error| error.to_string())?;
    runs::beside(ctx.output, |machine| setup.state(machine))
        .map_err(|failure| failure.message)?
        .map(dedup_modules::setup::State::has_data)
        .map_err(|error| error.to_string())
}
