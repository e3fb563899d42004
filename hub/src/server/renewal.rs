//! Keeps the hub's own certificate new, and what it knows of time. Connections go on with what they began with.

use std::{sync::Arc, time::Duration};

use lichen_trust::Trust;
use tokio::sync::watch;

use super::admin::Admin;

/// How often it is looked what is due. Certificates last for months.
const EVERY: Duration = Duration::from_secs(3600);

/// Looks until the hub stops.
pub(crate) async fn run(trust: Arc<Trust>, admin: Admin, mut stopping: watch::Receiver<bool>) {
    loop {
        look(&trust, &admin);
        tokio::select! {
            // The sender going away means the same.
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn look(trust: &Trust, admin: &Admin) {
    if let Some(behind) = trust.time().clock_is_behind() {
        let hours = behind.as_secs() / 3600;
        tracing::warn!(
            hours,
            "this machine's clock is behind the time that the hub knows of; certificates are judged by the later one: \
             set the clock"
        );
    }
    match trust.renew() {
        Ok(true) => tracing::info!("the hub's certificate was renewed"),
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "could not renew the hub's certificate"),
    }
    if let Err(error) = trust.time().save() {
        tracing::warn!(%error, "could not save the time that is known");
    }
    if let Err(error) = admin.keep(trust) {
        tracing::warn!(%error, "could not renew the admin's kubeconfig");
    }
}
