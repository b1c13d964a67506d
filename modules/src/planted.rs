//! Bugs put in on purpose: those of the engine's table ([`dedup_engine::planted`]), which the tests of this crate get from
//! their environment, as the engine's do: they have no program that could plant them.

pub use dedup_engine::planted::Bug;
#[cfg(not(feature = "planted"))]
pub use dedup_engine::planted::planted;

/// Returns whether a bug is active.
#[cfg(feature = "planted")]
pub fn planted(bug: Bug) -> bool {
    #[cfg(test)]
    tests::plant_what_was_asked_for();
    dedup_engine::planted::planted(bug)
}

#[cfg(test)]
mod tests {
    /// Makes the bug active that the environment names.
    #[cfg(feature = "planted")]
    pub(super) fn plant_what_was_asked_for() {
        use dedup_engine::planted::{Bug, plant};
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            if let Ok(name) = std::env::var("DEDUP_PLANTED") {
                plant(Bug::from_name(&name).expect("DEDUP_PLANTED names a bug"));
            }
        });
    }

    #[test]
    #[cfg(not(feature = "planted"))]
    fn without_the_feature_there_is_no_bug() {
        assert!(!super::planted(super::Bug::FollowLinks));
    }
}
