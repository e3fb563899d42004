//! What spares those who come back the certificates. A ticket vouches for whoever got it, without another look at whom the
//! hub believes: so when that changes, the old ones are worth nothing.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{crypto::ring::Ticketer, server::ProducesTickets};

/// Tickets of every listener.
#[derive(Debug)]
pub(crate) struct Tickets(RwLock<Option<Arc<dyn ProducesTickets>>>);

impl Tickets {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(fresh()))
    }

    /// Makes every ticket worth nothing.
    pub(crate) fn reset(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = fresh();
    }

    fn inner(&self) -> Option<Arc<dyn ProducesTickets>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// None without random numbers: nothing else works then either, and tickets are only a saving.
fn fresh() -> Option<Arc<dyn ProducesTickets>> {
    Ticketer::new().ok()
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.inner().is_some_and(|inner| inner.enabled())
    }

    fn lifetime(&self) -> u32 {
        self.inner().map_or(0, |inner| inner.lifetime())
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.inner()?.decrypt(cipher)
    }
}
