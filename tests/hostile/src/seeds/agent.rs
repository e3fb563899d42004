//! Lives of an agent. The steps are those of the target's table.

use firmware_compat::{
    frame::{self, Stamp, decode_body},
    id::{Generation, Hash},
    v1::owned::{
        Bytes, ConfigData, Container, File, List, Part, Pod, RestartPolicy, Secret, Text, Volume,
        VolumeSource,
    },
};
use sha2::{Digest, Sha256};

use super::{Seed, golden, golden_names, piece, seed};
use crate::agent::{device::OTHER_LINEAGE, life};

const SAVE: &[u8] = &[2];
const ALL: &[u8] = &[10];
const UP: &[u8] = &[6];
const WAKE: &[u8] = &[4];

pub(super) fn seeds() -> Vec<Seed> {
    let (image, wasm) = (open(&golden("pod-image")), open(&golden("pod-wasm")));
    let deployed = [UP, &assign(1, 0, &image), ALL].concat();
    let other = changed(&image, |pod| pod.identity = Hash([0xb3; 32]));
    let exits = [WAKE, WAKE, ALL, &[9, 0, 1], WAKE, ALL].concat();
    let deploy_image = [&deployed[..], &exits].concat();
    // The second is never whole, for its hash is wrong; the third comes in two chunks.
    let replace = [
        UP,
        &assign(1, 0, &wasm),
        ALL,
        WAKE,
        ALL,
        &assign(2, 0x13, &other),
        &assign(3, 0x10, &other),
        ALL,
        WAKE,
        ALL,
        &[12, 0],
        ALL,
    ];
    let quit = [UP, &assign(1, 0, &wasm), SAVE, &[12, 1], ALL].concat();
    let failures = [3, 4, 2, 3, 4, 2, 3, 4, 2, 2, 3, 4, 10, 13, 0, 4, 13, 3, 10, 4, 10];
    let failures = [UP, &assign(1, 0, &wasm), &failures].concat();
    let foreign = assign(1, 0x80, &wasm);
    let adopt = [&deployed[..], &foreign, &[15], &foreign, ALL, WAKE, ALL].concat();
    let boots = [&deployed[..], &[7, 11, 0], ALL, &[11, 1], ALL, &[11, 5], ALL].concat();
    let heard =
        golden_names().into_iter().flat_map(|name| [vec![0], piece(&golden(&name))].concat());
    let frames = UP.iter().copied().chain(heard).collect();
    // As they were recorded they are signed by another key.
    let strangers =
        golden_names().into_iter().flat_map(|name| [vec![16], piece(&golden(&name))].concat());
    let strangers = UP.iter().copied().chain(strangers).collect();
    let names = vec![6, 8, 4, 6, 8, 6, 14, 4];
    vec![
        seed("agent", "deploy-image", deploy_image, |bytes| life(bytes).starts() > 1),
        seed("agent", "deploy-wasm-replace", replace.concat(), |bytes| {
            let device = life(bytes);

            device.held().map(|held| held.generation) == Some(Generation(3))
                && device.starts() > 1
                && device.has_ended()
        }),
        seed("agent", "effects-after-quit", quit, |bytes| life(bytes).has_ended()),
        seed("agent", "failures", failures, |bytes| life(bytes).starts() > 0),
        seed("agent", "foreign-adopt", adopt, |bytes| {
            life(bytes).held().map(|held| held.lineage) == Some(OTHER_LINEAGE)
        }),
        seed("agent", "frames", frames, |bytes| life(bytes).sent() > 1),
        seed("agent", "strangers-frames", strangers, |bytes| life(bytes).sent() > 1),
        seed("agent", "init-container", init_container(&image), |bytes| life(bytes).starts() > 1),
        seed("agent", "name-taken", names, |bytes| life(bytes).sent() > 0),
        seed("agent", "offline-boot", boots, |bytes| life(bytes).starts() > 1),
        seed("agent", "secret", secret(), |bytes| life(bytes).starts() > 0),
        seed("agent", "same-identity-other-files", other_files(&image), |bytes| {
            let device = life(bytes);
            device.held().map(|held| held.generation) == Some(Generation(2)) && device.starts() == 1
        }),
    ]
}

/// The step that hands over a whole assignment with one Pod.
fn assign(generation: u8, ways: u8, pod: &[u8]) -> Vec<u8> {
    [&[1, generation, ways][..], &piece(pod)].concat()
}

/// A Pod without Secrets and without a deadline: nothing has to come after it, and it runs for as long as it likes.
fn open(pod: &[u8]) -> Vec<u8> {
    changed(pod, |pod| {
        let containers = pod.containers.iter();
        let containers = containers.map(|of| Container { env: List::default(), ..of.clone() });
        pod.containers = List::try_from(containers.collect::<Vec<_>>()).expect("as many");
        pod.active_deadline_s = 0;
        pod.secrets = List::default();
    })
}

fn changed(pod: &[u8], change: impl FnOnce(&mut Pod)) -> Vec<u8> {
    let mut pod: Pod = decode_body(pod).expect("it is recorded");
    change(&mut pod);
    postcard::to_allocvec(&pod).expect("it encodes")
}

/// A Pod whose init container ends well before its container starts.
fn init_container(pod: &[u8]) -> Vec<u8> {
    let with_init = changed(pod, |pod| {
        let init = Container { name: Text::cut("first"), ..pod.containers[0].clone() };
        pod.init_containers = List::try_from(vec![init]).expect("one");
        pod.restart = RestartPolicy::Always;
    });
    [UP, &assign(1, 0, &with_init), ALL, WAKE, ALL, &[9, 0, 0], ALL, WAKE, ALL].concat()
}

/// A Pod with a Secret, which comes after it.
fn secret() -> Vec<u8> {
    let sealed = golden("sealed");
    let hash = Hash(Sha256::digest(&sealed).into());
    let pod = changed(&golden("pod-image"), |pod| {
        let secret = Secret { name: Text::cut("db"), data: hash };
        pod.secrets = List::try_from(vec![secret]).expect("one");
    });
    [UP, &assign(1, 0, &pod), &[0], &piece(&part(hash, sealed)), ALL, WAKE, ALL].concat()
}

/// A part in one chunk.
fn part(hash: Hash, bytes: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short");
    let part = Part { hash, length, offset: 0, bytes: Bytes::try_from(bytes).expect("short") };
    frame::encode(&part, Stamp::default()).expect("it fits a frame")
}

/// A Pod that is saved with other files, and no other identity, before it has started.
fn other_files(pod: &[u8]) -> Vec<u8> {
    let with = |text: &str, generation: u8| {
        let data = Bytes::try_from(text.as_bytes().to_vec()).expect("short");
        let file = File { path: Text::cut("settings"), mode: 0o644, data };
        let files = List::try_from(vec![file]).expect("one");
        let files = postcard::to_allocvec(&ConfigData { files }).expect("it encodes");
        let hash = Hash(Sha256::digest(&files).into());
        let pod = changed(pod, |pod| {
            let source = VolumeSource::ConfigMap { data: hash };
            let volume = Volume { name: Text::cut("settings"), source };
            pod.volumes = List::try_from(vec![volume]).expect("one");
            let mut container = pod.containers[0].clone();
            container.mounts = List::default();
            pod.containers = List::try_from(vec![container]).expect("one");
        });
        let sent = piece(&part(hash, files));
        [assign(generation, 0, &pod), vec![0], sent, SAVE.to_vec()].concat()
    };
    [UP, &with("moss", 1), &with("fern", 2), ALL, WAKE, ALL].concat()
}
