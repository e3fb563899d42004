//! Disks after a power cut, and conversations on a shim's socket.

use std::path::PathBuf;

use firmware_compat::{
    frame::decode_body,
    id::{Generation, Hash, Lineage},
    v1::owned::{Assignment, AssignmentId, List},
};
use lichen_agent::pod_dir::{ContainerRecord, Record};
use lichen_agent_core::{
    SavedAssignment,
    config::Part,
    saved::{self, DiskStep, Files},
};
use lichen_shim::{
    BootId, Container, Exit, Kind, LogLimits, Outcome, Phase, Process, Refusal, Reply, Request,
    Spec, Started, State, protocol, run_dir::SpecRecord,
};
use lichen_wasm_host::{Preopen, Run};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Seed, golden, piece, seed};
use crate::state::{assignments, bodies, pod, small_files};

const BOOT: BootId = BootId([1; 16]);

pub(super) fn seeds() -> Vec<Seed> {
    let part = golden("pod-image");
    let (current, previous) = (assignment(&part, 2), assignment(&part, 1));
    let on_disk = |first: u8, current: &[u8], previous: &[u8]| {
        [vec![first], piece(current), piece(previous), piece(&part)].concat()
    };
    let mut elsewhere = current.clone();
    // What follows the checksum begins with its length; then the lineage.
    elsewhere[8 + 4 + 8 + 32 + 4] ^= 1;
    let code = |outcome| Exit {
        outcome,
        oom_killed: false,
        started_at_ms: Some(5),
        finished_at_ms: 7,
        boot_id: BOOT,
        message: "no".to_owned(),
    };
    let small = [&b"00112233445566778899aabbccddeeff\n"[..], b"1767225600000\n", b"{}"];
    let damaged = [&[0xff, 0][..], b"-5", &[0xff; 40]];
    let files = |files: [&[u8]; 3]| [vec![1], files.map(piece).concat()].concat();
    vec![
        seed(
            "state",
            "assignment-cut",
            on_disk(0, &current[..current.len() - 3], &previous),
            |bytes| {
                let loaded = assignments(&bytes[1..], false);
                loaded.saved.len() == 1 && !loaded.damage.is_empty()
            },
        ),
        seed("state", "assignment-previous-alone", on_disk(0, b"", &previous), |bytes| {
            assignments(&bytes[1..], false).saved.len() == 1
        }),
        seed("state", "assignments", on_disk(0, &current, &previous), |bytes| {
            assignments(&bytes[1..], false).saved.len() == 2
        }),
        seed("state", "assignments-mended", on_disk(0x82, &elsewhere, &previous), |bytes| {
            let saved = |mend| assignments(&bytes[1..], mend).saved.len();
            (saved(false), saved(true)) == (1, 2)
        }),
        seed("state", "pod-container", run(&code(Outcome::Code(0)), &container()), |bytes| {
            let found = pod(&bytes[1..]);
            found.records && found.spec && found.exit == Some(Outcome::Code(0))
        }),
        seed("state", "pod-exited", run(&code(Outcome::Code(3)), &process()), |bytes| {
            let found = pod(&bytes[1..]);
            found.records && found.spec && found.exit == Some(Outcome::Code(3))
        }),
        seed(
            "state",
            "pod-signal-out-of-range",
            run(&code(Outcome::Signal(i32::MAX)), &process()),
            |bytes| pod(&bytes[1..]).exit == Some(Outcome::Signal(i32::MAX)),
        ),
        seed("state", "small-files", files(small), |bytes| {
            small_files(&bytes[1..]) == 1_767_225_600_000
        }),
        seed("state", "small-files-damaged", files(damaged), |bytes| small_files(&bytes[1..]) == 0),
        seed("state", "socket-replies", replies(&code(Outcome::Signal(9))), |bytes| {
            let bodies = bodies(&bytes[2..], bytes.len());
            bodies.len() == 5 && bodies.iter().all(|body| protocol::decode_reply(body).is_ok())
        }),
        seed("state", "socket-requests", requests(), |bytes| {
            let bodies = bodies(&bytes[2..], bytes.len());
            let known = bodies.iter().filter(|body| protocol::decode_request(body).is_ok());
            (bodies.len(), known.count()) == (6, 4)
        }),
        seed("state", "socket-too-long", vec![3, 0, 0xff, 0xff, 0xff, 0xff], |bytes| {
            bodies(&bytes[2..], bytes.len()).is_empty()
        }),
        seed("state", "wasm-run", wasm(), |bytes| {
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), &bytes[1..]).expect("it can be written");
            Run::from_file(file.path()).is_ok()
        }),
    ]
}

/// The file of a saved assignment with one Pod.
fn assignment(part: &[u8], generation: u64) -> Vec<u8> {
    let hash = |bytes: &[u8]| Hash(Sha256::digest(bytes).into());
    let pods = List::try_from(vec![hash(part)]).expect("one");
    let body = postcard::to_allocvec(&Assignment { pods, removed_claims: Default::default() })
        .expect("it encodes");
    let (lineage, generation) = (Lineage([1; 16]), Generation(generation));
    let id = AssignmentId { lineage, generation, hash: hash(&body) };
    let read = Part::Pod(std::sync::Arc::new(decode_body(part).expect("it is recorded")));
    let parts = [(hash(part), read)].into();
    let saved = SavedAssignment { id, body, parts };
    let steps = saved::save_steps(&Files::default(), &saved);
    let written = steps.into_iter().find_map(|step| match step {
        DiskStep::Write { name, bytes } if name == saved::TEMPORARY => Some(bytes),
        _ => None,
    });
    written.expect("saving writes the assignment")
}

/// A Pod's files: its record, its container's, its last run, and beside them a specification and a line of a log.
fn run(exit: &Exit, spec: &Spec) -> Vec<u8> {
    let record = Record {
        identity: Hash([2; 32]),
        boot_id: Some(BOOT),
        network: true,
        label: "a/b".to_owned(),
        grace_ms: 30,
        wasm: false,
        active_since: Some((BOOT, 7)),
        failed: None,
    };
    let container = ContainerRecord {
        name: "main".to_owned(),
        stop_signal: 15,
        message_from_log: false,
        forgotten: None,
    };
    let started = SpecRecord { boot_id: BOOT, spec: spec.clone() };
    let line = b"2024-02-29T00:00:00.000000001Z stderr P two  words\n";
    [
        vec![2],
        piece(&versioned(&record)),
        piece(&versioned(&container)),
        piece(&versioned(exit)),
        piece(&versioned(&started)),
        // No process: `pid`, `shim.pid`, `oci.pid`.
        piece(b""),
        piece(b""),
        piece(b""),
        piece(&postcard::to_allocvec(spec).expect("it encodes")),
        piece(line),
    ]
    .concat()
}

/// Records of agents and shims begin with their version, which is that of the protocol.
fn versioned(record: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(record, vec![protocol::VERSION]).expect("it encodes")
}

fn process() -> Spec {
    let env = vec![("A".to_owned(), "b".to_owned())];
    let process = Process {
        argv: vec!["/bin/x".to_owned()],
        env,
        cwd: PathBuf::from("/"),
        private: false,
        group: None,
    };
    spec(Kind::Process(process))
}

fn container() -> Spec {
    spec(Kind::Container(Container {
        runtime: PathBuf::from("/bin/crun"),
        runtime_args: Vec::new(),
        id: "id".to_owned(),
        bundle: PathBuf::from("/b"),
        overlay: None,
        cgroup: None,
        private_cgroup2: true,
        sub_paths: Vec::new(),
        private: true,
    }))
}

fn spec(kind: Kind) -> Spec {
    Spec { kind, log: LogLimits { bytes_per_file: 1 << 20, files: 2 }, label: "a/b".to_owned() }
}

fn replies(exit: &Exit) -> Vec<u8> {
    let started = Started { pid: 7, at_ms: 5 };
    let state = |phase| {
        Reply::State(State {
            phase,
            boot_id: BOOT,
            shim_pid: 5,
            dropped_log_lines: 0,
            log_bytes: 0,
        })
    };
    let replies = [
        state(Phase::Starting),
        state(Phase::Exited(exit.clone())),
        Reply::Started(started),
        Reply::Exited(exit.clone()),
        Reply::Refused(Refusal::Unsupported(9)),
    ];
    let frames = replies.iter().flat_map(|reply| protocol::encode(reply).expect("it fits"));
    [3, 6].into_iter().chain(frames).collect()
}

/// Every request, one that no shim knows, and one of another version.
fn requests() -> Vec<u8> {
    let stop = Request::Stop { signal: 15, grace_ms: 300 };
    let known = [Request::Status, stop, Request::Kill, Request::Follow];
    let frames = known.iter().flat_map(|request| protocol::encode(request).expect("it fits"));
    let others = [2, 0, 0, 0, 1, 9, 2, 0, 0, 0, 2, 0];
    [3, 2].into_iter().chain(frames).chain(others).collect()
}

fn wasm() -> Vec<u8> {
    let run = Run {
        artefact: PathBuf::from("/a"),
        args: vec!["x".to_owned()],
        env: vec![("N".to_owned(), "v".to_owned())],
        preopens: vec![Preopen {
            host: "/".into(),
            inner: "part".into(),
            guest: "/".to_owned(),
            read_only: false,
        }],
        memory_limit_bytes: Some(1 << 20),
        network: true,
        user: None,
        groups: Vec::new(),
    };
    [vec![4], run.to_bytes().expect("its paths are text")].concat()
}
