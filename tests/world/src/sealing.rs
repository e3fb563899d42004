//! What stands for HPKE: a hash that stretches over what is sealed. A key hides what is under it from every check that
//! looks at bytes, and opens nothing else; that its private half can't be found out is not what is simulated here.
//!
//! And how a hub learns of a board's key: boards enrol in a world in which there are Secrets, and in no other.

use firmware_compat::{
    id::Hash,
    sealed,
    v1::owned::{Bytes, ConfigData, Sealed, Secret},
};
use lichen_agent_core::PodSpec;
use lichen_hub_core::{
    api::{Kind, Object},
    effect::Response,
    event::{EnrolRequest, RenewRequest, Request},
    sealing::Seal,
};
use sha2::{Digest, Sha256};

use crate::{World, board::Board, canary::Canary, hub::Asked, manifests};

/// The file of a board's private key.
pub const KEY: &str = "sealing-key";

/// Bytes of the sum behind what is sealed.
const SUM: usize = 32;

/// A hub's seals.
#[derive(Debug)]
pub struct Seals {
    /// While a canary has broken them.
    pub broken: bool,
}

impl Seal for Seals {
    fn seal(&self, to: &[u8; 32], about: &[u8], plain: &[u8]) -> Option<Sealed> {
        let encapsulated_key = digest(&[b"ephemeral", to, about, plain]);
        if self.broken {
            let content = Bytes::try_from(plain.to_vec()).ok()?;
            return Some(Sealed { encapsulated_key, content });
        }
        let mut content = stretch(to, &encapsulated_key, about, plain);
        content.extend(digest(&[b"sum", to, &encapsulated_key, about, &content]));
        Some(Sealed { encapsulated_key, content: Bytes::try_from(content).ok()? })
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// The same, forth and back.
fn stretch(to: &[u8; 32], nonce: &[u8; 32], about: &[u8], bytes: &[u8]) -> Vec<u8> {
    let blocks = (0_u64..).flat_map(|block| digest(&[to, nonce, about, &block.to_le_bytes()]));
    bytes.iter().zip(blocks).map(|(byte, by)| byte ^ by).collect()
}

/// The public half of a key.
pub fn public(private: &[u8; 32]) -> [u8; 32] {
    digest(&[b"public", private])
}

/// What is under a seal, if a board can open it.
fn open(private: &[u8; 32], about: &[u8], sealed: &Sealed) -> Option<Vec<u8>> {
    let (to, nonce) = (public(private), &sealed.encapsulated_key);
    let (content, sum) = sealed.content.split_at_checked(sealed.content.len().checked_sub(SUM)?)?;
    let right = digest(&[b"sum", &to, nonce, about, content]) == sum;
    right.then(|| stretch(&to, nonce, about, content))
}

impl Board {
    /// What Secrets are sealed to for it.
    pub fn sealing_key(&self) -> [u8; 32] {
        let private = self.disk.read(KEY).and_then(|bytes| bytes.try_into().ok());
        private.unwrap_or_default()
    }

    /// The public half of that.
    pub fn public_sealing_key(&self) -> Hash {
        Hash(public(&self.sealing_key()))
    }

    /// It joins anew: with a key that it did not have before. One whose disk takes nothing keeps its key.
    pub fn make_key(&mut self) {
        self.keys_made += 1;
        let key = digest(&[self.label.as_bytes(), &self.keys_made.to_le_bytes()]);
        let _full = self.disk.replace(KEY, &key);
    }

    /// What a Pod sees of its Secrets; or which of them it can't be given.
    pub fn secrets(&self, pod: &PodSpec) -> Result<Vec<ConfigData>, String> {
        let open = |place: usize| {
            let (name, sealed) = pod.sealed(u8::try_from(place).ok()?)?;
            let about = sealed::about(&self.name, &pod.namespace, name)?;
            postcard::from_bytes(&open(&self.sealing_key(), &about, sealed)?).ok()
        };
        let one = |(place, secret): (usize, &Secret)| {
            open(place).ok_or_else(|| format!("Secret {} can't be opened", secret.name))
        };
        pod.secrets.iter().enumerate().map(one).collect()
    }
}

/// By which the hub knows a board that has no certificate, and shows it another key.
fn certificate_key(name: &str) -> Hash {
    Hash(digest(&[b"certificate", name.as_bytes()]))
}

impl World {
    /// The first Secret of a world: from now on boards enrol.
    pub(crate) fn enrol_all(&mut self) {
        self.has_secrets = true;
        (0..self.boards.len()).for_each(|board| self.enrol(board));
    }

    /// A board shows the hub its key, if the hub knows another.
    pub(crate) fn enrol(&mut self, board: usize) {
        let it = &self.boards[board];
        // In a world with certificates it has shown its key when it joined.
        let joins = self.has_certificates();
        if !self.has_secrets || joins || it.firmware.is_some() || !it.link.is_up() {
            return;
        }
        let (device, agent) = (it.name.clone(), it.agent_id());
        let (key, sealing_key) = (certificate_key(&device), Hash(public(&it.sealing_key())));
        let request =
            Request::Get { kind: Kind::Enrolment, namespace: String::new(), name: device.clone() };
        let known = match self.read_hub(0, request) {
            Some(Ok(Response::Object { object, .. })) => match object.as_ref() {
                Object::Enrolment(enrolment) => Some(enrolment.status.sealing_key.clone()),
                _ => None,
            },
            Some(Ok(_)) | None => return,
            Some(Err(_)) => None,
        };
        match known {
            Some(known) if known == sealing_key.to_string() => return,
            Some(known) if !known.is_empty() => {
                let renew = RenewRequest { device, key, new_key: key, sealing_key, agent };
                self.ask_hub(0, Request::Renew(renew), Asked::Change(0));
                return;
            }
            Some(_) => {}
            None => {
                let Some(object) = manifests::enrolment(&device, false) else { return };
                self.ask_hub(0, Request::Replace { object, create: true }, Asked::Change(0));
            }
        }
        let enrol = EnrolRequest {
            token: None,
            serial_number: device.clone(),
            name: device,
            key,
            sealing_key,
            agent,
            model: String::new(),
            address: String::new(),
        };
        self.ask_hub(0, Request::Enrol(enrol), Asked::Change(0));
    }

    pub(crate) fn seals(&self) -> Seals {
        Seals { broken: self.is(Canary::NothingIsSealed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_device_alone() {
        let (own, other) = ([1; 32], [2; 32]);
        let seals = Seals { broken: false };
        let sealed = seals.seal(&public(&own), b"about", b"hunter2").expect("short");
        assert!(!sealed.content.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(open(&own, b"about", &sealed).as_deref(), Some(&b"hunter2"[..]));
        assert_eq!(open(&own, b"other", &sealed), None);
        assert_eq!(open(&other, b"about", &sealed), None);
        let cut = Sealed { content: Bytes::try_from(vec![1, 2, 3]).expect("short"), ..sealed };
        assert_eq!(open(&own, b"about", &cut), None);
    }
}
