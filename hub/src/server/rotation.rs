//! Changes the hub's keys while it runs, and ends what is over: the trust keeps them, the engine tells devices and knows who
//! has which, the admin's kubeconfig follows.

use std::{sync::Arc, time::Duration};

use firmware_compat::id::{Hash, PublicKey};
use lichen_hub_core::{
    actor::Actor,
    api::time::rfc3339,
    effect::{Response, TrustCounts},
    event::Request,
};
use lichen_trust::{Changes, Trust, TrustError, TrustState};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    access::Access,
    admin::Admin,
    handle::{AskError, EngineHandle, Input},
    signing::Signer,
};

/// What changes keys. Clones share it.
#[derive(Clone)]
pub(crate) struct Rotation {
    trust: Arc<Trust>,
    engine: EngineHandle,
    admin: Admin,
    /// Streams that have to look whether their readers are still believed.
    access: Arc<Access>,
    /// What the hub asks of itself.
    actor: Arc<Actor>,
    /// Something has begun that is to be looked after.
    begun: Arc<Notify>,
}

/// What a rotation waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Next {
    /// The end of an overlap, after so long.
    pub(crate) ends: Option<Duration>,
    /// Devices, which may have a new key at any time.
    pub(crate) devices: bool,
}

/// Why keys could not be changed, or shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotationError {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Engine(#[from] AskError),
}

impl Rotation {
    pub(crate) fn new(
        trust: Arc<Trust>,
        engine: EngineHandle,
        admin: Admin,
        access: Arc<Access>,
    ) -> Self {
        Self { trust, engine, admin, access, actor: Arc::new(Actor::hub()), begun: Arc::default() }
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Makes a new CA, which issues from now on. The present one is believed for so long.
    pub(crate) async fn rotate_authority(&self, overlap_s: u64) -> Result<Value, RotationError> {
        self.whole(move |rotation| async move { rotation.change_authority(overlap_s).await }).await
    }

    async fn change_authority(&self, overlap_s: u64) -> Result<Value, RotationError> {
        let revoked = self.revoked().await?;
        let fingerprint =
            self.aside(move |trust| trust.rotate_authority(overlap_s, &revoked)).await?;
        tracing::info!(fingerprint = %Hash(fingerprint), overlap_s, "the hub has a new CA");
        if overlap_s == 0 {
            self.only_present_authority().await?;
        }
        self.keep_kubeconfig().await;
        self.begun.notify_one();
        self.show().await
    }

    /// Makes a new signing key. The present one signs for so long, or until every device knows the new one.
    pub(crate) async fn rotate_signing_key(&self, overlap_s: u64) -> Result<Value, RotationError> {
        self.whole(move |rotation| async move { rotation.change_signing_key(overlap_s).await })
            .await
    }

    async fn change_signing_key(&self, overlap_s: u64) -> Result<Value, RotationError> {
        self.aside(move |trust| trust.rotate_signing_key(overlap_s)).await?;
        tracing::info!(overlap_s, "the hub has a new signing key");
        self.tell_engine().await;
        self.begun.notify_one();
        self.show().await
    }

    /// The list of certificates of devices that are worth nothing any more, signed, in PEM; and how many are on it.
    pub(crate) async fn revocations(&self) -> Result<(String, usize), RotationError> {
        let revoked = self.revoked().await?;
        let count = revoked.len();
        Ok((self.aside(move |trust| trust.revocations(&revoked)).await?, count))
    }

    async fn revoked(&self) -> Result<Vec<Vec<u8>>, RotationError> {
        match self.engine.ask(&self.actor, Request::ListRevoked).await? {
            Response::Revoked(serials) => Ok(serials),
            _ => Ok(Vec::new()),
        }
    }

    /// What counts now, and who has it.
    pub(crate) async fn show(&self) -> Result<Value, RotationError> {
        let state = self.trust.state();
        let counts = self.count(&state).await?;
        let at = |seconds: u64| rfc3339(seconds.saturating_mul(1000));
        let shown = |fingerprint: [u8; 32]| format!("sha256:{}", Hash(fingerprint));
        let previous = state.previous_authority.map(
            |(fingerprint, until)| json!({"fingerprint": shown(fingerprint), "until": at(until)}),
        );
        let keys = state.signing_keys.iter().map(|key| PublicKey(*key).id().to_string());
        Ok(json!({
            "authority": {
                "fingerprint": shown(state.authority),
                "since": at(state.authority_since),
            },
            "previousAuthority": previous,
            "certificates": {"devices": counts.certificates, "ofAuthority": counts.of_authority},
            "signingKeys": keys.collect::<Vec<_>>(),
            "signingSince": at(state.signing_since),
            "signingUntil": state.signing_until.map(at),
            "agents": {"devices": counts.agents, "withNewestKey": counts.with_newest_key},
            "bundle": self.trust.bundle(),
        }))
    }

    /// Does what is due, and says what is to be waited for next.
    pub(crate) async fn look(&self) -> Result<Next, RotationError> {
        let mut changes = self.aside(Trust::renew).await?;
        let state = self.trust.state();
        let mut waits = state.signing_until.is_some();
        if waits {
            // Devices are counted against what the engine signs with, which must be what the trust has.
            self.tell_engine().await;
            let counts = self.count(&state).await?;
            if counts.with_newest_key == counts.agents {
                changes.ended_signing_key = self.aside(Trust::end_signing_key).await?;
                waits = false;
            }
        }
        let Changes { renewed, ended_authority, ended_signing_key } = changes;
        if renewed {
            tracing::info!("the hub's certificate was renewed");
        }
        if let Some(ended) = ended_authority {
            let fingerprint = Hash(ended);
            tracing::info!(%fingerprint, "the hub's old CA is not believed any more");
        }
        if self.trust.state().previous_authority.is_none() {
            self.only_present_authority().await?;
        }
        if ended_signing_key {
            tracing::info!("the hub signs with its new key alone");
            self.tell_engine().await;
        }
        self.access.wake();
        self.keep_kubeconfig().await;
        let TrustState { previous_authority, signing_until, .. } = self.trust.state();
        let ends = [previous_authority.map(|(_, until)| until), signing_until];
        let now = self.trust.time().now();
        let ends = ends.into_iter().flatten().min();
        let ends = ends.map(|at| Duration::from_secs(at.saturating_sub(now).max(1)));
        Ok(Next { ends, devices: waits })
    }

    /// Waits until a rotation begins.
    pub(crate) async fn begun(&self) {
        self.begun.notified().await;
    }

    async fn count(&self, state: &TrustState) -> Result<TrustCounts, RotationError> {
        let authority = Hash(state.authority);
        match self.engine.ask(&self.actor, Request::CountTrust { authority }).await? {
            Response::TrustCounts(counts) => Ok(counts),
            _ => Ok(TrustCounts::default()),
        }
    }

    async fn only_present_authority(&self) -> Result<(), RotationError> {
        let authority = Hash(self.trust.fingerprint());
        self.engine.ask(&self.actor, Request::OnlyAuthority { authority }).await?;
        Ok(())
    }

    async fn tell_engine(&self) {
        let signer = Signer::of(&self.trust);
        // A hub that stops has told its devices all that it will.
        let _stopping = self.engine.inputs().send(Input::Signer(signer)).await;
    }

    async fn keep_kubeconfig(&self) {
        let (admin, trust) = (self.admin.clone(), self.trust.clone());
        let kept = tokio::task::spawn_blocking(move || admin.keep(&trust)).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(%error, "could not renew the admin's kubeconfig");
        }
    }

    /// Saves what is known of time.
    pub(crate) async fn save_time(&self) -> Result<(), RotationError> {
        self.aside(|trust| Ok(trust.time().save()?)).await
    }

    /// Does all of it, whether whoever asked stays for the answer or not: keys that are changed and not told would be
    /// worse than keys that are not changed.
    async fn whole<F>(
        &self,
        act: impl FnOnce(Self) -> F + Send + 'static,
    ) -> Result<Value, RotationError>
    where
        F: Future<Output = Result<Value, RotationError>> + Send + 'static,
    {
        match tokio::spawn(act(self.clone())).await {
            Ok(done) => done,
            Err(_panicked) => Err(AskError::Stopping.into()),
        }
    }

    /// The disk is waited for elsewhere.
    async fn aside<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Trust) -> Result<T, TrustError> + Send + 'static,
    ) -> Result<T, RotationError> {
        let trust = self.trust.clone();
        match tokio::task::spawn_blocking(move || act(&trust)).await {
            Ok(done) => Ok(done?),
            Err(_panicked) => Err(AskError::Stopping.into()),
        }
    }
}

impl std::fmt::Debug for Rotation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rotation")
    }
}
