//! Which tests are there for which bug.

use dedup_engine::planted::Bug;

/// A test program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Tests within the engine.
    Engine,
    /// Tests within the modules.
    Modules,
    /// This binary.
    Whole,
}

#[cfg(feature = "planted")]
impl Part {
    /// Every program.
    pub const ALL: [Self; 3] = [Self::Engine, Self::Modules, Self::Whole];

    /// Returns what cargo calls it.
    pub fn target(self) -> &'static str {
        match self {
            Self::Engine => "dedup_engine",
            Self::Modules => "dedup_modules",
            Self::Whole => "all",
        }
    }

    /// Returns the folder that cargo runs it in.
    pub fn folder(self) -> std::path::PathBuf {
        let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        match self {
            Self::Engine => root.join("engine"),
            Self::Modules => root.join("modules"),
            Self::Whole => root,
        }
    }
}

type Row = (Bug, Part, &'static [&'static str]);

/// The bugs, and the tests of which at least one must fail.
pub const FOUND_BY: &[Row] = {
    use Bug::*;
    use Part::*;
    &[
        // A model of what a disk may have kept when the power went.
        (SkipFolderSync, Engine, &["storage::local::crash"]),
        (SkipFileSync, Engine, &["storage::local::crash"]),
        // File calls that fail, one after another.
        (RetrySync, Engine, &["storage::local::tests"]),
        (IgnoreShortWrite, Engine, &["storage::local::tests"]),
        (TwoWinners, Engine, &["storage::local::tests"]),
        (TrustEmptyListing, Engine, &["storage::local::tests"]),
        // Objects that are cut, exchanged, and stored by a client that lies.
        (SkipObjectName, Whole, &["harness::damage::objects::whole_objects"]),
        (SkipChunkName, Whole, &["engine::rubbish"]),
        (IgnoreAssociatedData, Whole, &["harness::damage::objects::whole_objects"]),
        // Memory that flips, seals that repeat, lengths that lie.
        (SkipReopening, Engine, &["pack::"]),
        (ReuseSalt, Whole, &["engine::secrecy::no_two"]),
        (TrustClaimedLength, Engine, &["wire::tests"]),
        (AcceptUnsortedNode, Engine, &["map::"]),
        // Sources.
        (DropLastChunk, Whole, &["engine::concurrency"]),
        (KeepTornRead, Whole, &["engine::vanishing"]),
        (IgnoreCtime, Whole, &["engine::unchanged"]),
        (DropProblem, Whole, &["cli::failures::files_that"]),
        (CopyGaps, Whole, &["engine::copying::damage"]),
        (ForgetDoubt, Whole, &["engine::copying::a_suspect"]),
        (ForgetLinkGroup, Whole, &["engine::model::names_of"]),
        // Runs that are cut after every storage call, and calls that fail.
        (IgnoreStageError, Whole, &["harness::faults::calls::one_object"]),
        (ForgetSegment, Whole, &["harness::crash::calls::the_first"]),
        (EndBeforeSnapshot, Whole, &["harness::crash::calls::the_first"]),
        (AdoptNothing, Whole, &["harness::crash::calls::the_first"]),
        (SkipLostPacks, Whole, &["format::golden::backups_go_on"]),
        (TrustKeptSnapshot, Whole, &["engine::parents"]),
        (TrustParent, Whole, &["engine::sessions"]),
        // The local index.
        (TrustStaleIndex, Whole, &["harness::index::folder::lost"]),
        (SkipIndexDigest, Engine, &["index::tests::crash"]),
        // A prune beside a backup.
        (SkipSecondLook, Whole, &["engine::sessions"]),
        (IgnoreFence, Whole, &["engine::sessions"]),
        // A prune beside anybody, and cut off after every storage call.
        (UndoWithoutLook, Whole, &["engine::forgetting", "engine::pruning"]),
        (OrderByClock, Whole, &["engine::forgetting::the_newest"]),
        (BelieveHighestTime, Engine, &["repo::order"]),
        (PruneSkipsDumps, Whole, &["engine::prune_parts"]),
        (PruneDeletesFirst, Whole, &["engine::pruning", "harness::crash::prune"]),
        (PruneLooksOnce, Whole, &["engine::pruning"]),
        (PruneIgnoresRace, Whole, &["engine::pruning"]),
        (PruneTakesUnlisted, Whole, &["engine::pruning"]),
        (RepackForgets, Whole, &["engine::pruning"]),
        (TrustOtherCopy, Whole, &["engine::prune_copies"]),
        (PruneTrustsNothing, Whole, &["engine::pruning"]),
        // A repair.
        (RepairDeletesFirst, Whole, &["engine::repairing::what_is_sound"]),
        (TrustRot, Whole, &["engine::repairing::what_a_check"]),
        (RepairBelieves, Whole, &["engine::repairing::a_chunk"]),
        // Parity that lies, and packs that were damaged before they came into a group.
        (StoreUncompared, Engine, &["parity::tests::lies"]),
        (GroupUnread, Engine, &["parity::tests::lies"]),
        // The log, and storages that lie.
        (TellOfGone, Whole, &["engine::witness::an_entry_that_came_second"]),
        (RememberFirst, Whole, &["harness::lying::what_is_wrong"]),
        (AcceptLowerHead, Whole, &["harness::lying::every_attack"]),
        (IgnoreOtherHeads, Whole, &["harness::lying::every_attack"]),
        (ObeyOldRetention, Whole, &["harness::lying::every_attack"]),
        (TrustStorageOnly, Whole, &["engine::witness::nothing_is_deleted"]),
        (TrustOldSlot, Whole, &["engine::witness::a_key_that_was"]),
        (BelieveAnyRemovedSlot, Whole, &["engine::rights::who_may_only_append"]),
        (SkipLogSignature, Whole, &["engine::rights::entries_that"]),
        (ObeyAnybody, Whole, &["engine::rights::who_was_admitted"]),
        // Keys.
        (SkipSlotReadBack, Whole, &["engine::keys"]),
        (RemoveSlotFirst, Whole, &["engine::keys"]),
        (IgnoreKeyChanges, Whole, &["engine::keys"]),
        (BelieveAnyEpoch, Whole, &["engine::epochs::only_the_first"]),
        (BelieveOldSegments, Whole, &["engine::epochs_left_out::"]),
        (BelieveOldPacks, Whole, &["engine::epochs_left_out::"]),
        (BelieveOldEnds, Whole, &["engine::epochs_left_out::"]),
        (DropVoidSegments, Whole, &["engine::epochs_under_way::"]),
        (TrustFileCache, Whole, &["engine::write_only"]),
        (TrustStoredPublicKey, Engine, &["repo::config"]),
        (AcceptZeroSecret, Engine, &["crypto::exchange"]),
        // Restores.
        (PublishAtOnce, Modules, &["files::tests::restoring"]),
        (FollowLinks, Modules, &["files::tests::hostile"]),
        // What FreePBX got wrong.
        (LoseFeatureCodes, Whole, &["foreign::freepbx::an_archive_comes"]),
        (EmptyIsAbsent, Whole, &["foreign::freepbx::empty_is_not"]),
        (PrefixIsPattern, Modules, &["records::select::"]),
        (RowsAsText, Modules, &["records::row::tests::rows_are_read"]),
        (IgnoreDumpStatus, Modules, &["sources::tests::a_stream_is_whole"]),
        (AskNetwork, Whole, &["foreign::offline::"]),
        (SecretsInClear, Whole, &["engine::secrets::names_of_secret_files"]),
        // FirstAidKit.
        (SpacesWithoutLock, Modules, &["spaces::tests::many_threads"]),
        (ExistsByName, Modules, &["spaces::tests::every_misuse"]),
        (DeleteBeforeCopy, Modules, &["spaces::tests::a_replay_is_all"]),
        (IgnoreSpaceSeal, Modules, &["spaces::seal::"]),
        (ReviveObjects, Modules, &["foreign::php::"]),
        (IndexBeforeObject, Modules, &["spaces::tests::wherever_it_stops"]),
        (RevertByOtherId, Whole, &["runs::kept::a_restore_that_is_kept"]),
        (CloseNothing, Modules, &["spaces::tests::every_misuse"]),
        (ForgetKind, Modules, &["spaces::tests::every_misuse"]),
        // FreedomBox.
        (SnapshotTooEarly, Whole, &["runs::copies::a_copy_is_of"]),
        (SkipLateHooks, Whole, &["runs::backup_steps::step_7_a_live"]),
        (PartsOfNames, Whole, &["foreign::freedombox::an_archive_comes"]),
        (DropUnmet, Modules, &["selection::tests::what_is_left_out"]),
        // IOTstack.
        (TakeAnyDirectory, Whole, &["foreign::iotstack::types_are"]),
        (ForgetOverride, Whole, &["foreign::iotstack::a_stack_is"]),
        (DirectoriesAsFiles, Whole, &["foreign::iotstack::a_stack_is"]),
        (ForgetLastScript, Whole, &["foreign::iotstack::a_stack_is"]),
        (ForgetEnvironment, Whole, &["foreign::iotstack::a_stack_is"]),
        (SundayIsSeven, Modules, &["manifest::tests::jobs::names_follow"]),
        (EmptyLogs, Modules, &["runlog::tests::the_newest"]),
        (AlwaysZero, Whole, &["runs::backup_steps::what_is_declared"]),
    ]
};

#[cfg(feature = "planted")]
/// Returns every filter once, by program.
pub fn by_part() -> Vec<(Part, Vec<&'static str>)> {
    let all = |part| {
        let rows = FOUND_BY.iter().filter(move |(_, of, _)| *of == part);
        let mut filters: Vec<_> = rows.flat_map(|(_, _, filters)| filters.iter().copied()).collect();
        filters.sort_unstable();
        filters.dedup();
        (part, filters)
    };
    Part::ALL.map(all).to_vec()
}
