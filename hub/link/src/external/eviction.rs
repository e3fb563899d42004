//! Puts devices out of an operator's broker. MQTT has one way for that which every broker knows: a connection with the same
//! client id ends the one before it (MQTT-3.1.4-3). So the hub connects for a moment as the device, which it can, for it issues the
//! certificates; and leaves. That ends a session at once. That a device does not come back is the list's business (the CRL), and
//! that it is not heard meanwhile the roster's.
//!
//! One after another, on one task, and only while the hub's own connection stands.

use std::{sync::Arc, time::Duration};

use firmware_compat::topic::write_device_filter;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::As;
use crate::client::{Client, ClientConfig, Down, Handler, RetryPolicy, Route, Way};

/// Devices that may wait to be put out. One that finds no room is when it says something.
const WAITING: usize = 256;
/// How long one may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// Attempts for one device, and the pause between them.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// As for any client; nothing is sent.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const OUTBOX_BYTES: usize = 1024;
/// Never comes to it: the first failure ends an attempt.
const RETRY: RetryPolicy = RetryPolicy { first: DEADLINE, longest: DEADLINE, unwelcome: DEADLINE };

/// How a connection is made.
pub(super) type Ways = dyn Fn(As<'_>) -> Way + Send + Sync;

/// The running task.
#[derive(Clone, Debug)]
pub(super) struct Evictions {
    queue: mpsc::Sender<String>,
    task: AbortHandle,
}

impl Evictions {
    pub(super) fn start(ways: Arc<Ways>, is_up: watch::Receiver<bool>) -> Self {
        let (queue, asked) = mpsc::channel(WAITING);
        let task = tokio::spawn(run(ways, is_up, asked)).abort_handle();
        Self { queue, task }
    }

    /// Puts a device out soon.
    pub(super) fn ask(&self, device: &str) {
        if self.queue.try_send(device.to_owned()).is_err() {
            tracing::debug!(device, "too many wait to be put out of the broker");
        }
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

async fn run(ways: Arc<Ways>, mut is_up: watch::Receiver<bool>, mut asked: mpsc::Receiver<String>) {
    while let Some(device) = asked.recv().await {
        let mut attempts = 0;
        loop {
            if is_up.wait_for(|up| *up).await.is_err() {
                return;
            }
            attempts += 1;
            match take_over(&ways, &device).await {
                Ok(()) => {
                    tracing::info!(device, "its session at the broker was ended");
                    break;
                }
                Err(why) if attempts == ATTEMPTS => {
                    tracing::warn!(
                        device,
                        why,
                        "could not end its session at the broker; it is not heard, and the broker refuses it once it has the \
                         list of revoked certificates: lichen broker crl"
                    );
                    break;
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

/// Connects as the device, and leaves.
async fn take_over(ways: &Arc<Ways>, device: &str) -> Result<(), String> {
    let mut filter = String::new();
    write_device_filter(device, &mut filter).expect("a string takes all");
    let (tell, mut told) = mpsc::channel(1);
    let (ways, name) = (ways.clone(), device.to_owned());
    let config = ClientConfig {
        route: Route::new(move || ways(As::Device(&name))),
        client_id: device.to_owned(),
        keep_alive: KEEP_ALIVE,
        subscriptions: vec![filter],
        retry: RETRY,
        outbox_bytes: OUTBOX_BYTES,
    };
    let client = Client::start(config, Guest { tell });
    let outcome = timeout(DEADLINE, told.recv()).await;
    client.shutdown().await;
    match outcome {
        Ok(Some(outcome)) => outcome,
        Ok(None) => Err("the attempt has ended".to_owned()),
        Err(_late) => Err(format!("the broker did not answer within {} s", DEADLINE.as_secs())),
    }
}

/// Stays for a moment.
struct Guest {
    tell: mpsc::Sender<Result<(), String>>,
}

impl Handler for Guest {
    async fn up(&mut self) {
        let _heard = self.tell.try_send(Ok(()));
    }

    async fn down(&mut self, why: &Down) {
        let _heard = self.tell.try_send(Err(why.to_string()));
    }

    async fn message(&mut self, _topic: &str, _bytes: &[u8]) {}
}
