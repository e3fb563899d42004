//! The bytes are what a device finds on its disk after a power cut, and what comes over a shim's socket. The first byte
//! says which:
//!
//! | first byte mod 5 | what follows |
//! |---|---|
//! | 0 | a piece for `assignment`, one for `assignment.previous`, one for a part; with their checksums put right if bit 7 is set |
//! | 1 | the agent's small files, one piece each |
//! | 2 | a Pod's record, its container's, the files of its last run, a specification and a log, one piece each |
//! | 3 | bytes on a shim's socket, cut as the second byte says |
//! | 4 | the specification of a Wasm run |
//!
//! Damage is told apart from content: what is read is what was written, and nothing is guessed.

use std::{collections::BTreeMap, fs, path::Path};

use firmware_compat::{
    frame::decode_body,
    id::{Hash, PodId},
    v1::owned::Assignment,
};
use lichen_agent::{
    identity::IdentityDir,
    pod_dir::PodDir,
    state::{StateDir, Written},
};
use lichen_agent_core::{ContainerId, Loaded, SavedAssignment, saved};
use lichen_shim::{Decoder, Outcome, RunDir, Spec, log, protocol};
use lichen_wasm_host::Run;
use sha2::{Digest, Sha256};

use crate::{
    meter::bounded,
    script::{Script, memory},
};

/// Heap bytes that reading may take, whatever is there: paths, and the largest small file.
const BASE_BYTES: usize = 256 * 1024;
/// Heap bytes per byte of a file: its content, decoded and encoded again, and an assignment read from it.
const BYTES_PER_BYTE: usize = 512;

/// One power cut, or one conversation.
pub fn state(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let limit = BASE_BYTES + BYTES_PER_BYTE * bytes.len();
    bounded("reading a state", limit, || match first % 5 {
        0 => _ = assignments(rest, first & 0x80 != 0),
        1 => _ = small_files(rest),
        2 => _ = pod(rest),
        3 => socket(rest),
        _ => wasm_run(rest),
    });
}

/// Gives what was loaded.
pub(crate) fn assignments(bytes: &[u8], mend: bool) -> Loaded {
    let mut script = Script::new(bytes);
    let (current, previous) = (script.piece().to_vec(), script.piece().to_vec());
    let files = [current, previous].map(|file| if mend { mended(file) } else { file });
    let [current, previous] =
        files.each_ref().map(|file| (!file.is_empty()).then_some(file.as_slice()));
    let files = saved::Files {
        current: current.map(<[u8]>::to_vec),
        previous: previous.map(<[u8]>::to_vec),
        parts: parts(script.piece()),
    };
    let loaded = saved::load(files.clone());
    let there = usize::from(current.is_some()) + usize::from(previous.is_some());
    assert!(loaded.saved.len() <= there);
    assert!(loaded.damage.len() + loaded.saved.len() >= there, "a file is missed without a word");
    assert!(loaded.damage.iter().all(|damage| !damage.is_empty()));
    for sound in &loaded.saved {
        followed(sound, &files);
    }
    loaded
}

/// A part of whatever bytes are left, under its own name and under another.
fn parts(bytes: &[u8]) -> BTreeMap<Hash, Vec<u8>> {
    let hash = Hash(Sha256::digest(bytes).into());
    assert_eq!(saved::part_of(&saved::part_name(&hash)), Some(hash));
    BTreeMap::from([(hash, bytes.to_vec()), (Hash([7; 32]), bytes.to_vec())])
}

/// However the disk looks, saving one more assignment leaves it loadable.
fn followed(sound: &SavedAssignment, files: &saved::Files) {
    if let Ok(assignment) = decode_body::<Assignment>(&sound.body) {
        assert!(assignment.pods.len() <= sound.body.len());
    }
    let steps = saved::save_steps(files, sound);
    let writes = steps.iter().find_map(|step| match step {
        saved::DiskStep::Write { name, bytes } if name == saved::TEMPORARY => Some(bytes.clone()),
        _ => None,
    });
    let current = writes.or_else(|| files.current.clone());
    let newest = saved::load(saved::Files { current, ..files.clone() }).saved;
    assert_eq!(newest.first(), Some(sound), "the newest is what was saved");
}

/// The header of a saved assignment with the length and the checksum of what follows it.
fn mended(mut file: Vec<u8>) -> Vec<u8> {
    const PAYLOAD: usize = 8 + 4 + 8 + 32;
    if let Some((header, payload)) = file.split_at_mut_checked(PAYLOAD) {
        header[12..20].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        header[20..].copy_from_slice(&Sha256::digest(payload));
    }
    file
}

/// Gives the time that is never gone back behind, in milliseconds.
pub(crate) fn small_files(bytes: &[u8]) -> u64 {
    let dir = tempfile::tempdir_in(memory()).expect("a directory");
    let state = StateDir::open(dir.path()).expect("a new state directory");
    let mut script = Script::new(bytes);
    for name in ["agent-id", "time-floor"] {
        write(&dir.path().join(name), script.piece());
    }
    let id = state.agent_id().expect("a damaged id is drawn anew");
    assert_eq!(state.agent_id().expect("it is kept"), id);
    let floor = state.time_floor().expect("a damaged floor is none");
    state.set_time_floor(floor).expect("it can be written");
    assert_eq!(state.time_floor().expect("it was just written"), floor);
    // Whatever lies there is an identity or a sentence, and never a new identity.
    let identity = IdentityDir::of(&state);
    fs::create_dir_all(identity.path()).expect("a directory");
    for name in ["hub.json", "certificate.pem", "key.pem", "sealing.key"] {
        write(&identity.path().join(name), script.piece());
    }
    let read = identity.load();
    let is_there = identity.path().join("hub.json").exists();
    assert_eq!(matches!(read, Ok(None)), !is_there, "a damaged identity is none");
    floor
}

/// What was found of a Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FoundPod {
    /// Its own record and its container's.
    pub(crate) records: bool,
    /// The specification of the last run.
    pub(crate) spec: bool,
    /// How that ended.
    pub(crate) exit: Option<Outcome>,
}

/// Gives what can be read.
pub(crate) fn pod(bytes: &[u8]) -> FoundPod {
    let dir = tempfile::tempdir_in(memory()).expect("a directory");
    let id = PodId([7; 16]);
    let pod = PodDir::new(dir.path(), id);
    let container = pod.container(ContainerId::Main(0));
    let run_dir = container.attempt(3);
    fs::create_dir_all(&run_dir).expect("a directory");
    let mut script = Script::new(bytes);
    write(&pod.path().join("pod"), script.piece());
    write(&pod.path().join("main-0/container"), script.piece());
    let names = ["exit", "shim.spec", "pid", "shim.pid", "oci.pid"];
    for name in names {
        write(&run_dir.join(name), script.piece());
    }
    let (of_pod, of_container) = (pod.record(), container.record());
    let (of_pod, of_container) = (of_pod.expect("readable"), of_container.expect("readable"));
    let records = of_pod.is_some() && of_container.is_some();
    if let Some(record) = of_pod {
        pod.set_record(&record, &Written::default()).expect("it can be written");
        assert_eq!(pod.record().expect("it was just written"), Some(record));
    }
    if let Some(record) = of_container {
        container.set_record(&record).expect("it can be written");
        assert_eq!(container.record().expect("it was just written"), Some(record));
    }
    assert_eq!(PodDir::all(dir.path()).expect("it can be listed").len(), 1);
    let run = RunDir::open(&run_dir).expect("it is there");
    let (mut outcome, spec) = (None, run.spec().is_ok_and(|spec| spec.is_some()));
    match run.exit() {
        Ok(Some(exit)) => {
            outcome = Some(exit.outcome);
            let _ = exit.outcome.exit_code();
            let again = postcard::to_extend(&exit, vec![protocol::VERSION]).expect("it encodes");
            write(&run_dir.join("exit"), &again);
            assert_eq!(run.exit().expect("it was just written"), Some(exit));
        }
        Ok(None) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    for read in [run.spec().map(drop), run.pid().map(drop)] {
        assert!(read.err().is_none_or(|error| !error.to_string().is_empty()));
    }
    match lichen_shim::inspect(&run_dir) {
        Ok(found) => assert!(!matches!(found, lichen_shim::Found::Running(_)), "nothing runs"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    specs(script.piece());
    lines(script.piece());
    FoundPod { records, spec, exit: outcome }
}

/// A specification that is accepted reads back; one that is not says why.
fn specs(bytes: &[u8]) {
    let Ok((spec, _)) = postcard::take_from_bytes::<Spec>(bytes) else { return };
    match spec.validate() {
        Ok(()) => {
            let again = postcard::to_allocvec(&spec).expect("a valid one can be written");
            assert_eq!(postcard::from_bytes::<Spec>(&again).expect("our own"), spec);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn lines(bytes: &[u8]) {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(read) = log::parse(line) else { continue };
        let tag = if read.tag == log::Tag::Full { "F" } else { "P" };
        let mut again = format!("{} {} {tag} ", read.time, read.stream.name()).into_bytes();
        again.extend(read.text);
        assert_eq!(again, line.strip_suffix(b"\n").unwrap_or(line), "a line reads as it is");
    }
}

fn socket(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let whole = bodies(bytes, bytes.len().max(1));
    assert_eq!(bodies(bytes, usize::from(*cut) + 1), whole, "it matters where the bytes are cut");
    for body in &whole {
        assert!(body.len() <= protocol::MAX_FRAME);
        match protocol::decode_request(body) {
            Ok(request) => {
                let again = protocol::encode(&request).expect("it fits");
                assert_eq!(protocol::decode_request(&again[4..]).expect("our own"), request);
            }
            Err(refusal) => assert!(!refusal.to_string().is_empty()),
        }
        match protocol::decode_reply(body) {
            Ok(reply) => {
                let again = protocol::encode(&reply).expect("it fits");
                assert_eq!(protocol::decode_reply(&again[4..]).expect("our own"), reply);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// Whole bodies until the first error, with the bytes coming in pieces of this size.
pub(crate) fn bodies(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (mut decoder, mut bodies) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(size) {
        decoder.push(piece);
        loop {
            match decoder.next_body() {
                Ok(Some(body)) => bodies.push(body.to_vec()),
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    return bodies;
                }
            }
        }
    }
    bodies
}

fn wasm_run(bytes: &[u8]) {
    let mut file = tempfile::Builder::new().tempfile_in(memory()).expect("a file");
    std::io::Write::write_all(&mut file, bytes).expect("it can be written");
    match Run::from_file(file.path()) {
        Ok(run) => {
            write(file.path(), &run.to_bytes().expect("what was read is text"));
            assert_eq!(Run::from_file(file.path()).expect("our own"), run);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn write(path: &Path, bytes: &[u8]) {
    if !bytes.is_empty() {
        fs::write(path, bytes).expect("it can be written");
    }
}
