//! Ends containers that outlived their shims as any other is ended: signal, grace, kill. Nobody holds their output any
//! more, so they can't run on.

use std::{path::Path, time::Duration};

use lichen_shim::Orphan;
use tokio::{sync::mpsc, time::Instant};

use crate::runtime::chain;

/// How often an orphan that was asked to end is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How a container is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopHow {
    /// The signal that its image names.
    pub signal: i32,
    /// Time between the signal and the kill.
    pub grace: Duration,
}

/// Asks the container of a run to end, if it outlived its shim, and waits until it has or its grace is over. A stop
/// that comes meanwhile shortens the grace. Returns what happened, in words; `None` if there was no orphan.
///
/// # Errors
/// The run directory's, in words. Whatever is left is for [`lichen_shim::clean_up`] to kill.
pub async fn ask_to_end(
    run: &Path,
    how: StopHow,
    mut stops: Option<&mut mpsc::Receiver<u32>>,
) -> Result<Option<String>, String> {
    let Some(orphan) = Orphan::find(run).map_err(|error| chain(&error))? else { return Ok(None) };
    orphan.signal(how.signal);
    let began = Instant::now();
    let mut kill_at = began + how.grace;
    while !orphan.has_ended() {
        if Instant::now() >= kill_at {
            let how = "it was asked to stop, did not within its grace, and was killed";
            return Ok(Some(how.to_owned()));
        }
        let sooner = async {
            match &mut stops {
                Some(stops) => stops.recv().await,
                None => None,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            Some(grace_ms) = sooner => {
                kill_at = kill_at.min(Instant::now() + Duration::from_millis(grace_ms.into()));
            }
        }
    }
    let took = began.elapsed().as_millis();
    Ok(Some(format!("it was asked to stop and ended after {took} ms")))
}
