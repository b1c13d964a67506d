//! Who may do what, asked and given.

use super::reading::rights;
use crate::crypto::keyring::client_of;
use crate::id::ClientId;
use crate::listing::Time;
use crate::log::{ADMIT, ALL, Act, Rights};
use crate::repo::sessions::generation;
use crate::repo::{RepoError, Repository};

impl Repository {
    fn rights(&self) -> Result<Rights, RepoError> {
        self.know_log()?;
        let words = self.with_log(|memory| memory.words.clone()).unwrap_or_default();
        Ok(rights(&self.objects, self.first_client(), &words))
    }

    /// Refuses what the key in use has no right to; `what` says it, as a verb.
    pub(crate) fn assert_right(&self, right: u64, what: &str) -> Result<(), RepoError> {
        let own = self.objects.keyring.client()?;
        if self.rights()?.of(&own) & right != 0 {
            return Ok(());
        }
        let way = "a key that may give rights has to admit it: see `dedup witness`";
        Err(RepoError::Refused(format!("this key (client {}) may not {what}; {way}", own.short())))
    }

    /// Gives the signer with this Ed25519 public key rights: [`ALL`], or fewer. From the first time that somebody has
    /// fewer, only those who were admitted have any; so all who are known by then keep theirs.
    ///
    /// # Errors
    /// [`RepoError::Refused`] if the key in use may not do that.
    pub fn admit(&self, public_key: [u8; 32], rights: u64, time: Time) -> Result<(), RepoError> {
        self.assert_right(ADMIT, "give rights to others")?;
        let (own, said) = (self.objects.keyring.client()?, self.rights()?);
        if rights != ALL && !said.may_admit(&own) {
            let way = "use the key that made the repository, or one that was added with it";
            return Err(RepoError::Refused(format!(
                "nobody would have to believe this key who has fewer rights; {way}"
            )));
        }
        if rights != ALL && !said.are_told_apart() {
            for known in self.signers()? {
                let client = client_of(&known);
                if client != own
                    && Some(client) != said.first()
                    && !said.knows(&client)
                    && known != public_key
                {
                    self.log(Act::Admitted { public_key: known, rights: ALL }, Some(time))?;
                }
            }
        }
        self.log(Act::Admitted { public_key, rights }, Some(time))
    }

    /// Returns the public keys of all who are known: those who wrote entries, and those who signed generations.
    fn signers(&self) -> Result<Vec<[u8; 32]>, RepoError> {
        let mut keys: Vec<[u8; 32]> = self
            .with_log(|memory| memory.heads.values().map(|seen| seen.public_key).collect())
            .unwrap_or_default();
        let mut number = 1;
        while let Some((one, _)) = generation(&self.objects, number)? {
            keys.push(one.public_key);
            number += 1;
        }
        keys.sort_unstable();
        keys.dedup();
        // Of a log that cannot be read nobody knows the key.
        keys.retain(|key| *key != [0; 32]);
        Ok(keys)
    }

    /// Gives rights to a client whose log is there, by its name.
    pub fn admit_client(&self, client: ClientId, rights: u64, time: Time) -> Result<(), RepoError> {
        self.know_log()?;
        let key = self.signers()?.into_iter().find(|key| client_of(key) == client);
        let absent =
            || RepoError::Refused(format!("nothing is stored that client {} signed", client.short()));
        self.admit(key.ok_or_else(absent)?, rights, time)
    }
}
