//! One change of an object, with what was there before, and its serialised forms: made by the first watcher that needs
//! one, on that watcher's thread, and shared by all others.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use axum::body::Bytes;
use lichen_hub_core::{
    api::{Key, Object},
    effect::Action,
};

/// A change, as long as the ring holds it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) action: Action,
    pub(super) key: Key,
    /// After the change; before it, if deleted.
    pub(crate) object: Arc<Object>,
    /// So that a selector can tell who comes and who goes.
    pub(crate) before: Option<Arc<Object>>,
    pub(crate) version: u64,
    /// Of the object as JSON.
    pub(super) bytes: usize,
    /// At most one for each word and form, of which there are few.
    encoded: Mutex<Vec<(Encoding, Bytes)>>,
}

/// Which serialised form of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    /// The event's type.
    pub(crate) word: &'static str,
    /// Tells the forms of an object apart: as it is, or as a row of a table.
    pub(crate) form: u8,
    /// A row shows an age, and is good for this second; 0 for what does not age.
    pub(crate) second: u64,
}

impl Change {
    pub(super) fn new(
        action: Action,
        key: Key,
        object: Arc<Object>,
        before: Option<Arc<Object>>,
        version: u64,
        bytes: usize,
    ) -> Self {
        Self { action, key, object, before, version, bytes, encoded: Mutex::default() }
    }

    /// A serialised form, made by `make` if nobody needed it before.
    pub(crate) fn encoded(&self, encoding: Encoding, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut encoded = self.encoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = encoded.iter().find(|(known, _)| *known == encoding) {
            return bytes.clone();
        }
        let bytes = make();
        let aged = |known: &Encoding| known.word == encoding.word && known.form == encoding.form;
        encoded.retain(|(known, _)| !aged(known));
        encoded.push((encoding, bytes.clone()));
        bytes
    }
}

/// How many bytes an object takes as JSON.
pub(super) fn json_bytes(object: &Object) -> usize {
    let mut counter = Counter(0);
    // The types are always JSON, and counting does not fail.
    let _ = serde_json::to_writer(&mut counter, object);
    counter.0
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::watch_cache::tests::config_map;

    #[test]
    fn a_form_is_made_once_and_replaced_when_it_has_aged() {
        let object = config_map("x", 1, "");
        let bytes = json_bytes(&object);
        assert_eq!(bytes, serde_json::to_vec(object.as_ref()).expect("JSON").len());
        let change = Change::new(Action::Added, object.key(), object, None, 1, bytes);
        let mut made = 0;
        let mut get = |word, form, second| {
            let encoding = Encoding { word, form, second };
            change.encoded(encoding, || {
                made += 1;
                Bytes::from_static(b"x")
            });
            made
        };
        assert_eq!(get("ADDED", 0, 0), 1);
        assert_eq!(get("ADDED", 0, 0), 1);
        assert_eq!(get("MODIFIED", 0, 0), 2);
        assert_eq!(get("ADDED", 1, 7), 3);
        assert_eq!(get("ADDED", 1, 8), 4);
        assert_eq!(get("ADDED", 0, 0), 4);
        assert_eq!(change.encoded.lock().expect("lock").len(), 3);
    }
}
