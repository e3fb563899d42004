//! Which devices are welcome, and with which keys. The engine says so; the endpoint keeps everybody else out.
//!
//! It is as large as the engine makes it: nothing that a stranger does adds to it.

use alloc::{
    boxed::Box,
    collections::BTreeMap,
    format,
    string::{String, ToString},
    sync::Arc,
};

use firmware_compat::id::Hash;

/// Keys that one device may have: the one that it uses, and the one that takes its place.
pub const KEYS: usize = 2;

/// What brings a board back that keeps its keys and holds a certificate that is worth nothing, in words for an operator.
pub const WAY_BACK: &str = "lichen token create; on the device, remove the file identity/hub.json in its state, which keeps its \
    keys, and run the line";

/// Whether a device may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Welcome,
    /// The engine has named no such device.
    Stranger,
    /// It is to have another key.
    OtherKey,
    /// The engine keeps it out.
    Dismissed(Arc<str>),
}

impl Verdict {
    /// In words, for who is kept out.
    #[must_use]
    pub fn why(&self, device: &str) -> String {
        match self {
            Self::Welcome => format!("{device} is welcome"),
            Self::Stranger => format!(
                "{device} is not enrolled here; an operator can approve it: lichen device approve {device}"
            ),
            Self::OtherKey => format!(
                "another key is enrolled as {device}; if this board takes its place, an operator lets it join again: lichen \
                 device forget {device}; {WAY_BACK}"
            ),
            Self::Dismissed(why) => why.to_string(),
        }
    }
}

#[derive(Debug)]
enum Entry {
    Welcome([Option<Hash>; KEYS]),
    Dismissed(Arc<str>),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Roster(BTreeMap<Box<str>, Entry>);

impl Roster {
    /// Welcomes a device with these keys and no others. Of more than [`KEYS`] the first count.
    pub fn admit(&mut self, device: &str, keys: &[Hash]) {
        let mut kept = [None; KEYS];
        for (place, key) in kept.iter_mut().zip(keys) {
            *place = Some(*key);
        }
        self.0.insert(device.into(), Entry::Welcome(kept));
    }

    /// Keeps a device out, for a reason that it is told.
    pub fn dismiss(&mut self, device: &str, why: &str) {
        self.0.insert(device.into(), Entry::Dismissed(why.into()));
    }

    /// Knows nothing of a device any more.
    pub fn forget(&mut self, device: &str) {
        self.0.remove(device);
    }

    /// Whether a device may come in at all.
    #[must_use]
    pub fn is_welcome(&self, device: &str) -> bool {
        matches!(self.0.get(device), Some(Entry::Welcome(_)))
    }

    /// Whether a device may come in with a key.
    #[must_use]
    pub fn verdict(&self, device: &str, key: &Hash) -> Verdict {
        match self.0.get(device) {
            None => Verdict::Stranger,
            Some(Entry::Dismissed(why)) => Verdict::Dismissed(why.clone()),
            Some(Entry::Welcome(keys)) if keys.contains(&Some(*key)) => Verdict::Welcome,
            Some(Entry::Welcome(_)) => Verdict::OtherKey,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Hash = Hash([1; 32]);
    const TWO: Hash = Hash([2; 32]);
    const THREE: Hash = Hash([3; 32]);

    #[test]
    fn only_the_keys_that_were_named_last_are_welcome() {
        let mut roster = Roster::default();
        assert_eq!(roster.verdict("pi", &ONE), Verdict::Stranger);
        roster.admit("pi", &[ONE, TWO, THREE]);
        for (key, expected) in
            [(ONE, Verdict::Welcome), (TWO, Verdict::Welcome), (THREE, Verdict::OtherKey)]
        {
            assert_eq!(roster.verdict("pi", &key), expected);
        }
        assert_eq!(roster.verdict("pi-2", &ONE), Verdict::Stranger);
        roster.admit("pi", &[TWO]);
        assert_eq!(roster.verdict("pi", &ONE), Verdict::OtherKey);
        let why = roster.verdict("pi", &ONE).why("pi");
        assert!(why.ends_with(&format!("lichen device forget pi; {WAY_BACK}")), "{why}");
        roster.admit("pi", &[]);
        assert_eq!(roster.verdict("pi", &TWO), Verdict::OtherKey);
    }

    #[test]
    fn a_dismissed_device_is_told_why_until_it_is_admitted_or_forgotten() {
        let mut roster = Roster::default();
        roster.admit("pi", &[ONE]);
        roster.dismiss("pi", "pi was revoked by an operator");
        assert_eq!(roster.verdict("pi", &ONE).why("pi"), "pi was revoked by an operator");
        roster.forget("pi");
        assert!(roster.verdict("pi", &ONE).why("pi").contains("lichen device approve pi"));
        roster.admit("pi", &[ONE]);
        assert_eq!(roster.verdict("pi", &ONE), Verdict::Welcome);
    }
}
