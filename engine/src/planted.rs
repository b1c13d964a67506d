//! Bugs put in on purpose, to see whether the tests would find them: `make planted`.
//!
//! A place where one stands asks [`planted`]. Without the feature of that name the answer is the constant
//! `false`: nothing of it is in the program that people get, and nothing can switch it on. With the feature,
//! `plant` makes at most one of them active in this process.

macro_rules! bugs {
    ($($(#[doc = $story:literal])+ $bug:ident = $name:literal,)+) => {
        /// What can be wrong; each is a mistake that some backup program once made, or that is easily made here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $($(#[doc = $story])+ $bug,)+
        }

        #[cfg(feature = "planted")]
        impl Bug {
            /// Every bug.
            pub const ALL: &[Self] = &[$(Self::$bug,)+];

            /// Returns its name, as people read it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => $name,)+
                }
            }

            /// Returns the bug of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|bug| bug.name() == name)
            }
        }
    };
}

bugs! {
    /// The name of a new object is not synced: a power cut takes it away again.
    SkipFolderSync = "skip-directory-fsync",
    /// The bytes of a new object are not synced before it gets its name: a power cut leaves an empty one.
    SkipFileSync = "skip-file-fsync",
    /// A sync that failed is tried again; the second says that all is well, since the lost pages count as clean.
    RetrySync = "retry-fsync",
    /// What a write did not take is not written.
    IgnoreShortWrite = "ignore-short-write",
    /// Two writers of one name are both told that theirs was stored.
    TwoWinners = "two-winners-of-one-name",
    /// A folder of the repository that is not there is an empty listing.
    TrustEmptyListing = "trust-empty-listing",
    /// The bytes of an object are not compared with its name.
    SkipObjectName = "skip-object-name-check",
    /// The bytes of a chunk are not compared with its name, neither by a restore nor for a listing.
    SkipChunkName = "skip-chunk-name-check",
    /// A pack is stored without being opened, decompressed and compared first.
    SkipReopening = "skip-decompress-and-compare",
    /// A seal is not bound to the name under which the object stands.
    IgnoreAssociatedData = "accept-wrong-associated-data",
    /// A new object gets the salt of the one before, so that key and nonce are used twice.
    ReuseSalt = "reuse-salt-and-nonce",
    /// A list is as long as it claims, however few bytes follow.
    TrustClaimedLength = "allocate-by-claimed-length",
    /// Keys of a map node need not rise.
    AcceptUnsortedNode = "accept-unsorted-map-node",
    /// The last chunk of a longer stream is forgotten.
    DropLastChunk = "lose-last-partial-block",
    /// A file that changed while it was read is taken for whole.
    KeepTornRead = "half-read-file-as-whole",
    /// A file whose length and time of modification are the same is unchanged, whatever was done to its inode.
    IgnoreCtime = "unchanged-ignores-ctime",
    /// A file that could not be read is left out without a word.
    DropProblem = "commit-though-files-failed",
    /// The error of a stage of the pipeline is not passed on.
    IgnoreStageError = "ignore-stage-error",
    /// The index tells of a chunk before a durable segment names its pack, and no segment is ever written.
    ForgetSegment = "index-vouches-without-segment",
    /// A session ends as committed before its snapshot is stored.
    EndBeforeSnapshot = "end-before-snapshot",
    /// An unchanged file is taken over from the parent without asking whether its chunks are still stored.
    TrustParent = "trust-parent-blindly",
    /// A snapshot of which this machine keeps a copy is a parent, whether its session committed it or not.
    TrustKeptSnapshot = "trust-kept-snapshot",
    /// Packs that a snapshot relies on are not looked at before it is stored.
    SkipLostPacks = "rely-on-packs-unseen",
    /// Segments that vanished from the storage go on vouching for their packs.
    TrustStaleIndex = "trust-stale-index",
    /// An index is believed though its packs are not the ones that it counted.
    SkipIndexDigest = "believe-torn-index",
    /// A run does not look at condemned sets again once it has published what it needs.
    SkipSecondLook = "skip-second-look",
    /// A session that a prune has fenced commits all the same.
    IgnoreFence = "ignore-fence",
    /// A prune looks only at listings, not at dumps.
    PruneSkipsDumps = "prune-skips-dumps",
    /// A prune deletes before the generation that says so is there.
    PruneDeletesFirst = "delete-before-generation",
    /// A prune does not read again, after its condemned set, who runs and what is forgotten.
    PruneLooksOnce = "prune-looks-once",
    /// A prune that finds its generation's number taken deletes all the same.
    PruneIgnoresRace = "prune-ignores-lost-race",
    /// A prune takes packs that no segment names although runs have not ended.
    PruneTakesUnlisted = "prune-takes-packs-of-runs",
    /// A prune that wrote packs anew removes the old ones before a segment names the new ones.
    RepackForgets = "repack-loses-a-chunk",
    /// A copy of a chunk is removed without a look at the one that stays.
    TrustOtherCopy = "prune-trusts-other-copy",
    /// A prune believes a listing of no snapshots.
    PruneTrustsNothing = "prune-trusts-empty-listing",
    /// A snapshot is taken back without a look at the prune that is about to remove it.
    UndoWithoutLook = "undo-forget-without-look",
    /// The newest snapshot is the one with the latest time, whatever the log says.
    OrderByClock = "order-by-clock",
    /// No time is earlier than one before it: after a clock that was ahead all days are one.
    BelieveHighestTime = "believe-highest-time",
    /// An entry of the log says that a snapshot was made which was removed meanwhile.
    TellOfGone = "log-tells-of-what-is-gone",
    /// What is read of the log is remembered before it was compared.
    RememberFirst = "remember-before-comparing",
    /// A log that ends before the entry that is remembered is as good.
    AcceptLowerHead = "accept-lower-head",
    /// The signature of an entry of the log is not verified.
    SkipLogSignature = "skip-signature-of-log",
    /// What entries say of other logs and of generations is not compared with them.
    IgnoreOtherHeads = "ignore-heads-of-others",
    /// What is forgotten is whatever the storage shows, older than what was seen or not.
    ObeyOldRetention = "obey-old-retention",
    /// Snapshots that the log tells of need not be there.
    TrustStorageOnly = "log-names-no-snapshots",
    /// Whoever can sign may forget and remove.
    ObeyAnybody = "obey-without-right",
    /// A key slot that was removed opens again if it is put back.
    TrustOldSlot = "trust-removed-slot",
    /// Whoever says that a key was removed is believed.
    BelieveAnyRemovedSlot = "believe-any-removed-slot",
    /// Packs of an interrupted run are never put into a segment.
    AdoptNothing = "forget-packs-of-dead-runs",
    /// What a check found rotten is relied on all the same.
    TrustRot = "rely-on-packs-found-rotten",
    /// A repair removes a damaged pack before what is sound in it is stored anew.
    RepairDeletesFirst = "repair-deletes-before-it-saves",
    /// A repair takes a chunk of a damaged pack for sound without comparing it with its name.
    RepairBelieves = "repair-believes-chunks",
    /// A file that cannot be read is left out of a copy.
    CopyGaps = "copy-leaves-gaps",
    /// A snapshot that is suspect is simply good where it is copied to.
    ForgetDoubt = "copy-forgets-doubt",
    /// Names with the same hard-link group are one file, though the group was named for another path.
    ForgetLinkGroup = "trust-hard-link-group",
    /// Objects are sealed to the public key that the configuration names, whatever that of the slot is.
    TrustStoredPublicKey = "seal-to-stored-public-key",
    /// A secret of an exchange may be all zero, so that everybody can compute it.
    AcceptZeroSecret = "accept-zero-secret",
    /// What the file cache remembers is taken over without asking whether its chunks are still stored.
    TrustFileCache = "trust-file-cache-blindly",
    /// Who removes a slot does not ask whether somebody else has removed the one in use.
    IgnoreKeyChanges = "ignore-key-changes",
    /// A key epoch counts whoever says so.
    BelieveAnyEpoch = "believe-any-epoch",
    /// A segment that somebody wrote under an earlier key epoch counts as those of before.
    BelieveOldSegments = "believe-old-segments",
    /// A segment that a key epoch made void is removed, though nothing else names its packs.
    DropVoidSegments = "drop-void-segments",
    /// A pack of an earlier key epoch that no segment names is relied on, though nobody read it.
    BelieveOldPacks = "believe-old-packs",
    /// A snapshot that was committed under an earlier key epoch exists, though the log does not know it.
    BelieveOldEnds = "believe-old-ends",
    /// A new key slot is not read back before the old one goes.
    SkipSlotReadBack = "trust-stored-key-slot",
    /// The old key slot goes before the new one is stored.
    RemoveSlotFirst = "remove-old-key-first",
    /// A restored file stands under its name before it is complete.
    PublishAtOnce = "restore-under-final-name",
    /// A restore follows symbolic links in its target.
    FollowLinks = "follow-symlink-on-restore",
    // Rules of runs of modules, one for each step: `tests/runs/rows.rs`.
    /// A key of a manifest that nobody knows means nothing.
    IgnoreUnknownKey = "ignore-unknown-manifest-key",
    /// Two runs of modules go on at once.
    RunTogether = "two-runs-of-modules-at-once",
    /// What a dead run left is not looked for.
    ForgetDeadRuns = "forget-dead-runs",
    /// Modules come in the order of their names, whatever they need.
    OrderByName = "order-modules-by-name",
    /// A storage that the job requires need not be there.
    NeedNoStorage = "require-no-storage",
    /// A hook of the job that fails before anything is done is passed over.
    IgnoreJobHook = "ignore-job-hook",
    /// A module whose hook failed is backed up all the same.
    GoOnAfterHook = "go-on-after-failed-hook",
    /// A filesystem snapshot that is required need not be.
    NeedNoSnapshot = "require-no-filesystem-snapshot",
    /// A service that does not stop is good enough.
    IgnoreStopFailure = "ignore-service-that-runs-on",
    /// What a declared path lacks is not in the account.
    DropItem = "account-lacks-absent-item",
    /// Services start whether they ran or not.
    StartWhatWasOff = "start-what-did-not-run",
    /// Services start in the order in which they stopped.
    StartInReverse = "start-in-order-of-stopping",
    /// The guard does nothing for a run that was killed.
    LeaveKilledRun = "guard-undoes-nothing",
    /// A late hook that fails takes the data of its module with it.
    DropDataOfLateHook = "late-hook-voids-data",
    /// A snapshot is published though every module failed.
    PublishNothing = "publish-without-any-module",
    /// A copy that is owed is not recorded.
    OweNothing = "forget-owed-copy",
    /// What was written is not read again.
    VerifyNothing = "verify-nothing",
    /// Retention follows a run that is partial.
    RetainAfterPartial = "retain-after-partial-run",
    /// What a run left aside is never removed.
    KeepLeftovers = "keep-leftovers-of-runs",
    /// A notification that fails makes its run partial.
    CountNotification = "notification-changes-result",
    /// `latest` may be a snapshot that lacks a part.
    TakePartial = "latest-takes-partial",
    /// A manifest out of a snapshot is obeyed like one that is installed.
    ObeyStored = "obey-manifest-of-snapshot",
    /// Modules to be left as they are are restored too.
    IgnoreIgnored = "restore-ignored-modules",
    /// Data of a newer version are taken by an older program.
    TakeNewer = "take-newer-data",
    /// Who cannot be asked has said yes.
    SilenceIsYes = "silence-is-yes",
    /// Nothing is verified before it is replaced.
    RestoreUnverified = "restore-unverified",
    /// A module that could not be set up is restored.
    IgnoreSetup = "restore-without-setup",
    /// A module that says it cannot be restored is restored.
    IgnoreCheck = "ignore-check-of-module",
    /// A module is restored without what it requires.
    BlockNothing = "block-no-dependents",
    /// Services run on while their files are replaced.
    RestoreUnderServices = "restore-under-running-services",
    /// A module that failed stays half restored.
    LeaveHalfRestored = "leave-half-restored",
    /// What a manifest has moved away is deleted.
    DeleteForGood = "delete-instead-of-move",
    /// What was stored and nobody takes is not told.
    TakeInSilence = "tell-nothing-of-what-is-not-taken",
    /// What an importer leaves of what was exported is not told.
    ImportInSilence = "tell-nothing-of-what-importers-leave",
    /// A pack that was rebuilt is stored without comparing it with its name.
    StoreUncompared = "store-rebuilt-pack-uncompared",
    /// A pack is taken into a group of parity whatever its bytes are.
    GroupUnread = "group-with-damaged-pack",
    /// Files go where the snapshot says, declared here or not.
    RestoreAnywhere = "restore-undeclared-places",
    /// A service that does not start is no error.
    IgnoreStartFailure = "ignore-service-that-stays-down",
    /// A hook after the work that fails is not told.
    IgnoreLateHook = "ignore-late-hook",
    /// What a restore kept aside stays when it is not needed any more.
    KeepAside = "keep-what-is-settled",
    /// How a run ended is not in its log.
    LogNoEnd = "log-without-end",
    // What the seeds got wrong, beside the rules of runs: `modules/SEEDS.md`.
    /// Feature codes are read by one of the two names that they are written by.
    LoseFeatureCodes = "read-codes-by-one-name",
    /// What is there and empty is not there.
    EmptyIsAbsent = "empty-is-absent",
    /// An underscore of a prefix stands for any character.
    PrefixIsPattern = "prefix-is-a-pattern",
    /// Bytes of a row are text.
    RowsAsText = "rows-as-text",
    /// What a program printed is whole, however it ended.
    IgnoreDumpStatus = "ignore-status-of-dumps",
    /// A restore asks the network first, and restores nothing without it.
    AskNetwork = "restore-asks-the-network",
    /// What only the key of secrets may open is stored like all else.
    SecretsInClear = "secrets-like-all-else",
    /// Two who put into a space at once both write its index.
    SpacesWithoutLock = "space-without-lock",
    /// A space compares its names with paths.
    ExistsByName = "space-compares-names-with-paths",
    /// What is there goes before its copy is whole.
    DeleteBeforeCopy = "delete-before-copy-back",
    /// Bytes of a space are as they were written, whatever their seal says.
    IgnoreSpaceSeal = "ignore-seal-of-spaces",
    /// A serialised object is a value.
    ReviveObjects = "revive-objects",
    /// The index of a space names an object that is not there yet.
    IndexBeforeObject = "space-index-before-object",
    /// What is reverted is looked for by another id than its own.
    RevertByOtherId = "revert-by-another-id",
    /// A space that is closed stays.
    CloseNothing = "close-no-space",
    /// A path that was put is a value, if somebody asks for one.
    ForgetKind = "space-forgets-kinds",
    /// The filesystem snapshot is taken while services run.
    SnapshotTooEarly = "snapshot-before-quiet",
    /// After a failure no hook is run any more.
    SkipLateHooks = "no-hooks-after-failure",
    /// What begins like a path of a module is the module's.
    PartsOfNames = "parts-of-names-are-paths",
    /// A module whose requirements are not met is left out.
    DropUnmet = "drop-module-without-its-needs",
    /// Any directory is a stack.
    TakeAnyDirectory = "any-directory-is-a-stack",
    /// The override file of a stack is not its own.
    ForgetOverride = "stack-without-override",
    /// Directories of a stack are looked for among its files.
    DirectoriesAsFiles = "directories-as-files",
    /// The script after a restore is not in the backup.
    ForgetLastScript = "stack-without-last-script",
    /// The environment of a stack is not in the backup.
    ForgetEnvironment = "stack-without-environment",
    /// Days of the week are 1 to 7 where they should be 0 to 6.
    SundayIsSeven = "sunday-is-seven",
    /// Of logs the newest is enough.
    EmptyLogs = "keep-no-logs",
    /// However it ended, the status is 0.
    AlwaysZero = "status-is-always-zero",
}

#[cfg(feature = "planted")]
static ACTIVE: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(u8::MAX);

/// Makes a bug active in this process, in the place of any other.
#[cfg(feature = "planted")]
pub fn plant(bug: Bug) {
    ACTIVE.store(bug as u8, std::sync::atomic::Ordering::SeqCst);
}

/// Returns whether a bug is active; never without the feature.
#[cfg(not(feature = "planted"))]
pub const fn planted(_: Bug) -> bool {
    false
}

/// Returns whether a bug is active.
#[cfg(feature = "planted")]
pub fn planted(bug: Bug) -> bool {
    #[cfg(test)]
    tests::plant_what_was_asked_for();
    ACTIVE.load(std::sync::atomic::Ordering::Relaxed) == bug as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the feature the compiler itself knows that no bug is there.
    #[cfg(not(feature = "planted"))]
    const _: () = assert!(!planted(Bug::SkipFolderSync));

    /// Takes the bug from the environment: tests of this crate have no program that could do so.
    #[cfg(feature = "planted")]
    pub(super) fn plant_what_was_asked_for() {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            if let Ok(name) = std::env::var("DEDUP_PLANTED") {
                plant(Bug::from_name(&name).expect("DEDUP_PLANTED names a bug"));
            }
        });
    }

    #[test]
    #[cfg(feature = "planted")]
    fn names_lead_back_to_their_bugs() {
        for bug in Bug::ALL {
            assert_eq!(Bug::from_name(bug.name()), Some(*bug));
        }
    }

    #[test]
    #[cfg(not(feature = "planted"))]
    fn without_the_feature_there_is_no_bug() {
        assert!(!planted(Bug::SkipFolderSync));
    }
}
