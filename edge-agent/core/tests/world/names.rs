//! Names for hashes and ids, and Pods from a few words: `web=1 image=a files=x restart=never after=old`.

use std::{cell::RefCell, collections::BTreeMap};

use firmware_compat::{
    id::{Hash, PodId},
    v1::owned::*,
};
use lichen_agent_core::ContainerId;
use sha2::{Digest, Sha256};

thread_local! {
    static NAMES: RefCell<BTreeMap<Vec<u8>, String>> = const { RefCell::new(BTreeMap::new()) };
    /// Of every Pod that has several containers.
    static CONTAINERS: RefCell<BTreeMap<PodId, Vec<(ContainerId, String)>>> =
        const { RefCell::new(BTreeMap::new()) };
}

pub fn sha(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// The hash that stands for a name.
pub fn hash_of(name: &str) -> Hash {
    let hash = sha(name.as_bytes());
    NAMES.with_borrow_mut(|names| names.insert(hash.0.to_vec(), name.to_string()));
    hash
}

/// The Pod that has a name. Ids are in the order of names.
pub fn id_of(name: &str) -> PodId {
    let mut id = [0; 16];
    let length = name.len().min(16);
    id[..length].copy_from_slice(&name.as_bytes()[..length]);
    PodId(id)
}

pub fn label(hash: &Hash) -> String {
    NAMES
        .with_borrow(|names| names.get(&hash.0[..]).cloned())
        .unwrap_or_else(|| hash.to_string()[..8].to_string())
}

pub fn id_label(id: &PodId) -> String {
    String::from_utf8_lossy(&id.0).trim_end_matches('\0').to_string()
}

/// The first container of a Pod, or, as `POD/NAME`, another.
pub fn container_of(name: &str) -> (PodId, ContainerId) {
    let Some((pod, container)) = name.split_once('/') else {
        return (id_of(name), ContainerId::Main(0));
    };
    let pod = id_of(pod);
    let id = CONTAINERS.with_borrow(|all| {
        let of_pod = all.get(&pod)?;
        of_pod.iter().find(|(_, name)| name == container).map(|(id, _)| *id)
    });
    (pod, id.expect("a container of that name"))
}

/// As the spec has it.
pub fn container_name(pod: &PodId, id: ContainerId) -> String {
    let label = container_label(pod, id);
    label.split_once('/').map_or_else(|| "main".to_string(), |(_, name)| name.to_string())
}

/// A Pod's only container goes by the Pod's name.
pub fn container_label(pod: &PodId, id: ContainerId) -> String {
    let of_several = CONTAINERS.with_borrow(|all| {
        let of_pod = all.get(pod)?;
        of_pod.iter().find(|(other, _)| *other == id).map(|(_, name)| name.clone())
    });
    match of_several {
        Some(name) => format!("{}/{name}", id_label(pod)),
        None => id_label(pod),
    }
}

pub fn artefacts(pod: &Pod) -> impl Iterator<Item = Blob> + '_ {
    pod.init_containers.iter().chain(pod.containers.iter()).flat_map(artefacts_of)
}

pub fn artefacts_of(container: &Container) -> Vec<Blob> {
    match &container.artefacts {
        Artefacts::Image { config, layers } => {
            std::iter::once(*config).chain(layers.iter().map(|layer| layer.blob)).collect()
        }
        Artefacts::Wasm { compiled: blob, .. } | Artefacts::Firmware { image: blob } => vec![*blob],
    }
}

fn blob(name: &str) -> Blob {
    Blob { digest: hash_of(name), size: 10 }
}

/// `NAME=VERSION [image=X|wasm=X] [files=TEXT] [secret=TEXT] [token=TEXT] [scratch=BYTES] [restart=always|onfailure|never] [after=NAME]... [name=NAME] [init=NAME:IMAGE]...
/// [beside=NAME:IMAGE]...`: one container `main`, and others before it and beside it.
pub fn pod(words: &str) -> Pod {
    let mut words = words.split_whitespace();
    let (name, version) = words.next().and_then(|word| word.split_once('=')).expect("NAME=VERSION");
    let mut pod = Pod {
        id: id_of(name),
        identity: hash_of(&format!("{name}={version}")),
        namespace: Text::cut("default"),
        name: Text::cut(name),
        hostname: Text::cut(name),
        names: Default::default(),
        runtime_class: RuntimeClass::Container,
        init_containers: List::default(),
        containers: List::default(),
        volumes: List::default(),
        restart: RestartPolicy::Always,
        grace_ms: 5000,
        active_deadline_s: 0,
        host_network: false,
        security: PodSecurity::default(),
        after: List::default(),
        secrets: List::default(),
    };
    let mut artefacts = image(version);
    let (mut beside, mut token) = (Vec::new(), None);
    let mut watched = Supervision::default();
    for word in words {
        match word.split_once('=').expect("KEY=VALUE") {
            ("image", name) => artefacts = image(name),
            ("wasm", name) => {
                pod.runtime_class = RuntimeClass::Wasm;
                artefacts = Artefacts::Wasm { module: hash_of("module"), compiled: blob(name) };
            }
            ("files", text) => pod.volumes = vec![config_map(text)].try_into().expect("one"),
            ("secret", text) => {
                pod.secrets.push(secret(text)).expect("one");
                let source = VolumeSource::Secret { secret: 0 };
                pod.volumes.push(Volume { name: Text::cut("keys"), source }).expect("one");
            }
            ("token", text) => {
                let place = u8::try_from(pod.secrets.len()).expect("few");
                pod.secrets.push(secret(text)).expect("few");
                token = Some(Value::Secret { secret: place, key: Text::cut("token") });
            }
            ("scratch", limit) => {
                let size_limit_bytes = limit.parse().expect("a number");
                let source = VolumeSource::EmptyDir { memory: false, size_limit_bytes };
                pod.volumes.push(Volume { name: Text::cut("scratch"), source }).expect("one");
            }
            // Another Pod of this name.
            ("name", name) => pod.name = Text::cut(name),
            ("after", name) => pod.after.push(id_of(name)).expect("few"),
            ("restart", "always") => pod.restart = RestartPolicy::Always,
            ("restart", "onfailure") => pod.restart = RestartPolicy::OnFailure,
            ("restart", "never") => pod.restart = RestartPolicy::Never,
            // Of the main container: `live=PERIOD:FAILURES`, in seconds.
            ("live", words) => watched.probes.push(probe(Purpose::Liveness, words)).expect("few"),
            ("ready", words) => watched.probes.push(probe(Purpose::Readiness, words)).expect("few"),
            ("startup", words) => watched.probes.push(probe(Purpose::Startup, words)).expect("few"),
            ("hook", "poststart") => watched.hooks.push(hook(Moment::PostStart)).expect("few"),
            ("hook", "prestop") => watched.hooks.push(hook(Moment::PreStop)).expect("few"),
            ("deadline", seconds) => pod.active_deadline_s = seconds.parse().expect("a number"),
            // `NAME:IMAGE`, and `startup:NAME:IMAGE` of one with a startup probe.
            ("sidecar", words) => {
                let (words, has_startup) = match words.strip_prefix("startup:") {
                    Some(words) => (words, true),
                    None => (words, false),
                };
                let mut sidecar = named(words);
                sidecar.supervision.sidecar = true;
                if has_startup {
                    let probe = probe(Purpose::Startup, "5:3");
                    sidecar.supervision.probes.push(probe).expect("one");
                }
                pod.init_containers.push(sidecar).expect("few");
            }
            ("init", words) => pod.init_containers.push(named(words)).expect("few"),
            ("beside", words) => beside.push(named(words)),
            (key, value) => panic!("unknown word {key}={value}"),
        }
    }
    let mut main = container("main", artefacts);
    main.supervision = watched;
    if let Some(value) = token {
        main.env.push(Variable { name: Text::cut("TOKEN"), value }).expect("one");
    }
    pod.containers.push(main).expect("one");
    beside.into_iter().for_each(|container| pod.containers.push(container).expect("few"));
    let names =
        ContainerId::all(&pod).map(|id| (id, id.of(&pod).expect("its own").name.to_string()));
    let names: Vec<_> = names.collect();
    CONTAINERS.with_borrow_mut(|all| match names.len() {
        1 => _ = all.remove(&pod.id),
        _ => _ = all.insert(pod.id, names),
    });
    pod
}

fn probe(purpose: Purpose, words: &str) -> Probe {
    let (period, failures) = words.split_once(':').expect("PERIOD:FAILURES");
    Probe {
        purpose,
        action: Handler::TcpSocket { host: Text::default(), port: 80 },
        initial_delay_s: 0,
        period_s: period.parse().expect("a number"),
        timeout_s: 1,
        success_threshold: 1,
        failure_threshold: failures.parse().expect("a number"),
        grace_ms: 0,
    }
}

fn hook(moment: Moment) -> Hook {
    let command = vec![Text::cut("/bin/do")].try_into().expect("one");
    Hook { moment, action: Handler::Exec { command } }
}

/// `NAME:IMAGE`.
fn named(words: &str) -> Container {
    let (name, of) = words.split_once(':').expect("NAME:IMAGE");
    container(name, image(of))
}

fn image(name: &str) -> Artefacts {
    let layer = Layer { blob: blob(&format!("layer-{name}")), packing: Packing::TarGzip };
    Artefacts::Image {
        config: blob(&format!("config-{name}")),
        layers: vec![layer].try_into().expect("one"),
    }
}

thread_local! {
    /// Every part that a Pod of a test refers to.
    static PARTS: RefCell<BTreeMap<Hash, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Keeps a part.
fn part(bytes: Vec<u8>) -> Hash {
    let hash = sha(&bytes);
    PARTS.with_borrow_mut(|all| all.insert(hash, bytes));
    hash
}

/// Makes these files a part.
pub fn config_part(files: Vec<File>) -> VolumeSource {
    let config = ConfigData { files: files.try_into().expect("few") };
    VolumeSource::ConfigMap { data: part(postcard::to_allocvec(&config).expect("fits")) }
}

/// A Secret that is sealed so well that nobody opens it.
fn secret(text: &str) -> Secret {
    let content = text.as_bytes().to_vec().try_into().expect("short");
    let sealed = Sealed { encapsulated_key: [1; 32], content };
    let data = part(postcard::to_allocvec(&sealed).expect("fits"));
    Secret { name: Text::cut("db"), data }
}

fn config_map(text: &str) -> Volume {
    let file = File {
        path: Text::cut("settings"),
        mode: 0o644,
        data: text.as_bytes().to_vec().try_into().expect("short"),
    };
    Volume { name: Text::cut("settings"), source: config_part(vec![file]) }
}

pub fn container(name: &str, artefacts: Artefacts) -> Container {
    Container {
        name: Text::cut(name),
        reference: Text::default(),
        artefacts,
        command: List::default(),
        args: List::default(),
        working_dir: Text::default(),
        env: List::default(),
        ports: List::default(),
        resources: Resources::default(),
        mounts: List::default(),
        security: ContainerSecurity::default(),
        supervision: Supervision::default(),
    }
}

/// The bytes of an assignment's body, and of all its parts by their hashes.
pub fn encode(pods: &[Pod]) -> (Vec<u8>, BTreeMap<Hash, Vec<u8>>) {
    let mut parts = BTreeMap::new();
    let mut refs = Vec::new();
    for pod in pods {
        let maps = pod.volumes.iter().filter_map(|volume| match &volume.source {
            VolumeSource::ConfigMap { data } => Some(*data),
            _ => None,
        });
        for data in maps.chain(pod.secrets.iter().map(|secret| secret.data)) {
            let bytes = PARTS.with_borrow(|all| all.get(&data).cloned());
            parts.insert(data, bytes.expect("made by part"));
        }
        let bytes = postcard::to_allocvec(pod).expect("fits");
        refs.push(sha(&bytes));
        parts.insert(sha(&bytes), bytes);
    }
    let assignment =
        Assignment { pods: refs.try_into().expect("fits"), removed_claims: Default::default() };
    (postcard::to_allocvec(&assignment).expect("fits"), parts)
}
