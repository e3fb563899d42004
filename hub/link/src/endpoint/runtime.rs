//! Threads of the endpoint's own: handshakes are work for processors, and however many there are at once, the rest of the
//! hub has threads that do not wait for them.

use std::{io, num::NonZero, thread::available_parallelism};

use tokio::runtime::{Builder, Handle, Runtime};

use super::limits::THREADS;

/// The threads, until this is dropped. What runs on them then ends where it is.
#[derive(Debug)]
pub(crate) struct Threads(Option<Runtime>);

impl Threads {
    pub(crate) fn start() -> io::Result<Self> {
        let processors = available_parallelism().map_or(1, NonZero::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads(processors.min(THREADS))
            .thread_name("devices")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is taken by drop alone").handle()
    }
}

impl Drop for Threads {
    /// Waits for nothing, for it may happen on a thread of another runtime.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
