//! What the roots of one repository are used for: one derived key per use and epoch.

use super::exchange::{self, Ephemeral};
use super::header::{Header, ObjectKind, SaltKind};
use super::roots::{Bundle, Root};
use super::seal::ObjectKey;
use super::{CryptoError, Secret, derive, random};
use crate::error::Corrupt;
use crate::id::{ChunkId, ClientId, RepoId, SessionId};
use crate::planted::{Bug, planted};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use zeroize::Zeroizing;

/// What a slot does not open that was left out when an epoch began.
const LATER: &str =
    "what a newer key epoch holds: it was left out when that began, and has to be added again";

/// The keys of one repository, as far as the opened slot holds their roots. Those of epochs that are found later come
/// to it while it is in use.
pub struct Keyring {
    repo: RepoId,
    bundle: RwLock<Arc<Bundle>>,
    /// Newest epoch that counts, whether its roots are here or not.
    epoch: AtomicU32,
    hedge: Secret,
    salts: AtomicU64,
}

/// Which chunks an id is of; each kind has its own naming key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChunkKind {
    /// File contents and dumps.
    Data,
    /// Map nodes, lists and attribute sets.
    Listing,
    /// Everything of a secret section.
    Secrets,
}

impl ObjectKind {
    /// Returns the context string and the root of the key for objects of this kind.
    fn key_use(self) -> (&'static str, Root) {
        match self {
            Self::Config => ("dedup 2026-11-21 config", Root::Dedupe),
            Self::Segment => ("dedup 2026-11-21 segment", Root::Dedupe),
            Self::Session => ("dedup 2026-11-21 session", Root::Dedupe),
            Self::Intent => ("dedup 2026-11-21 intent", Root::Dedupe),
            Self::End => ("dedup 2026-11-21 end", Root::Dedupe),
            Self::Progress => ("dedup 2026-11-21 progress", Root::Dedupe),
            Self::Condemned => ("dedup 2026-11-21 condemned", Root::Dedupe),
            Self::Generation => ("dedup 2026-11-21 generation", Root::Dedupe),
            Self::Log => ("dedup 2026-11-21 log", Root::Dedupe),
            Self::Epoch => ("dedup 2026-11-21 epoch", Root::Dedupe),
            Self::Parity => ("dedup 2026-11-21 parity", Root::Dedupe),
            Self::KeyChange => ("dedup 2026-11-21 key change", Root::Dedupe),
            Self::Retention => ("dedup 2026-11-21 retention", Root::Dedupe),
            Self::DataPack => ("dedup 2026-11-21 data pack", Root::Read),
            Self::ListingPack => ("dedup 2026-11-21 listing pack", Root::Read),
            Self::Snapshot => ("dedup 2026-11-21 snapshot", Root::Read),
            Self::Run => ("dedup 2026-11-21 run", Root::Read),
            Self::SecretsPack => ("dedup 2026-11-21 secrets pack", Root::Secrets),
        }
    }
}

impl Keyring {
    /// Takes the roots of an opened slot; DEDUPE of epoch 1 must be among them.
    pub fn new(repo: RepoId, bundle: Bundle) -> Result<Self, CryptoError> {
        let dedupe = bundle.get(Root::Dedupe, 1).ok_or(CryptoError::NotEntitled("the repository"))?;
        let hedge = derive("dedup 2026-11-21 hedge", &dedupe[..]);
        let (bundle, epoch) = (RwLock::new(Arc::new(bundle)), AtomicU32::new(1));
        Ok(Self { repo, bundle, epoch, hedge, salts: AtomicU64::new(0) })
    }

    /// Takes up that an epoch counts, with its roots if this slot was taken along: what is sealed from now on is of it.
    pub(crate) fn begin_epoch(&self, epoch: u32, roots: Option<&Bundle>) {
        if let Some(roots) = roots {
            let mut held = self.bundle.write().unwrap_or_else(PoisonError::into_inner);
            *held = Arc::new(held.joined_with(roots));
        }
        self.epoch.fetch_max(epoch, Ordering::AcqRel);
    }

    /// Returns the newest epoch that counts.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Returns the epoch of new objects of a kind. Those that everybody has to read are of the first always.
    fn epoch_of(&self, kind: ObjectKind) -> u32 {
        match kind {
            ObjectKind::Config | ObjectKind::Log | ObjectKind::KeyChange | ObjectKind::Epoch => 1,
            // Signed, so that their seal is not what makes them count; who was left out still needs them to read what was
            // stored before.
            ObjectKind::Generation | ObjectKind::Retention => 1,
            _ => self.epoch(),
        }
    }

    /// Returns whether the roots of the newest epoch are here.
    pub(crate) fn is_up_to_date(&self) -> bool {
        self.bundle().get(Root::Dedupe, self.epoch()).is_some()
    }

    /// Takes another public key to seal to, as one that stands in an object: the mistake of [`Bug::TrustStoredPublicKey`].
    pub(crate) fn sealing_to(&self, public: [u8; 32]) -> Result<Self, CryptoError> {
        Self::new(self.repo, self.bundle().sealing_to(public))
    }

    /// Returns the repository's id.
    pub fn repo(&self) -> RepoId {
        self.repo
    }

    /// Returns the roots.
    pub fn bundle(&self) -> Arc<Bundle> {
        Arc::clone(&self.bundle.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether data, listings and snapshots can be read.
    pub fn can_read(&self) -> bool {
        self.bundle().holds(Root::Read)
    }

    /// Returns the identity under which this slot writes.
    pub fn client(&self) -> Result<ClientId, CryptoError> {
        let public = self.bundle().signer().ok_or(CryptoError::NotEntitled("writing (no signing key)"))?;
        Ok(client_of(&public))
    }

    /// Derives a further key from DEDUPE of epoch 1; `context` is one of those of `FORMAT.md` 4.1.
    pub(crate) fn further(&self, context: &'static str) -> Result<Secret, CryptoError> {
        Ok(derive(context, &self.dedupe(1)?[..]))
    }

    /// Returns the key that names chunks of a kind.
    fn chunk_id_key(&self, kind: ChunkKind) -> Result<Secret, CryptoError> {
        self.further(match kind {
            ChunkKind::Data => "dedup 2026-11-21 chunk id data",
            ChunkKind::Listing => "dedup 2026-11-21 chunk id listing",
            ChunkKind::Secrets => "dedup 2026-11-21 chunk id secrets",
        })
    }

    /// Returns what names chunks.
    pub(crate) fn namer(&self) -> Result<Namer, CryptoError> {
        Ok(Namer {
            data: self.chunk_id_key(ChunkKind::Data)?,
            listing: self.chunk_id_key(ChunkKind::Listing)?,
            secrets: self.chunk_id_key(ChunkKind::Secrets)?,
        })
    }

    /// Makes the key of a new object. `digest` is BLAKE3 of *everything* that will be sealed under it,
    /// which must be fixed by now: so neither a cloned machine nor a broken generator can seal two
    /// different things under one key.
    pub fn sealer(
        &self,
        kind: ObjectKind,
        session: Option<SessionId>,
        digest: &blake3::Hash,
    ) -> Result<ObjectKey, CryptoError> {
        let count = self.salts.fetch_add(1, Ordering::Relaxed);
        let random: [u8; 32] = random()?;
        let salt = blake3::Hasher::new_keyed(&self.hedge)
            .update(&random)
            .update(digest.as_bytes())
            .update(session.as_ref().map_or(&[0; 16][..], |session| session.as_bytes()))
            .update(&count.to_le_bytes())
            .finalize();
        let salt = if planted(Bug::ReuseSalt) { blake3::hash(&[]) } else { salt };
        let epoch = self.epoch_of(kind);
        let Some(public) = self.sealed_to(kind, epoch) else {
            let header = Header::new(kind, SaltKind::Roots, epoch, salt.as_bytes());
            return Ok(ObjectKey::create(&self.kind_key(kind, epoch)?, self.repo, header));
        };
        let ephemeral = Ephemeral::new(*salt.as_bytes());
        let kind_key = ephemeral.kind_key(&public, &self.dedupe(epoch)?, kind)?;
        let header = Header::new(kind, SaltKind::X25519, epoch, &ephemeral.salt());
        Ok(ObjectKey::create(&kind_key, self.repo, header).forgetting(ephemeral))
    }

    /// Returns the public key that objects of a kind are sealed to, if this slot cannot read them and holds one.
    fn sealed_to(&self, kind: ObjectKind, epoch: u32) -> Option<Secret> {
        let (_, root) = kind.key_use();
        let public = match root {
            Root::Read => Root::X25519Public,
            Root::Secrets => Root::SecretsPublic,
            _ => return None,
        };
        let bundle = self.bundle();
        if bundle.get(root, epoch).is_some() { None } else { bundle.get(public, epoch).cloned() }
    }

    /// Returns whether chunks of a kind can be stored: what is stored can be read by somebody, if not by this slot.
    pub fn can_store(&self, kind: ObjectKind) -> bool {
        let epoch = self.epoch_of(kind);
        self.sealed_to(kind, epoch).is_some() || self.bundle().get(kind.key_use().1, epoch).is_some()
    }

    /// Makes the key of a stored object from its header.
    pub fn opener(&self, header: Header) -> Result<ObjectKey, CryptoError> {
        let kind_key = match header.salt_kind() {
            SaltKind::Roots => self.kind_key(header.kind(), header.epoch())?,
            SaltKind::X25519 => self.exchanged(&header)?,
        };
        ObjectKey::open(&kind_key, self.repo, header)
    }

    /// Makes the key of an object that was just sealed anew, from the header as it is to be stored: what was sealed must
    /// open. `forgotten` is what the writer knows until then of an object that it cannot read.
    pub(crate) fn reopener(
        &self,
        header: Header,
        forgotten: Option<&Ephemeral>,
    ) -> Result<ObjectKey, CryptoError> {
        let (Some(ephemeral), Some(public)) = (forgotten, self.sealed_to(header.kind(), header.epoch()))
        else {
            return self.opener(header);
        };
        if header.salt_kind() != SaltKind::X25519 || header.salt() != ephemeral.salt() {
            return Err(Corrupt::new(header.kind().word(), "its salt changed").at(16).into());
        }
        let kind_key = ephemeral.kind_key(&public, &self.dedupe(header.epoch())?, header.kind())?;
        ObjectKey::open(&kind_key, self.repo, header)
    }

    /// Returns the kind key of an object that a client stored which could not read it.
    fn exchanged(&self, header: &Header) -> Result<Secret, CryptoError> {
        let (kind, epoch) = (header.kind(), header.epoch());
        let private = match kind.key_use().1 {
            Root::Read => {
                let private = self.bundle().get(Root::X25519Private, epoch).cloned();
                private.ok_or(CryptoError::NotEntitled("data and snapshots"))?
            }
            Root::Secrets => {
                let root = self.bundle().get(Root::Secrets, epoch).cloned();
                exchange::of_secrets(&root.ok_or(CryptoError::NotEntitled("secrets"))?)
            }
            _ => return Err(Corrupt::new(kind.word(), "such objects are sealed by the roots").at(9).into()),
        };
        let salt = header.salt().try_into().map_err(|_| Corrupt::new(kind.word(), "truncated"))?;
        exchange::kind_key(&private, salt, &self.dedupe(epoch)?, kind)
    }

    fn dedupe(&self, epoch: u32) -> Result<Secret, CryptoError> {
        self.bundle().get(Root::Dedupe, epoch).cloned().ok_or(CryptoError::NotEntitled(LATER))
    }

    fn kind_key(&self, kind: ObjectKind, epoch: u32) -> Result<Secret, CryptoError> {
        let (context, root) = kind.key_use();
        let bundle = self.bundle();
        let secret = bundle.get(root, epoch).ok_or_else(|| match root {
            _ if bundle.get(Root::Dedupe, epoch).is_none() => CryptoError::NotEntitled(LATER),
            Root::Secrets => CryptoError::NotEntitled("secrets"),
            Root::Read => CryptoError::NotEntitled("data and snapshots"),
            _ => CryptoError::NotEntitled(LATER),
        })?;
        Ok(derive(context, &secret[..]))
    }

    /// Returns the secret gear table: 256 words of the chunker's rolling hash.
    pub(crate) fn gear(&self) -> Result<Zeroizing<Vec<u64>>, CryptoError> {
        let key = self.further("dedup 2026-11-21 gear")?;
        let mut bytes = Zeroizing::new([0u8; 2048]);
        blake3::Hasher::new_keyed(&key).finalize_xof().fill(&mut bytes[..]);
        let words = bytes.chunks_exact(8).filter_map(|word| word.first_chunk::<8>());
        Ok(Zeroizing::new(words.map(|word| u64::from_le_bytes(*word)).collect()))
    }
}

/// Names chunks: BLAKE3 of the plaintext, keyed by kind.
#[derive(Clone)]
pub struct Namer {
    data: Secret,
    listing: Secret,
    secrets: Secret,
}

impl Namer {
    /// Returns the name of a chunk.
    pub fn name(&self, kind: ChunkKind, plain: &[u8]) -> ChunkId {
        let key = match kind {
            ChunkKind::Data => &self.data,
            ChunkKind::Listing => &self.listing,
            ChunkKind::Secrets => &self.secrets,
        };
        ChunkId::from_bytes(*blake3::keyed_hash(key, plain).as_bytes())
    }
}

/// Returns the client that signs with this Ed25519 public key: the first 16 bytes of its BLAKE3.
pub fn client_of(public_key: &[u8; 32]) -> ClientId {
    let hash = blake3::hash(public_key);
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_bytes()[..16]);
    ClientId::from_bytes(id)
}

impl std::fmt::Debug for Keyring {
    /// Shows which roots there are, never their bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("repo", &self.repo).field("bundle", &self.bundle()).finish()
    }
}
