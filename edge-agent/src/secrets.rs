//! Opens what the hub has sealed to this device: for a start, or for the files of a volume, and into memory alone. What
//! comes, and lies on the disk, is sealed.
//! From the first opening on, no core is written of this process.

use std::{fmt, sync::Arc};

use firmware_compat::{capacity::full as capacity, sealed::about, v1::owned::List};
use lichen_agent_core::PodSpec;
use lichen_shim::keep_out_of_cores;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::identity::{IdentityDir, Keys};

/// Opens what is sealed to one device.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// The device's name and its keys; or why there are none.
    of: Result<(String, Arc<dyn Keys>), String>,
}

/// Why a Secret can't be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The Pod does not have it.
    #[error("the pod has no such Secret")]
    Unknown,
    /// The device has no key.
    #[error("Secret {secret} can't be opened: {cause}")]
    NoKey {
        /// Which Secret.
        secret: String,
        /// What is wrong with the device's identity.
        cause: String,
    },
    /// It is for somebody else.
    #[error(
        "Secret {secret} can't be opened: it was sealed to another key than this device has, or has changed since; the hub \
         seals it anew when it hears of this device's key"
    )]
    Sealed {
        /// Which Secret.
        secret: String,
    },
    /// What is under the seal makes no sense.
    #[error("Secret {secret} can't be used: it holds something else than files")]
    Content {
        /// Which Secret.
        secret: String,
    },
    /// It is no text.
    #[error("key {key} of Secret {secret} is {problem}; mount it as a file")]
    Text {
        /// Which Secret.
        secret: String,
        /// Which key.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The system does not say that it keeps this process out of cores.
    #[error("could not keep this process out of core dumps: {0}")]
    Cores(std::io::Error),
}

impl Secrets {
    /// By the keys of the device whose identity is in a directory.
    #[must_use]
    pub fn of(dir: &IdentityDir) -> Self {
        Self { of: dir.name_and_keys().map_err(|error| error.to_string()) }
    }

    /// Opens a Secret of a Pod, by its place in the Pod's list.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn open(&self, pod: &PodSpec, secret: u8) -> Result<Opened, SecretError> {
        let (name, sealed) = pod.sealed(secret).ok_or(SecretError::Unknown)?;
        let secret = format!("{}/{name}", &*pod.namespace);
        keep_out_of_cores().map_err(SecretError::Cores)?;
        let (device, keys) = match &self.of {
            Ok(of) => of,
            Err(cause) => return Err(SecretError::NoKey { secret, cause: cause.clone() }),
        };
        let about = about(device, &pod.namespace, name);
        match about.and_then(|about| keys.open(&about, sealed).ok()) {
            Some(plain) => Ok(Opened { plain, secret }),
            None => Err(SecretError::Sealed { secret }),
        }
    }
}

/// What was under a seal. Wiped from memory when it is dropped, and printed nowhere.
pub struct Opened {
    plain: Zeroizing<Vec<u8>>,
    secret: String,
}

/// One file of a Secret, or the value of a key.
#[derive(Deserialize)]
pub struct OpenedFile<'a> {
    /// Its path, or the key.
    pub path: &'a str,
    /// Permission bits.
    pub mode: u16,
    /// Content.
    pub data: &'a [u8],
}

impl Opened {
    /// Its files.
    ///
    /// # Errors
    /// [`SecretError::Content`].
    pub fn files(&self) -> Result<Vec<OpenedFile<'_>>, SecretError> {
        type Files<'a> = List<OpenedFile<'a>, { capacity::FILES }>;
        match postcard::take_from_bytes::<Files<'_>>(&self.plain) {
            Ok((files, [])) => Ok(files.into_vec()),
            _ => Err(SecretError::Content { secret: self.secret.clone() }),
        }
    }

    /// The value of a key, for a variable.
    ///
    /// # Errors
    /// There is no such key, or it is no text.
    pub fn text(&self, key: &str) -> Result<Zeroizing<String>, SecretError> {
        let wrong = |problem| SecretError::Text {
            secret: self.secret.clone(),
            key: key.to_owned(),
            problem,
        };
        let files = self.files()?;
        let file = files.iter().find(|file| file.path == key).ok_or_else(|| wrong("missing"))?;
        let text = std::str::from_utf8(file.data).ok().filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| wrong("no text, as a variable is"))?;
        if text.len() > capacity::VARIABLE_VALUE {
            return Err(wrong("longer than a variable may be"));
        }
        Ok(Zeroizing::new(text.to_owned()))
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {}: {} bytes", self.secret, self.plain.len())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{collections::BTreeMap, fs};

    use firmware_compat::{
        id::{Hash, PodId},
        v1::owned::{
            ConfigData, File, Pod, PodSecurity, RestartPolicy, RuntimeClass, Sealed, Secret,
            Volume, VolumeSource,
        },
    };
    use lichen_sealing::Sealer;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        state::Written,
        test_support::{Authority, identity},
    };

    /// A device that has joined, with its identity in a directory.
    pub struct Device {
        dir: tempfile::TempDir,
        pub secrets: Secrets,
        key: [u8; 32],
    }

    impl Device {
        pub fn new(name: &str) -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let files = IdentityDir::at(dir.path().join("identity"), Written::default());
            let key = identity(&files, &Authority::new(), name).keys.sealing_key().0;
            Self { secrets: Secrets::of(&files), dir, key }
        }

        /// A Pod of this device with one Secret, and a volume of it.
        pub fn pod(&self, files: &[(&str, u16, &[u8])]) -> PodSpec {
            let file = |(path, mode, data): &(&str, u16, &[u8])| File {
                path: (*path).try_into().expect("short"),
                mode: *mode,
                data: data.to_vec().try_into().expect("small"),
            };
            let files: Vec<File> = files.iter().map(file).collect();
            let data = ConfigData { files: files.try_into().expect("few") };
            pod(self.seal(&postcard::to_stdvec(&data).expect("it encodes")))
        }

        fn seal(&self, plain: &[u8]) -> Sealed {
            let about = about("pi", "default", "db").expect("short");
            Sealer::new(&[3; 32]).seal(&self.key, &about, plain).expect("it can be sealed")
        }
    }

    fn pod(sealed: Sealed) -> PodSpec {
        let data = Hash([1; 32]);
        let secret = Secret { name: "db".try_into().expect("short"), data };
        let source = VolumeSource::Secret { secret: 0 };
        let volume = Volume { name: "v".try_into().expect("short"), source };
        let pod = Pod {
            id: PodId([1; 16]),
            identity: Hash([1; 32]),
            namespace: "default".try_into().expect("short"),
            name: "web".try_into().expect("short"),
            hostname: "web".try_into().expect("short"),
            names: Default::default(),
            runtime_class: RuntimeClass::Wasm,
            init_containers: Default::default(),
            containers: Default::default(),
            volumes: vec![volume].try_into().expect("one"),
            secrets: vec![secret].try_into().expect("one"),
            restart: RestartPolicy::Always,
            grace_ms: 0,
            active_deadline_s: 0,
            host_network: false,
            security: PodSecurity::default(),
            after: Default::default(),
        };
        let sealed = BTreeMap::from([(data, Arc::new(sealed))]);
        PodSpec::new(Arc::new(pod), BTreeMap::new(), sealed)
    }

    fn refusal(secrets: &Secrets, pod: &PodSpec) -> String {
        secrets.open(pod, 0).expect_err("it does not open").to_string()
    }

    #[test]
    fn what_is_sealed_to_the_device_opens_and_is_printed_nowhere() {
        let device = Device::new("pi");
        let secrets = &device.secrets;
        let files: [(&str, u16, &[u8]); 3] =
            [("password", 0o400, b"hunter2"), ("key", 0o600, b"\xff"), ("zero", 0, b"a\0b")];
        let pod = device.pod(&files);
        let opened = secrets.open(&pod, 0).expect("it opens");
        let found = opened.files().expect("files");
        let found: Vec<_> = found.iter().map(|file| (file.path, file.mode, file.data)).collect();
        assert_eq!(found, files);
        assert_eq!(*opened.text("password").expect("text"), "hunter2");
        for (key, problem) in [("key", "no text"), ("zero", "no text"), ("none", "missing")] {
            let said = opened.text(key).expect_err("no text").to_string();
            assert!(said.contains(problem) && said.contains("default/db"), "{said}");
        }
        let printed = format!("{opened:?} {pod:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("104, 117, 110"), "{printed}");
        assert!(matches!(secrets.open(&pod, 1), Err(SecretError::Unknown)));
    }

    #[test]
    fn what_is_for_another_device_or_key_does_not_open_and_a_lost_key_says_what_to_do() {
        let device = Device::new("pi");
        let pod = device.pod(&[("a", 0, b"hunter2")]);
        assert!(device.secrets.open(&pod, 0).is_ok());
        for other in [Device::new("pi"), Device::new("other")] {
            assert!(refusal(&other.secrets, &pod).contains("another key"));
        }
        let dir = IdentityDir::at(device.dir.path().join("identity"), Written::default());
        fs::write(dir.path().join("certificate.pem"), "damaged").expect("writable");
        assert!(Secrets::of(&dir).open(&pod, 0).is_ok(), "the certificate is not needed");
        fs::write(dir.path().join("sealing.key"), "hunter2").expect("writable");
        let said = refusal(&Secrets::of(&dir), &pod);
        assert!(said.contains("default/db") && said.contains("sealing.key is damaged"), "{said}");
        fs::remove_file(dir.path().join("sealing.key")).expect("removable");
        let said = refusal(&Secrets::of(&dir), &pod);
        assert!(said.contains("sealing.key is missing"), "{said}");
    }

    proptest! {
        #[test]
        fn whatever_is_under_a_seal_is_never_a_panic(plain: Vec<u8>, key: String) {
            let device = Device::new("pi");
            let opened = device.secrets.open(&pod(device.seal(&plain)), 0).expect("it opens");
            let _ = opened.files();
            let _ = opened.text(&key);
        }

        #[test]
        fn random_or_cut_seals_do_not_open(key: [u8; 32], content: Vec<u8>, keep in 0_usize..40) {
            let device = Device::new("pi");
            let content = content.try_into().expect("short");
            let random = pod(Sealed { encapsulated_key: key, content });
            prop_assert!(device.secrets.open(&random, 0).is_err());
            let sound = device.seal(b"hunter2 and hunter3");
            let content = sound.content[..keep.min(sound.content.len() - 1)].to_vec();
            let cut = pod(Sealed { content: content.try_into().expect("short"), ..sound });
            prop_assert!(device.secrets.open(&cut, 0).is_err());
        }
    }
}
