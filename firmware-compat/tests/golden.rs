//! Golden bytes: every message, in both forms, writes exactly the frame recorded in `golden/<name>.hex`, and reads it
//! back. A recorded file never changes once released: a change of the wire is a new version. `UPDATE_GOLDEN=1` records
//! messages that have no file yet.
//!
//! Frames of the hub are signed for the device `board-1` with the key whose seed is 32 times 0x5a: who writes a device of
//! another make can check its Ed25519 with them. `signed/head.hex` is what the signature of `golden/head.hex` is over.
#![cfg(feature = "alloc")]

mod signer;

use std::{fs, path::PathBuf};

use firmware_compat::{
    frame::{self, Frame, Message, Stamp},
    id::{AgentId, BootId, ClaimId, Generation, Hash, KeyId, Lineage, PodId},
    signed,
};

const STAMP: Stamp = Stamp { session: 0x0102_0304, sequence: 5 };
/// Of the hub's key.
const SEED: u8 = 0x5a;
const DEVICE: &str = "board-1";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn recorded(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.hex"))
}

fn as_recorded(name: &str, bytes: &[u8]) {
    let path = recorded(name);
    if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, hex(bytes) + "\n").expect("it can be written");
    }
    let recorded = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(hex(bytes), recorded.trim(), "{name} writes other bytes than it did");
}

/// A message writes the recorded frame and reads it back.
fn check<M: Message + PartialEq + core::fmt::Debug>(name: &str, message: &M) {
    let mut buffer = vec![0; frame::MAX_FRAME_BYTES];
    let bytes = frame::encode_into(message, STAMP, &mut buffer).expect("it fits a frame");
    if M::KIND.is_signed() {
        signed::sign(bytes, DEVICE, |said| signer::signature(SEED, said)).expect("it has a place");
    }
    as_recorded(name, bytes);
    let (stamp, read) = frame::decode::<M>(bytes).expect("it reads back");
    assert_eq!((stamp, &read), (STAMP, message), "{name}");
}

/// What the signature of a frame is over.
fn signed_bytes(frame: &mut [u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let kept = signed::sign(frame, DEVICE, |said| {
        bytes = said.to_vec();
        signer::signature(SEED, said)
    });
    kept.expect("it has a place");
    bytes
}

#[test]
fn a_signature_is_over_what_is_recorded_and_any_ed25519_says_so() {
    use firmware_compat::v1::fixed::{AssignmentId, Head};
    let (lineage, generation) = (Lineage([0x11; 16]), Generation(300));
    let assignment = AssignmentId { lineage, generation, hash: hash(0x22) };
    let mut buffer = [0; 256];
    let head = Head { assignment, length: 70_000 };
    let frame = frame::encode_into(&head, STAMP, &mut buffer).expect("it fits");
    let said = signed_bytes(frame);
    as_recorded("../signed/head", &said);
    as_recorded("head", frame);
    let seal = Frame::parse(frame).expect("a frame").seal.expect("it is signed");
    assert!(signer::verify(&signer::public(SEED), &said, seal.signature));
    assert!(frame.len() < 200, "a head is retained for every device");
}

fn hash(byte: u8) -> Hash {
    Hash([byte; 32])
}

/// The same text, compiled against each form: equal files mean equal bytes.
macro_rules! samples {
    ($module:ident, $bytes:expr) => {
        mod $module {
            use firmware_compat::v1::$module::*;

            use super::*;

            fn text<const N: usize>(text: &str) -> Text<N> {
                Text::try_from(text).expect("in bounds")
            }

            fn list<T, const N: usize>(items: Vec<T>) -> List<T, N> {
                let mut list = List::default();
                for item in items {
                    assert!(list.push(item).is_ok(), "in bounds");
                }
                list
            }

            fn bytes<const N: usize>(content: &[u8]) -> Bytes<N> {
                $bytes(content)
            }

            fn assignment_id() -> AssignmentId {
                AssignmentId {
                    lineage: Lineage([0x11; 16]),
                    generation: Generation(300),
                    hash: hash(0x22),
                }
            }

            fn runtime(runtime_class: RuntimeClass, name: &str) -> Runtime {
                Runtime {
                    runtime_class,
                    name: text(name),
                    version: text("1.8.1"),
                    usable: true,
                    limits_enforced: false,
                    reason: text("cgroup v1"),
                }
            }

            fn status(phase: Phase) -> PodStatus {
                PodStatus {
                    id: PodId([0xa1; 16]),
                    identity: hash(0xb2),
                    phase,
                    reason: text("Error"),
                    message: text("exit code 3"),
                    init_containers: List::default(),
                    containers: list(vec![container_status(ContainerState::Running {
                        pid: 4711,
                        started_ms: 1_767_225_600_000,
                    })]),
                }
            }

            fn exit() -> Exit {
                Exit {
                    code: -3,
                    reason: text("Error"),
                    message: text(""),
                    started_ms: 1_767_225_600_000,
                    at_ms: 0,
                }
            }

            fn container_status(state: ContainerState) -> ContainerStatus {
                ContainerStatus {
                    name: text("main"),
                    state,
                    last_exit: Some(exit()),
                    restarts: 7,
                    ready: true,
                    started: true,
                    image: hash(0xd4),
                }
            }

            #[test]
            fn every_state_of_a_container_is_as_recorded() {
                let waiting = ContainerState::Waiting {
                    reason: text("CrashLoopBackOff"),
                    message: text("starts again after 10 s"),
                };
                for (name, state) in [
                    ("status-waiting", waiting),
                    ("status-terminated", ContainerState::Terminated(exit())),
                ] {
                    let mut pod = status(Phase::Backoff);
                    pod.containers = list(vec![container_status(state)]);
                    let (pods, removed) = (list(vec![pod]), List::default());
                    let (full, more) = (false, false);
                    check(name, &Status { assignment: None, full, more, pods, removed });
                }
            }

            #[test]
            fn hello_is_as_recorded() {
                check(
                    "hello",
                    &Hello {
                        agent: AgentId([1; 16]),
                        boot: BootId([2; 16]),
                        version: text("0.1.0"),
                        arch: text("arm64"),
                        os: text("linux"),
                        kernel: text("6.1.0"),
                        cpu_features: list(vec![text("neon")]),
                        cpu_milli: 4000,
                        memory_bytes: 512 << 20,
                        disk_bytes: 8 << 30,
                        storage: Storage {
                            claims: text("/var/lib/lichen/claims"),
                            sizes_enforced: true,
                        },
                        runtimes: list(vec![
                            runtime(RuntimeClass::Container, "crun"),
                            runtime(RuntimeClass::Wasm, "wasmtime"),
                        ]),
                        wasm: Some(WasmSupport {
                            class: text("aarch64"),
                            compatibility: text("00ff"),
                        }),
                        labels: list(vec![Label {
                            key: text("lichen.dev/site"),
                            value: text("north"),
                        }]),
                        assignment: Some(assignment_id()),
                        clock_ms: 86_400_000,
                        max_assignment_bytes: 65_536,
                        keys: list(vec![KeyId([0xca; 4])]),
                        conditions: list(vec![NodeCondition {
                            kind: ConditionKind::DiskPressure,
                            is_true: true,
                            reason: text("KubeletHasDiskPressure"),
                            message: text("the disk has 100 MiB left of 8 GiB"),
                        }]),
                    },
                );
            }

            #[test]
            fn status_is_as_recorded() {
                let content = Status {
                    assignment: Some(assignment_id()),
                    full: true,
                    more: false,
                    pods: list(vec![status(Phase::Running), status(Phase::Backoff)]),
                    removed: list(vec![PodId([0xc3; 16])]),
                };
                check("status", &content);
            }

            #[test]
            fn event_is_as_recorded() {
                check(
                    "event",
                    &Event {
                        pod: None,
                        severity: Severity::Warning,
                        reason: text("StaleGeneration"),
                        message: text("refused generation 2"),
                        at_ms: 1,
                    },
                );
            }

            #[test]
            fn every_outcome_of_a_reply_is_as_recorded() {
                let outcomes = [
                    ("reply-data", Outcome::Data(bytes(b"a line\n"))),
                    ("reply-done", Outcome::Done),
                    (
                        "reply-failed",
                        Outcome::Failed { reason: text("NotFound"), message: text("gone") },
                    ),
                ];
                for (name, outcome) in outcomes {
                    check(name, &Reply { command: 9, part: 1, outcome });
                }
            }

            #[test]
            fn head_want_and_part_are_as_recorded() {
                check("head", &Head { assignment: assignment_id(), length: 70_000 });
                let also = List::default();
                check("want", &Want { hash: hash(0x22), offset: 16_384, also });
                let (hash, offset) = (hash(0x22), 16_384);
                check("part", &Part { hash, length: 70_000, offset, bytes: bytes(b"part") });
            }

            #[test]
            fn the_small_messages_are_as_recorded() {
                check("gone", &Gone { agent: AgentId([1; 16]), boot: BootId([2; 16]) });
            }

            #[test]
            fn what_is_bound_to_a_time_is_as_recorded() {
                let (lineage, unix_ms) = (assignment_id().lineage, 1_767_225_600_000);
                check("time", &Time { lineage, unix_ms });
                check("report", &Report { lineage, unix_ms, spread_ms: 2000 });
            }

            #[test]
            fn every_action_of_a_command_is_as_recorded() {
                let logs = Action::Logs {
                    pod: PodId([0xa1; 16]),
                    container: text("main"),
                    follow: true,
                    tail: Some(10),
                    previous: false,
                    timestamps: true,
                };
                let lineage = assignment_id().lineage;
                check("command-logs", &Command { lineage, id: 1, action: logs });
                let cancel = Action::Cancel { command: 1 };
                check("command-cancel", &Command { lineage, id: 2, action: cancel });
                check("command-report", &Command { lineage, id: 3, action: Action::Report });
                let keys = list(vec![signer::public(0x5b), signer::public(SEED)]);
                check("command-keys", &Command { lineage, id: 4, action: Action::Keys { keys } });
                let grace = Action::Grace { pod: PodId([7; 16]), grace_ms: 1000 };
                check("command-grace", &Command { lineage, id: 5, action: grace });
            }

            fn container(artefacts: Artefacts) -> Container {
                Container {
                    name: text("main"),
                    reference: text("hello:1"),
                    artefacts,
                    command: list(vec![text("/bin/hello")]),
                    args: list(vec![text("-v")]),
                    working_dir: text("/"),
                    env: list(vec![
                        Variable { name: text("NAME"), value: Value::Text(text("x")) },
                        Variable {
                            name: text("TOKEN"),
                            value: Value::Secret { secret: 0, key: text("token") },
                        },
                        Variable { name: text("GONE"), value: Value::Unavailable(text("no key")) },
                        Variable {
                            name: text("CPUS"),
                            value: Value::Fact(Fact::Allocatable {
                                resource: FactResource::Cpu,
                                divisor: 1000,
                            }),
                        },
                    ]),
                    ports: list(vec![Port { number: 8080, protocol: Protocol::Udp }]),
                    resources: Resources {
                        cpu_request_milli: 100,
                        cpu_limit_milli: 200,
                        memory_request_bytes: 1 << 20,
                        memory_limit_bytes: 2 << 20,
                    },
                    mounts: list(vec![Mount {
                        volume: text("data"),
                        path: text("/data"),
                        sub_path: text(""),
                        expand: false,
                        read_only: true,
                        propagation: MountPropagation::HostToContainer,
                    }]),
                    security: ContainerSecurity {
                        read_only_root: true,
                        user: Some(1000),
                        group: Some(0),
                        non_root: true,
                        no_new_privileges: true,
                        added_capabilities: 1 << 10,
                        dropped_capabilities: firmware_compat::capabilities::ALL,
                        ..ContainerSecurity::default()
                    },
                    supervision: Supervision::default(),
                }
            }

            fn pod(runtime_class: RuntimeClass, artefacts: Artefacts, source: VolumeSource) -> Pod {
                Pod {
                    id: PodId([0xa1; 16]),
                    identity: hash(0xb2),
                    namespace: text("default"),
                    name: text("web-1"),
                    hostname: text("web-1"),
                    names: PodNames { domain: text("web.example"), ..PodNames::default() },
                    runtime_class,
                    init_containers: List::default(),
                    containers: list(vec![container(artefacts)]),
                    volumes: list(vec![Volume { name: text("data"), source }]),
                    secrets: list(vec![Secret { name: text("db"), data: hash(0x17) }]),
                    restart: RestartPolicy::OnFailure,
                    grace_ms: 30_000,
                    active_deadline_s: 600,
                    host_network: true,
                    security: PodSecurity {
                        host_pid: true,
                        fs_group: Some(2000),
                        ..PodSecurity::default()
                    },
                    after: list(vec![PodId([0xc3; 16])]),
                }
            }

            #[test]
            fn pods_of_every_runtime_class_and_volume_are_as_recorded() {
                let blob = Blob { digest: hash(0xd4), size: 1234 };
                let layer = Layer { blob, packing: Packing::TarGzip };
                let image = Artefacts::Image { config: blob, layers: list(vec![layer]) };
                let wasm = Artefacts::Wasm { module: hash(0xe5), compiled: blob };
                let firmware = Artefacts::Firmware { image: blob };
                let empty = VolumeSource::EmptyDir { memory: true, size_limit_bytes: 65_536 };
                let host =
                    VolumeSource::HostPath { path: text("/etc"), kind: HostPathKind::Directory };
                let file = File { path: text("text"), mode: 0o644, data: bytes(b"one") };
                let data = ConfigData { files: list(vec![file]) };
                check_body("config-data", &data);
                let encapsulated_key = [0x28; 32];
                let content = bytes(b"sealed");
                check_body("sealed", &Sealed { encapsulated_key, content });
                let config = VolumeSource::ConfigMap { data: hash(0xf6) };
                let secret = VolumeSource::Secret { secret: 0 };
                let projected = VolumeSource::Projected {
                    sources: list(vec![
                        ProjectedSource::Files { data: hash(0xf6) },
                        ProjectedSource::Fact { path: text("ip"), mode: 0o444, fact: Fact::HostIp },
                    ]),
                };
                let claim = VolumeSource::Claim(Claim {
                    id: ClaimId([0xd7; 16]),
                    name: text("readings"),
                    bound_to: AgentId([0xe8; 16]),
                    size_bytes: 1 << 26,
                    read_only: true,
                });
                let cases = [
                    ("pod-projected", RuntimeClass::Firmware, firmware.clone(), projected),
                    ("pod-claim", RuntimeClass::Firmware, firmware.clone(), claim),
                    ("pod-image", RuntimeClass::Container, image, empty),
                    ("pod-wasm", RuntimeClass::Wasm, wasm, host),
                    ("pod-firmware", RuntimeClass::Firmware, firmware.clone(), config),
                    ("pod-secret", RuntimeClass::Firmware, firmware, secret),
                ];
                for (name, class, artefacts, source) in cases {
                    check_body(name, &pod(class, artefacts, source));
                }
            }

            #[test]
            fn an_assignment_is_as_recorded() {
                let pods = [0xa1, 0xa2].map(hash);
                check_body(
                    "assignment",
                    &Assignment { pods: list(pods.to_vec()), removed_claims: list(vec![]) },
                );
            }

            /// Variants are numbers on the wire: appended, never reordered.
            #[test]
            fn every_variant_keeps_its_number() {
                let phases = [
                    Phase::Waiting,
                    Phase::Fetching,
                    Phase::Starting,
                    Phase::Running,
                    Phase::Backoff,
                    Phase::Stopping,
                    Phase::Succeeded,
                    Phase::Failed,
                ];
                numbered(&phases);
                numbered(&[RuntimeClass::Container, RuntimeClass::Wasm, RuntimeClass::Firmware]);
                numbered(&[RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never]);
                numbered(&[Packing::Tar, Packing::TarGzip, Packing::TarZstd]);
                numbered(&[Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
                numbered(&[Severity::Normal, Severity::Warning]);
                numbered(&[Purpose::Startup, Purpose::Liveness, Purpose::Readiness]);
                numbered(&[Moment::PostStart, Moment::PreStop]);
                numbered(&[
                    HostPathKind::Any,
                    HostPathKind::DirectoryOrCreate,
                    HostPathKind::Directory,
                    HostPathKind::FileOrCreate,
                    HostPathKind::File,
                    HostPathKind::Socket,
                    HostPathKind::CharDevice,
                    HostPathKind::BlockDevice,
                ]);
            }
        }
    };
}

samples!(owned, |content: &[u8]| {
    firmware_compat::v1::owned::Bytes::try_from(content.to_vec()).expect("in bounds")
});
samples!(fixed, |content: &[u8]| {
    firmware_compat::v1::fixed::Bytes::from_slice(content).expect("in bounds")
});

/// Only boards watch over containers: the fixed form has no room for it.
#[test]
fn supervision_of_every_kind_is_as_recorded() {
    use firmware_compat::v1::owned::{Handler, Header, Hook, Moment, Probe, Purpose, Supervision};
    fn text<const N: usize>(text: &str) -> firmware_compat::v1::owned::Text<N> {
        text.try_into().expect("in bounds")
    }
    let probe = |purpose, action| Probe {
        purpose,
        action,
        initial_delay_s: 1,
        period_s: 10,
        timeout_s: 2,
        success_threshold: 1,
        failure_threshold: 300,
        grace_ms: 5000,
    };
    let exec =
        Handler::Exec { command: vec![text("/bin/up"), text("-v")].try_into().expect("few") };
    let header = Header { name: text("X-Probe"), value: text("yes") };
    let get = Handler::HttpGet {
        host: text(""),
        port: 8080,
        path: text("/healthz"),
        tls: true,
        headers: vec![header].try_into().expect("one"),
    };
    let grpc = Handler::Grpc { port: 50_051, service: text("web") };
    let connect = Handler::TcpSocket { host: text("127.0.0.1"), port: 80 };
    let sleep = Handler::Sleep { seconds: 5 };
    let probes = vec![
        probe(Purpose::Startup, exec),
        probe(Purpose::Liveness, get),
        probe(Purpose::Readiness, grpc),
    ];
    let hooks = vec![
        Hook { moment: Moment::PostStart, action: connect },
        Hook { moment: Moment::PreStop, action: sleep },
    ];
    let supervision = Supervision {
        probes: probes.try_into().expect("few"),
        hooks: hooks.try_into().expect("few"),
        sidecar: true,
        message_path: text("/tmp/last"),
        message_from_log: true,
    };
    check_body("supervision", &supervision);
}

fn numbered<T: serde::Serialize>(variants: &[T]) {
    for (number, variant) in variants.iter().enumerate() {
        let mut buffer = [0; 8];
        let bytes = postcard::to_slice(variant, &mut buffer).expect("one byte");
        assert_eq!(bytes, [u8::try_from(number).expect("few variants")]);
    }
}

/// An assignment and its parts travel in chunks, without a frame of their own.
fn check_body<T>(name: &str, value: &T)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + core::fmt::Debug,
{
    let mut buffer = vec![0; 4096];
    let bytes = postcard::to_slice(value, &mut buffer).expect("it fits").to_vec();
    as_recorded(name, &bytes);
    let read: T = frame::decode_body(&bytes).expect("it reads back");
    assert_eq!(&read, value, "{name}");
}
