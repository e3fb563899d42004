//! One at a time per layer: containers that start together often have an image in common, and the second of them finds
//! it unpacked. Different layers don't wait for each other.

use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use lichen_oci::Digest;

/// The layers that somebody is at.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: Mutex<BTreeSet<Digest>>,
    freed: Condvar,
}

/// The turn at one layer, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    layer: Digest,
}

impl Turns {
    /// Waits until nobody else is at the layer.
    pub(super) fn take(&self, layer: Digest) -> Turn<'_> {
        let mut taken = self.lock();
        while !taken.insert(layer) {
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        Turn { turns: self, layer }
    }

    /// A panic of another thread leaves the set as it should be.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.lock().remove(&self.layer);
        self.turns.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn nobody_is_at_a_layer_that_another_is_at() {
        let (turns, inside) = (Turns::default(), AtomicUsize::new(0));
        let [one, other] = [1, 2].map(|byte| Digest::from_bytes([byte; 32]));
        let _other = turns.take(other);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _turn = turns.take(one);
                    assert_eq!(inside.fetch_add(1, SeqCst), 0);
                    std::thread::yield_now();
                    inside.fetch_sub(1, SeqCst);
                });
            }
        });
    }
}
