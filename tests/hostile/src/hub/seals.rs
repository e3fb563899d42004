//! What stands for HPKE, which a fuzzer would wait for: a hash that stretches over what is sealed. What real seals are worth
//! is tried by the target `sealed`.

use std::sync::Arc;

use firmware_compat::{
    id::{AgentId, Hash},
    v1::owned::{Bytes, ConfigData, Sealed},
};
use lichen_hub_core::{
    api::{Kind, Object},
    event::{EnrolRequest, RenewRequest, Request},
    sealing::Seal,
};
use sha2::{Digest, Sha256};

use super::fleet::NAMES;

/// What every secret value holds, and nothing else: nine bytes, which base64 shows whole.
const MARK: &str = "Tr0ub4dor";
const MARK_IN_BASE64: &str = "VHIwdWI0ZG9y";

#[derive(Debug)]
struct Seals;

/// What a hub seals with.
pub fn seals() -> Arc<dyn Seal> {
    Arc::new(Seals)
}

impl Seal for Seals {
    fn seal(&self, to: &[u8; 32], about: &[u8], plain: &[u8]) -> Option<Sealed> {
        let content = Bytes::try_from(stretch(to, about, plain)).ok()?;
        Some(Sealed { encapsulated_key: *to, content })
    }
}

/// The same, forth and back.
fn stretch(to: &[u8; 32], about: &[u8], bytes: &[u8]) -> Vec<u8> {
    let block = |block: u64| {
        let hasher = Sha256::new().chain_update(to).chain_update(about);
        hasher.chain_update(block.to_le_bytes()).finalize()
    };
    bytes.iter().zip((0..).flat_map(block)).map(|(byte, by)| byte ^ by).collect()
}

/// What a device makes of a part that it was sent.
pub fn open(about: &[u8], sealed: &Sealed) -> ConfigData {
    let plain = stretch(&sealed.encapsulated_key, about, &sealed.content);
    postcard::from_bytes(&plain).expect("what the hub seals is files")
}

/// Whether somebody who has no key sees a secret.
pub fn shows(bytes: &[u8]) -> bool {
    let found = |mark: &str| bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
    found(MARK) || found(MARK_IN_BASE64)
}

/// Secret `how`, or none.
pub fn change(how: u8) -> Request {
    if how.is_multiple_of(8) {
        let (namespace, name) = ("default".to_owned(), "token".to_owned());
        return Request::Delete { kind: Kind::Secret, namespace, name };
    }
    replace(
        Kind::Secret,
        format!(
            r#"{{"apiVersion":"v1","kind":"Secret","metadata":{{"name":"token","namespace":"default"}},"stringData":{{"token":"{MARK} {how}"}}}}"#
        ),
    )
}

/// A device is expected, comes, and shows a key; or it shows another one.
pub fn admit(how: u8) -> Vec<Request> {
    let device = NAMES[usize::from(how % 3)];
    let key = Hash(Sha256::digest(device).into());
    let sealing_key = Hash([how; 32]);
    let (agent, new_key) = (AgentId([how % 3; 16]), key);
    let expected = replace(
        Kind::Enrolment,
        format!(
            r#"{{"apiVersion":"lichen.dev/v1","kind":"Enrolment","metadata":{{"name":"{device}"}},"spec":{{"serialNumber":"{device}","approved":true}}}}"#
        ),
    );
    let device = device.to_owned();
    let enrol = EnrolRequest {
        token: None,
        name: device.clone(),
        key,
        sealing_key,
        agent,
        serial_number: device.clone(),
        model: String::new(),
        address: String::new(),
    };
    let renew = RenewRequest { device, key, new_key, sealing_key, agent };
    vec![expected, Request::Enrol(enrol), Request::Renew(renew)]
}

fn replace(kind: Kind, json: String) -> Request {
    let object = Object::from_json(kind, json.as_bytes()).expect("our own JSON");
    Request::Replace { object, create: true }
}
