//! Keeps the hub's own certificate new, ends rotations of keys in time, and keeps what is known of time. Connections go on
//! with what they began with.

use std::time::Duration;

use tokio::sync::watch;

use super::rotation::{Next, Rotation};

/// How often it is looked what is due. Certificates last for months.
const EVERY: Duration = Duration::from_secs(3600);
/// How often, while devices are told another signing key.
const SOON: Duration = Duration::from_secs(30);

/// Looks until the hub stops.
pub(crate) async fn run(rotation: Rotation, mut stopping: watch::Receiver<bool>) {
    loop {
        let Next { ends, devices } = look(&rotation).await;
        let usual = if devices { SOON } else { EVERY };
        tokio::select! {
            // The sender going away means the same.
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = rotation.begun() => {}
            () = tokio::time::sleep(ends.map_or(usual, |ends| ends.min(usual))) => {}
        }
    }
}

async fn look(rotation: &Rotation) -> Next {
    let time = rotation.trust().time();
    if let Some(behind) = time.clock_is_behind() {
        let hours = behind.as_secs() / 3600;
        tracing::warn!(
            hours,
            "this machine's clock is behind the time that the hub knows of; certificates are judged by the later one: \
             set the clock"
        );
    }
    if let Some(ahead) = time.clock_has_leapt() {
        let days = ahead.as_secs() / (24 * 3600);
        tracing::error!(
            days,
            "this machine's clock is over a year ahead of the time that the hub knows of, and is not believed: devices would \
             keep what the hub says of it for ever. Certificates are issued and judged by what is known, which goes on. If \
             the clock is wrong, set it. If it is right, because the hub was off or was restored from an old backup, start \
             the hub once with --accept-clock"
        );
    }
    let next = rotation.look().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "could not look after the hub's keys");
        Next::default()
    });
    if let Err(error) = rotation.save_time().await {
        tracing::warn!(%error, "could not save the time that is known");
    }
    next
}
