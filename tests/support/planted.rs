//! The planted bug that this run of the tests is to find, if any: `harness/planted` names it in the environment.

/// Names the bug, for this binary and for the program.
pub const VARIABLE: &str = "DEDUP_PLANTED";

/// Makes the bug active that the environment names. Whatever a test does, it needs a scratch directory first.
#[cfg(feature = "planted")]
pub fn plant() {
    use dedup_engine::planted::{Bug, plant};
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if let Ok(name) = std::env::var(VARIABLE) {
            plant(Bug::from_name(&name).unwrap_or_else(|| panic!("{VARIABLE}={name} is no bug")));
        }
    });
}

/// Does nothing: this build has no bugs to plant.
#[cfg(not(feature = "planted"))]
pub fn plant() {}
