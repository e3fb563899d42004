//! Changes keys while the hub runs. The new authority issues at once; both are believed until the overlap is over, and the
//! hub shows itself to those who know only the old one by way of a certificate that the old one gave the new one. The new
//! signing key is told to devices, signed with the old one, which signs until the end.
//!
//! Every step is prepared on disk and in memory, counts from the one moment at which `standing` is replaced, and is swept up
//! after. Whatever is interrupted, the hub has either the old keys or both.

use std::sync::PoisonError;

use crate::{
    Trust,
    authority::{self, Authority},
    clients,
    error::TrustError,
    files,
    keys::Keys,
    server, signing,
    standing::{Dated, Number, Standing},
};

/// What a look at the time has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The hub shows another certificate.
    pub renewed: bool,
    /// The authority of this fingerprint is not believed any more.
    pub ended_authority: Option<[u8; 32]>,
    /// The hub has one signing key again.
    pub ended_signing_key: bool,
}

/// The authorities and signing keys that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustState {
    /// The authority that issues: its fingerprint.
    pub authority: [u8; 32],
    /// Since when it does, in seconds since 1970.
    pub authority_since: u64,
    /// The one before it, and until when it is believed.
    pub previous_authority: Option<([u8; 32], u64)>,
    /// The public signing keys, newest first.
    pub signing_keys: Vec<[u8; 32]>,
    /// Since when the one that signs does.
    pub signing_since: u64,
    /// Until when there are two at the longest.
    pub signing_until: Option<u64>,
}

impl Trust {
    /// Makes a new authority, and believes the present one for so long by known time. Returns the fingerprint of the new one.
    /// `revoked`: what the present one takes back with its last word, for its key goes; see [`Self::revocations`].
    ///
    /// # Errors
    /// [`TrustError::Rotating`], or it can't be made or kept; everything is as it was then.
    pub fn rotate_authority(
        &self,
        overlap_s: u64,
        revoked: &[Vec<u8>],
    ) -> Result<[u8; 32], TrustError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.keys();
        if keys.standing.previous.is_some() {
            return Err(TrustError::Rotating("CA"));
        }
        let now = self.time().now();
        let number = next(keys.standing.authority);
        let made = Authority::create(self.dir(), number)?;
        made.cross_sign(self.dir(), number, &keys.authority)?;
        let last_word = keys.authority.revocations(revoked, now)?;
        let present = keys.standing.authority.number;
        files::replace(
            &self.dir().join(authority::revocations_name(present)),
            last_word.as_bytes(),
        )?;
        let until = now.saturating_add(overlap_s);
        let standing = Standing {
            authority: Dated { number, at: now },
            previous: Some(Dated { number: present, at: until }),
            ..keys.standing
        };
        self.change(standing)?;
        let fingerprint = made.fingerprint();
        if overlap_s == 0 {
            self.end_authority(now)?;
        }
        Ok(fingerprint)
    }

    /// Makes a new signing key. The present one signs for so long, or until [`Self::end_signing_key`].
    ///
    /// # Errors
    /// As [`Self::rotate_authority`].
    pub fn rotate_signing_key(&self, overlap_s: u64) -> Result<(), TrustError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.keys();
        if keys.standing.next_signing.is_some() {
            return Err(TrustError::Rotating("signing key"));
        }
        let number = next(keys.standing.signing);
        signing::make(self.dir(), number)?;
        let until = self.time().now().saturating_add(overlap_s);
        let next_signing = Some(Dated { number, at: until });
        self.change(Standing { next_signing, ..keys.standing })
    }

    /// Signs with the newest key alone from now on. False if there is only one.
    ///
    /// # Errors
    /// It can't be kept.
    pub fn end_signing_key(&self) -> Result<bool, TrustError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.keys();
        let Some(next) = keys.standing.next_signing else { return Ok(false) };
        let signing = Dated { number: next.number, at: self.time().now() };
        self.change(Standing { signing, next_signing: None, ..keys.standing })?;
        Ok(true)
    }

    /// Does what is due by known time: renews what the hub shows of itself, and ends overlaps. Connections go on.
    ///
    /// # Errors
    /// It can't be made or kept; what counted before counts on.
    pub fn renew(&self) -> Result<Changes, TrustError> {
        let now = self.time().now();
        let mut changes = Changes::default();
        let Standing { previous, next_signing, .. } = self.keys().standing;
        if previous.is_some_and(|previous| now >= previous.at) {
            let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            changes.ended_authority = self.end_authority(now)?;
            changes.renewed = true;
        }
        if next_signing.is_some_and(|next| now >= next.at) {
            changes.ended_signing_key = self.end_signing_key()?;
        }
        if self.shown.is_due(now) {
            self.shown.replace(self.issue(&self.keys(), now)?);
            changes.renewed = true;
        }
        Ok(changes)
    }

    /// What counts now, for people.
    #[must_use]
    pub fn state(&self) -> TrustState {
        let keys = self.keys();
        let Standing { authority, previous, signing, next_signing } = keys.standing;
        let old = keys.previous.as_ref().zip(previous);
        TrustState {
            authority: keys.authority.fingerprint(),
            authority_since: authority.at,
            previous_authority: old.map(|(old, dated)| (old.own.fingerprint(), dated.at)),
            signing_keys: keys.signing.public(),
            signing_since: signing.at,
            signing_until: next_signing.map(|next| next.at),
        }
    }

    /// By who holds `changing`.
    fn end_authority(&self, now: u64) -> Result<Option<[u8; 32]>, TrustError> {
        let keys = self.keys();
        let Some(ended) = &keys.previous else { return Ok(None) };
        let fingerprint = ended.own.fingerprint();
        debug_assert!(keys.standing.previous.is_some_and(|previous| previous.at <= now));
        self.change(Standing { previous: None, ..keys.standing })?;
        // After the change: what is verified from here on is verified by what is left.
        self.era.end();
        Ok(Some(fingerprint))
    }

    /// Makes other keys count.
    fn change(&self, standing: Standing) -> Result<(), TrustError> {
        let keys = Keys::load(self.dir(), standing)?;
        let verifier = clients::verifier(&self.provider, &keys.believed())?;
        let shown = self.issue(&keys, self.time().now())?;
        keys.standing.save(self.dir())?;
        // From here on nothing fails.
        self.clients.replace(verifier);
        self.shown.replace(shown);
        self.tickets.reset();
        keys.sweep(self.dir());
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    pub(crate) fn issue(&self, keys: &Keys, now: u64) -> Result<server::State, TrustError> {
        server::issue(&self.provider, &keys.authority, keys.chain(), &self.names, now)
    }
}

/// The number of a key's successor.
fn next(present: Dated) -> Number {
    present.number.saturating_add(1)
}
