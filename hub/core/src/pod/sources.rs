//! What a Pod is given of ConfigMaps and Secrets: files as parts of the assignment, and variables. Of a ConfigMap a variable
//! is its text; of a Secret it names a sealed part, which its device opens.
//!
//! A Pod that is not on its device yet waits for what is missing. One that is there runs on, as in Kubernetes: a variable
//! that has no value any more keeps its container from the next start, and a file that is gone is gone from its volume.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::cell::{Cell, RefCell};

use firmware_compat::{
    capacity::full::{CONFIG_BYTES, FILES, VARIABLE_VALUE},
    v1::owned::{self as wire, Bytes, ProjectedSource, Text, VolumeSource},
};

use super::{Parts, Pod, Waiting, over, told::Telling};
use crate::{
    api::{
        Key, Kind,
        core::{persistent_volume::claim_id, pod::KeyToPath},
    },
    hidden::Hidden,
    parts::{self, Data, Made, Part, PartCache, SecretPart},
    resolve::{self, Files, Projected, Source, SourceName, Value, volume::claim_of},
    sealing::Seal,
    state::Objects,
};

/// ConfigMaps and Secrets as one device may have them.
pub struct Sources<'a> {
    /// Where they are.
    pub objects: &'a Objects,
    /// Parts that were made of them.
    pub cache: &'a RefCell<PartCache>,
    /// What seals.
    pub seal: &'a dyn Seal,
    /// The device.
    pub device: &'a str,
    /// Its key; `None` if it has shown none.
    pub key: Option<[u8; 32]>,
    /// Its parts so far: what is sealed is not sealed again.
    pub known: &'a Parts,
    /// What was spent on sealing.
    pub spent: Cell<usize>,
}

/// What one Pod is given.
pub(super) struct Taken<'a> {
    sources: &'a Sources<'a>,
    pod: &'a Pod,
    pub(super) secrets: Vec<wire::Secret>,
    pub(super) parts: Parts,
    /// Place of the part with a Secret's variables, by the Secret's name.
    of_variables: BTreeMap<&'a str, u8>,
}

/// Reason of a Pod whose container has no value for a variable. Kubernetes' own.
const CONFIG_ERROR: &str = "CreateContainerConfigError";

impl<'a> Taken<'a> {
    /// What a Pod takes. The parts for its variables come first.
    pub(super) fn new(pod: &'a Pod, sources: &'a Sources<'a>) -> Result<Self, Waiting> {
        let (secrets, parts) = (Vec::new(), Parts::new());
        let mut taken = Self { sources, pod, secrets, parts, of_variables: BTreeMap::new() };
        for (name, keys) in taken.secret_keys() {
            let of = taken.key_of(&SourceName { kind: Kind::Secret, name: name.to_string() });
            let Some(data) = taken.data(&of) else { continue };
            let files = keys.iter().map(|key| (*key, *key, 0));
            let choice = format!("keys {}", keys.iter().copied().collect::<Vec<_>>().join(" "));
            let made = taken.make(&of, data, &choice, || pick(&of, data, files, true))?;
            let place = taken.seal(&of, made)?;
            taken.of_variables.insert(name, place);
        }
        Ok(taken)
    }

    /// The keys of Secrets that its variables take, as far as they are there.
    fn secret_keys(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let is_secret = |of: &SourceName| of.kind == Kind::Secret;
        for container in self.pod.revision.resolved.every_container() {
            for from in container.env_from.iter().filter(|from| is_secret(&from.of)) {
                let data = self.data(&self.key_of(&from.of));
                let keys = data.into_iter().flat_map(|data| data.keys());
                all.entry(&from.of.name).or_default().extend(keys.map(String::as_str));
            }
            for variable in &container.env {
                if let Value::Key { of, key, .. } = &variable.value
                    && is_secret(of)
                {
                    all.entry(&of.name).or_default().insert(key);
                }
            }
        }
        all
    }

    fn key_of(&self, of: &SourceName) -> Key {
        Key::new(of.kind, self.pod.namespace(), &of.name)
    }

    /// The data of a ConfigMap or Secret. That of a deleted Secret is there only for Pods that have it.
    fn data(&self, of: &Key) -> Option<&'a Data> {
        let objects = self.sources.objects;
        let is_deleted = || of.kind == Kind::Secret && !objects.contains(of);
        objects.data(of).filter(|_| self.pod.assigned || !is_deleted())
    }

    /// What is behind a volume.
    pub(super) fn volume(
        &mut self,
        volume: &str,
        source: &Source,
    ) -> Result<VolumeSource, Waiting> {
        Ok(match source {
            Source::EmptyDir { memory, size_limit_bytes } => {
                VolumeSource::EmptyDir { memory: *memory, size_limit_bytes: *size_limit_bytes }
            }
            Source::HostPath { path, kind } => {
                VolumeSource::HostPath { path: path.clone(), kind: *kind }
            }
            Source::Files(files) => match self.files(files)? {
                ProjectedSource::Secret { secret } => VolumeSource::Secret { secret },
                ProjectedSource::Files { data } => VolumeSource::ConfigMap { data },
                ProjectedSource::Fact { .. } => return Err(over("a volume")),
            },
            Source::Projected(sources) => self.projected(sources)?,
            Source::Claim { name, read_only } => {
                let name = name.clone().unwrap_or_else(|| claim_of(volume, &self.pod.name));
                VolumeSource::Claim(self.claim(&name, *read_only)?)
            }
        })
    }

    /// A claim, which was bound before the Pod became part of an assignment.
    fn claim(&self, name: &str, read_only: bool) -> Result<wire::Claim, Waiting> {
        let key = Key::new(Kind::PersistentVolumeClaim, self.pod.namespace(), name);
        let objects = self.sources.objects;
        let claim = objects.claim(&key);
        let volume = claim.and_then(|claim| objects.volume(&claim.spec.volume_name));
        let found = claim.zip(volume).and_then(|(claim, volume)| {
            let id = volume.claim().filter(|id| claim_id(&claim.metadata.uid) == Some(*id))?;
            Some((id, volume.bound_to()?, claim))
        });
        let (id, bound_to, claim) = found.ok_or_else(|| {
            let message = format!("persistentvolumeclaim \"{name}\" is bound to no volume; delete the Pod, and it is bound anew");
            Waiting::new("ClaimLost", message)
        })?;
        Ok(wire::Claim {
            id,
            name: Text::try_from(name).map_err(|_| over("a claim's name"))?,
            bound_to,
            size_bytes: claim.bytes(),
            read_only: read_only || claim.is_read_only(),
        })
    }

    /// Files of ConfigMaps and Secrets by themselves, what the hub knows of the Pod as one part more, and what only the device
    /// knows. The order tells which of two files with one path it is: the last.
    fn projected(&mut self, sources: &[Projected]) -> Result<VolumeSource, Waiting> {
        let mut all = Vec::new();
        let mut known = wire::List::default();
        for source in sources {
            let (path, mode, told) = match source {
                Projected::Files(files) => {
                    all.push(self.files(files)?);
                    continue;
                }
                Projected::Told { path, mode, told } => (path, mode, told),
            };
            let path = Text::try_from(path.as_str()).map_err(|_| over("a file's path"))?;
            let mode = u16::try_from(*mode).unwrap_or(0o644);
            match self.pod.tell(told, self.sources.device) {
                Telling::Fact(fact) => all.push(ProjectedSource::Fact { path, mode, fact }),
                Telling::Text(text) => {
                    let data = Bytes::try_from(text.into_bytes());
                    let data = data.map_err(|_| over("a file about the Pod"))?;
                    let file = wire::File { path, mode, data };
                    known.push(file).map_err(|_| over("the files about the Pod"))?;
                }
            }
        }
        if !known.is_empty() {
            let content = postcard::to_allocvec(&wire::ConfigData { files: known });
            let content = content.unwrap_or_default();
            if content.len() > CONFIG_BYTES {
                return Err(over("what a volume tells of the Pod"));
            }
            let data = parts::hash(&content);
            self.parts.insert(data, Part::Clear(content.into()));
            all.push(ProjectedSource::Files { data });
        }
        let sources = all.try_into().map_err(|_| over("the sources of a volume"))?;
        Ok(VolumeSource::Projected { sources })
    }

    fn files(&mut self, files: &Files) -> Result<ProjectedSource, Waiting> {
        let of = self.key_of(&files.of);
        let nothing = Data::default();
        let data = match self.data(&of) {
            Some(data) => data,
            None if files.optional => &nothing,
            None => return Err(missing(&of, "does not exist; apply it".into())),
        };
        let choice = format!("files {} {:?} {}", files.default_mode, files.items, files.optional);
        let is_lenient = files.optional || self.pod.assigned;
        let choice = if is_lenient { choice + " lenient" } else { choice };
        let made = self.make(&of, data, &choice, || {
            let mode = files.default_mode;
            match files.items.is_empty() {
                true => {
                    pick(&of, data, data.keys().map(|key| (key.as_str(), key.as_str(), mode)), true)
                }
                false => {
                    let of_item = |item: &'_ KeyToPath| item.mode.unwrap_or(mode);
                    let items = files.items.iter();
                    let wanted =
                        items.map(|item| (item.key.as_str(), item.path.as_str(), of_item(item)));
                    pick(&of, data, wanted, is_lenient)
                }
            }
        })?;
        Ok(match made {
            Made::Clear(data, content) => {
                self.parts.insert(data, Part::Clear(content));
                ProjectedSource::Files { data }
            }
            made @ Made::Secret(_) => ProjectedSource::Secret { secret: self.seal(&of, made)? },
        })
    }

    /// Makes a part of files, unless it was made of the same.
    fn make(
        &self,
        of: &Key,
        data: &Data,
        choice: &str,
        files: impl FnOnce() -> Result<wire::List<wire::File, FILES>, Waiting>,
    ) -> Result<Made, Waiting> {
        let choice = (of.clone(), choice.to_string());
        if let Some(made) = self.sources.cache.borrow().get(&choice, data) {
            return Ok(made);
        }
        let content = Hidden::from(
            postcard::to_allocvec(&wire::ConfigData { files: files()? }).unwrap_or_default(),
        );
        if content.len() > CONFIG_BYTES {
            let length = content.len();
            return Err(too_large(
                of,
                &format!("makes {length} bytes, a device takes {CONFIG_BYTES} of one; split it"),
            ));
        }
        let made = match of.kind {
            Kind::Secret => Made::Secret(Arc::new(content)),
            _ => Made::Clear(parts::hash(&content), content.to_vec().into()),
        };
        self.sources.cache.borrow_mut().insert(choice, Arc::clone(data), made.clone());
        Ok(made)
    }

    /// Seals files of a Secret to the device. Gives their place in the Pod's list.
    fn seal(&mut self, of: &Key, made: Made) -> Result<u8, Waiting> {
        let Sources { seal, device, key, known, spent, .. } = self.sources;
        let Made::Secret(plain) = made else { return Err(over("a Secret")) };
        let key = key.as_ref().ok_or_else(|| no_key(device))?;
        let same = known.iter().find_map(|(hash, part)| match part {
            Part::Secret(part) if part.is(of, &plain, key) => Some((*hash, Arc::clone(part))),
            _ => None,
        });
        let (data, part) = match same {
            Some(same) => same,
            None => {
                let sealed = SecretPart::new(of, &plain, device, key, *seal);
                let (hash, part) = sealed.ok_or_else(|| unusable_key(device))?;
                spent.set(spent.get() + part.cost());
                (hash, Arc::new(part))
            }
        };
        self.parts.insert(data, Part::Secret(part));
        let name = Text::try_from(of.name.as_str()).map_err(|_| over("a Secret's name"))?;
        let secret = wire::Secret { name, data };
        let place = self.secrets.iter().position(|known| *known == secret);
        let place = place.unwrap_or_else(|| {
            self.secrets.push(secret);
            self.secrets.len() - 1
        });
        u8::try_from(place).map_err(|_| over("the Secrets"))
    }

    /// The environment of a container.
    pub(super) fn environment(
        &self,
        container: &'a resolve::Container,
    ) -> Result<Vec<wire::Variable>, Waiting> {
        let mut variables = Vec::new();
        for from in &container.env_from {
            let of = self.key_of(&from.of);
            let Some(data) = self.data(&of) else {
                // One that has run had it, and has it still: the data of what is deleted stays.
                if from.optional || self.pod.assigned {
                    continue;
                }
                return Err(not_found(&of));
            };
            for key in data.keys() {
                let name = format!("{}{key}", from.prefix);
                let name = Text::try_from(name).map_err(|_| over("a variable's name"))?;
                let value = self.value(&from.of, key, false)?;
                variables.extend(value.map(|value| wire::Variable { name, value }));
            }
        }
        for variable in &container.env {
            let value = match &variable.value {
                Value::Text(text) => Some(wire::Value::Text(text.clone())),
                Value::Key { of, key, optional } => self.value(of, key, *optional)?,
                Value::Told(told) => Some(self.pod.variable(told, self.sources.device)?),
            };
            let name = variable.name.clone();
            variables.extend(value.map(|value| wire::Variable { name, value }));
        }
        Ok(variables)
    }

    /// The value of a key; nothing if it may be missing and is.
    fn value(
        &self,
        source: &'a SourceName,
        key: &str,
        optional: bool,
    ) -> Result<Option<wire::Value>, Waiting> {
        let of = self.key_of(source);
        let found = self.data(&of).ok_or_else(|| not_found(&of)).and_then(|data| {
            data.get(key).ok_or_else(|| {
                let message = format!("couldn't find key {key} in {of}");
                Waiting::new(CONFIG_ERROR, message)
            })
        });
        let value = match found {
            Err(_) if optional => return Ok(None),
            found => found.and_then(|bytes| self.text(source, &of, key, bytes)),
        };
        match value {
            Err(waiting) if self.pod.assigned => {
                Ok(Some(wire::Value::Unavailable(Text::cut(&waiting.message))))
            }
            value => value.map(Some),
        }
    }

    fn text(
        &self,
        source: &SourceName,
        of: &Key,
        key: &str,
        bytes: &Hidden,
    ) -> Result<wire::Value, Waiting> {
        let wrong = |what: &str| {
            let message = format!("key {key} of {of} {what}; mount it as a file");
            Waiting::new(CONFIG_ERROR, message)
        };
        let text = core::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| wrong("is not text, as a variable is"))?;
        let too_long =
            || wrong(&format!("is longer than {VARIABLE_VALUE} bytes, which a variable may have"));
        match of.kind {
            Kind::Secret => {
                if text.len() > VARIABLE_VALUE {
                    return Err(too_long());
                }
                let secret =
                    *self.of_variables.get(source.name.as_str()).ok_or_else(|| over("a Secret"))?;
                let key = Text::try_from(key).map_err(|_| over("a key"))?;
                Ok(wire::Value::Secret { secret, key })
            }
            // It is taken as it is: what a template writes is expanded, what a ConfigMap holds is not.
            _ => Text::try_from(text.replace('$', "$$"))
                .map(wire::Value::Text)
                .map_err(|_| too_long()),
        }
    }
}

/// The files of some keys, at their paths.
fn pick<'a>(
    of: &Key,
    data: &Data,
    wanted: impl Iterator<Item = (&'a str, &'a str, u32)>,
    may_lack: bool,
) -> Result<wire::List<wire::File, FILES>, Waiting> {
    let mut files = wire::List::default();
    for (key, path, mode) in wanted {
        let Some(bytes) = data.get(key) else {
            if may_lack {
                continue;
            }
            return Err(missing(of, format!("has no key \"{key}\"")));
        };
        let file = Text::try_from(path).ok().zip(Bytes::try_from(bytes.to_vec()).ok());
        let mode = u16::try_from(mode).unwrap_or(0o644);
        let file = file.map(|(path, data)| wire::File { path, mode, data });
        file.and_then(|file| files.push(file).ok()).ok_or_else(|| {
            too_large(of, "is over the protocol's bounds of 128 files and 1 MiB a file")
        })?;
    }
    Ok(files)
}

fn missing(of: &Key, what: String) -> Waiting {
    Waiting::new(format!("{}Missing", of.kind), format!("{of} {what}"))
}

fn too_large(of: &Key, what: &str) -> Waiting {
    Waiting::new(format!("{}TooLarge", of.kind), format!("{of} {what}"))
}

/// In Kubernetes' words, and what to do.
fn not_found(of: &Key) -> Waiting {
    let Key { kind, namespace, name } = of;
    let kind = kind.names().singular;
    let message = format!("{kind} \"{name}\" not found in namespace {namespace}; apply it");
    Waiting::new(CONFIG_ERROR, message)
}

fn no_key(device: &str) -> Waiting {
    let message = format!(
        "{device} has shown no key to which Secrets can be sealed: it has not enrolled at this hub; join it with a token: lichen token create"
    );
    Waiting::new("NoSealingKey", message)
}

fn unusable_key(device: &str) -> Waiting {
    let message = format!(
        "nothing can be sealed to the key that {device} has shown; empty the state directory of its agent and join it again"
    );
    Waiting::new("NoSealingKey", message)
}
