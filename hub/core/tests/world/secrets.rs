//! Secrets in the small world: devices that have enrolled and have a key, the hub's real seals, and what a device makes
//! of what it is sent.

use std::{collections::BTreeMap, sync::Arc};

use firmware_compat::{
    frame,
    id::{AgentId, Hash},
    sealed,
    v1::owned::{ConfigData, Container, Pod, ProjectedSource, Sealed, Value, Volume, VolumeSource},
};
use lichen_hub_core::{
    api::Kind,
    event::{EnrolRequest, RenewRequest, Request},
    sealing::Seal,
};
use lichen_sealing::{Sealer, open, public_key};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{World, decode};

/// The hub's seals.
#[derive(Debug)]
struct Seals(Sealer);

impl Seal for Seals {
    fn seal(&self, to: &[u8; 32], about: &[u8], plain: &[u8]) -> Option<Sealed> {
        self.0.seal(to, about, plain).ok()
    }
}

/// What every hub of a story seals with.
pub fn seals() -> Arc<dyn Seal> {
    Arc::new(Seals(Sealer::new(&[9; 32])))
}

/// A device's private key, the one with this number.
fn private_key(name: &str, number: u8) -> [u8; 32] {
    Sha256::digest(format!("{name} {number}")).into()
}

fn certificate_key(name: &str) -> Hash {
    Hash(Sha256::digest(name).into())
}

impl World {
    /// A device enrols and shows its first key.
    pub fn enrol(&mut self, name: &str) {
        let registered =
            json!({"metadata": {"name": name}, "spec": {"serialNumber": name, "approved": true}});
        self.apply(Kind::Enrolment, &registered).expect("it can be registered");
        let request = EnrolRequest {
            token: None,
            name: name.to_owned(),
            key: certificate_key(name),
            sealing_key: Hash(public_key(&private_key(name, 0))),
            agent: AgentId([1; 16]),
            serial_number: name.to_owned(),
            model: String::new(),
            address: String::new(),
        };
        self.request(Request::Enrol(request)).expect("it is expected");
    }

    /// A device renews its certificate and shows another key.
    pub fn rekey(&mut self, name: &str, number: u8) {
        let key = certificate_key(name);
        let request = RenewRequest {
            device: name.to_owned(),
            key,
            new_key: key,
            sealing_key: Hash(public_key(&private_key(name, number))),
            agent: AgentId([1; 16]),
        };
        self.request(Request::Renew(request)).expect("it is enrolled");
    }

    /// What a device's containers see, with the key of this number.
    pub fn sees(&mut self, name: &str, number: u8) {
        let device = self.devices.get(name).expect("it is there");
        let mut lines = Vec::new();
        if let Ok(assignment) = frame::decode_body(&device.body) {
            let opener = Opener { name, key: private_key(name, number), parts: &device.parts };
            for pod in device.assigned(&assignment) {
                lines.push(format!("  {}", pod.name));
                lines.extend(opener.files(&pod));
                lines.extend(pod.containers.iter().flat_map(|c| opener.variables(&pod, c)));
            }
        }
        lines.iter().for_each(|line| self.say(line));
    }

    /// Nothing that is secret is in what the hub says.
    pub fn check_frame(&self, bytes: &[u8]) {
        for secret in &self.secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a frame holds {secret}\n{}", self.story);
        }
    }
}

fn shown(volume: &Volume, data: Result<ConfigData, String>) -> Vec<String> {
    match data {
        Ok(ConfigData { files }) => files
            .iter()
            .map(|file| {
                let text = String::from_utf8_lossy(&file.data).replace('\n', "; ");
                format!("    {}/{} {:o} {text}", volume.name, file.path, file.mode)
            })
            .collect(),
        Err(error) => vec![format!("    {}/ {error}", volume.name)],
    }
}

struct Opener<'a> {
    name: &'a str,
    key: [u8; 32],
    parts: &'a BTreeMap<Hash, Vec<u8>>,
}

impl Opener<'_> {
    fn opened(&self, pod: &Pod, secret: u8) -> Result<ConfigData, String> {
        let secret = &pod.secrets[usize::from(secret)];
        let about = sealed::about(self.name, &pod.namespace, &secret.name).expect("short");
        let sealed: Sealed = decode(&self.parts[&secret.data]);
        match open(&self.key, &about, &sealed) {
            Ok(plain) => Ok(decode(&plain)),
            Err(error) => Err(format!("{}: {error}", secret.name)),
        }
    }

    fn files(&self, pod: &Pod) -> Vec<String> {
        let mut lines = Vec::new();
        for volume in &pod.volumes {
            match &volume.source {
                VolumeSource::ConfigMap { data } => {
                    lines.extend(shown(volume, Ok(decode(&self.parts[data]))));
                }
                VolumeSource::Secret { secret } => {
                    lines.extend(shown(volume, self.opened(pod, *secret)));
                }
                VolumeSource::Projected { sources } => {
                    lines.extend(sources.iter().flat_map(|source| match source {
                        ProjectedSource::Files { data } => {
                            shown(volume, Ok(decode(&self.parts[data])))
                        }
                        ProjectedSource::Secret { secret } => {
                            shown(volume, self.opened(pod, *secret))
                        }
                        ProjectedSource::Fact { path, mode, fact } => {
                            vec![format!("    {}/{path} {mode:o} {fact:?}", volume.name)]
                        }
                    }));
                }
                VolumeSource::EmptyDir { .. }
                | VolumeSource::HostPath { .. }
                | VolumeSource::Claim(_) => {}
            }
        }
        lines
    }

    fn variables(&self, pod: &Pod, container: &Container) -> Vec<String> {
        let shown = |value: &Value| match value {
            Value::Text(text) => text.to_string(),
            Value::Fact(fact) => format!("{fact:?}"),
            Value::Unavailable(why) => format!("nothing: {why}"),
            Value::Secret { secret, key } => match self.opened(pod, *secret) {
                Ok(data) => {
                    let file = data.files.iter().find(|file| *file.path == **key);
                    let text = file.map(|file| String::from_utf8_lossy(&file.data).into_owned());
                    format!("{} (sealed)", text.expect("the key is there"))
                }
                Err(error) => error,
            },
        };
        let variables = container.env.iter();
        variables.map(|v| format!("    {}={}", v.name, shown(&v.value))).collect()
    }
}
