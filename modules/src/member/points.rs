//! Hooks of a member at the points of a run.

use crate::hooks::{HookError, ResolvedHook};
use crate::manifest::Manifest;
use crate::manifest::drivers::OnError;
use crate::manifest::hooks::{Hook, HookPhase, HookState};
use crate::manifest::paths::Variables;
use crate::manifest::services::Operation;

/// A hook of a member.
#[derive(Clone, Debug)]
pub struct Point {
    /// When it runs.
    pub phase: HookPhase,
    /// After which end it runs; for post hooks.
    pub states: Vec<HookState>,
    /// Whether it runs even if the module failed before; for post hooks.
    pub run_on_failure: bool,
    /// Whether the module goes on if it fails.
    pub goes_on: bool,
    /// The program.
    pub hook: ResolvedHook,
}

impl Point {
    /// Returns whether a post hook is due after this end.
    pub fn is_due(&self, state: HookState) -> bool {
        self.states.contains(&state) && (state == HookState::Finish || self.run_on_failure)
    }
}

/// Resolves those of a point that concern this operation.
pub(super) fn resolve(
    hooks: &[Hook],
    manifest: &Manifest,
    variables: &Variables,
    operation: Operation,
) -> Result<Vec<Point>, HookError> {
    let concerned = hooks.iter().filter(|hook| hook.when.is_empty() || hook.when.contains(&operation));
    let resolve = |hook: &Hook| {
        Ok(Point {
            phase: hook.phase,
            states: hook.states.clone(),
            run_on_failure: hook.run_on_failure,
            goes_on: hook.on_error == OnError::Continue,
            hook: ResolvedHook::of(hook, manifest, variables)?,
        })
    };
    concerned.map(resolve).collect()
}
