//! Bounds that a peer could reach: bodies that must be refused, reports that must be split.

#![expect(clippy::unwrap_used, reason = "tests")]

mod world;

use firmware_compat::{capacity, v1::owned::*};
use lichen_agent_core::{ContainerId, Effect, Event};
use world::{
    World, failure,
    hub::{HUB, LINEAGE, UP, Voice, say},
    names::*,
};

/// Applies one Pod, changed, and returns why it was refused.
fn refusal(change: impl FnOnce(&mut Pod)) -> String {
    let mut pod = pod("web=1 files=x");
    change(&mut pod);
    let mut world = World::new();
    world.start_agent();
    world.link_up = true;
    world.feed(UP);
    world.trace.clear();
    apply(&mut world, 1, vec![pod]);
    let refused = world.trace.iter().find_map(|line| line.split_once("AssignmentRefused: "));
    refused.map_or_else(|| format!("not refused: {:?}", world.trace), |(_, why)| why.to_string())
}

fn apply(world: &mut World, generation: u64, pods: Vec<Pod>) {
    let (_, parts) = encode(&pods);
    let (head, chunks) = world.assign(generation, pods);
    world.feed(say(&head));
    for chunk in chunks {
        world.feed(say(&chunk));
    }
    // Without a link nothing can be asked for; what a Pod refers to counts once that is known.
    let pushed = if world.link_up { None } else { Some(parts.iter().chain(&parts)) };
    for (hash, part) in pushed.into_iter().flatten() {
        for chunk in world::chunks_of(*hash, part) {
            world.feed(say(&chunk));
        }
    }
}

fn check(change: impl FnOnce(&mut Pod), fault: &str) {
    let why = refusal(change);
    assert!(why.ends_with(fault), "expected: {fault}\n     got: {why}");
}

fn change_container(pod: &mut Pod, change: impl FnOnce(&mut Container)) {
    let mut container = pod.containers[0].clone();
    change(&mut container);
    pod.containers = vec![container].try_into().unwrap();
}

fn mount(volume: &str, path: &str, sub_path: &str) -> List<Mount, 32> {
    let mount = Mount {
        volume: Text::cut(volume),
        path: Text::cut(path),
        sub_path: Text::cut(sub_path),
        expand: false,
        read_only: false,
        propagation: MountPropagation::None,
    };
    vec![mount].try_into().unwrap()
}

fn host_path(path: &str) -> List<Volume, 32> {
    let source = VolumeSource::HostPath { path: Text::cut(path), kind: HostPathKind::Any };
    vec![Volume { name: Text::cut("v"), source }].try_into().unwrap()
}

#[test]
fn what_could_not_run_is_refused_by_name() {
    check(|i| i.containers = List::default(), "has no container");
    check(|i| i.runtime_class = RuntimeClass::Wasm, "has artefacts of another runtime class");
    check(
        |i| {
            let one = i.containers[0].clone();
            i.containers = vec![one.clone(), one].try_into().unwrap();
        },
        "has two containers with one name",
    );
    check(
        |i| {
            let one = i.volumes[0].clone();
            i.volumes = vec![one.clone(), one].try_into().unwrap();
        },
        "has two volumes with one name",
    );
    check(
        |i| {
            let image = Blob { digest: hash_of("firmware"), size: 10 };
            let one = container("one", Artefacts::Firmware { image });
            i.runtime_class = RuntimeClass::Firmware;
            i.init_containers = vec![one].try_into().unwrap();
        },
        "has several containers, a firmware slot runs one",
    );
    check(
        |i| i.init_containers = i.containers.clone().into_vec().try_into().unwrap(),
        "has two containers with one name",
    );
    check(
        |i| {
            i.hostname = Text::cut("a\0b");
        },
        "has a zero byte in an argument, variable, name or path",
    );
    check(
        |i| {
            change_container(i, |c| {
                let Artefacts::Image { layers, .. } = &mut c.artefacts else { panic!("an image") };
                *layers = List::default();
            });
        },
        "has an image without layers",
    );
    check(
        |i| {
            change_container(i, |c| {
                let value = Value::Text(Text::default());
                let variable = Variable { name: Text::cut("A=B"), value };
                c.env = vec![variable].try_into().unwrap();
            });
        },
        "has an environment variable whose name is empty or holds `=`",
    );
    check(
        |i| {
            change_container(i, |c| {
                let value = Value::Secret { secret: 0, key: Text::cut("a") };
                c.env = vec![Variable { name: Text::cut("A"), value }].try_into().unwrap();
            });
        },
        "takes something from a Secret that it does not have",
    );
    check(
        |i| {
            let source = VolumeSource::Secret { secret: 1 };
            i.volumes = vec![Volume { name: Text::cut("s"), source }].try_into().unwrap();
        },
        "takes something from a Secret that it does not have",
    );
    check(
        |i| change_container(i, |c| c.args = vec![Text::cut("a\0b")].try_into().unwrap()),
        "has a zero byte in an argument, variable, name or path",
    );
}

#[test]
fn paths_that_would_leave_their_place_are_refused() {
    let unknown = "mounts a volume that it does not have";
    check(|i| change_container(i, |c| c.mounts = mount("other", "/x", "")), unknown);
    let absolute = "has a path that is not absolute or climbs with `..`";
    check(|i| change_container(i, |c| c.mounts = mount("settings", "x", "")), absolute);
    check(|i| change_container(i, |c| c.mounts = mount("settings", "/a/../../x", "")), absolute);
    check(|i| change_container(i, |c| c.working_dir = Text::cut("work")), absolute);
    check(|i| i.volumes = host_path("etc"), absolute);
    let within = "has a path in a volume that is absolute or climbs with `..`";
    check(|i| change_container(i, |c| c.mounts = mount("settings", "/x", "../y")), within);
    let plain = "has a volume, Secret, host or domain whose name is not plain: letters, digits, `-`, `_` and `.`, not first";
    for name in ["../x", "a/b", "", ".", "..", ".hidden", "a b", "\n"] {
        let name = || Text::cut(name);
        let source = VolumeSource::EmptyDir { memory: false, size_limit_bytes: 0 };
        let volumes = || List::try_from(vec![Volume { name: name(), source: source.clone() }]);
        check(|i| i.volumes = volumes().unwrap(), plain);
        check(|i| i.hostname = name(), plain);
    }
    for path in ["../etc/passwd", "/etc/passwd", ""] {
        check(
            |i| {
                let file = File { path: Text::cut(path), mode: 0o644, data: Bytes::default() };
                let source = config_part(vec![file]);
                i.volumes =
                    vec![Volume { name: Text::cut("settings"), source }].try_into().unwrap();
            },
            within,
        );
    }
}

#[test]
fn a_body_longer_than_the_device_takes_is_not_asked_for() {
    let mut world = World::new();
    world.start_agent();
    world.link_up = true;
    world.feed(UP);
    let (mut head, _) = world.assign(1, vec![]);
    let max = capacity::full::BODY_BYTES;
    head.length = max as u32 + 1;
    world.feed(say(&head));
    world.advance(59_000);
    let last = world.trace.last().unwrap();
    let why = format!("it is {} bytes long, this device takes 1 to {max}", max + 1);
    assert!(last.ends_with(&why), "{last}");
    assert!(!world.trace.iter().any(|line| line.contains("want")));
}

#[test]
fn a_chunk_that_lies_about_its_length_keeps_no_part_out() {
    let mut world = World::new();
    world.start_agent();
    world.link_up = true;
    world.feed(UP);
    world.hub_serves = false;
    let (head, body) = world.assign(1, vec![pod("web=1")]);
    let (hash, bytes) = world.parts.first_key_value().map(|(h, b)| (*h, b.clone())).unwrap();
    let part: Vec<Part> = world::chunks_of(hash, &bytes).collect();
    let lie = Part { length: part[0].length + 1, ..part[0].clone() };
    world.feed(say(&head));
    for chunk in body.into_iter().chain([lie]).chain(part) {
        world.feed(say(&chunk));
    }
    assert_eq!(world.disk.len(), 1, "{:?}", world.trace);
}

/// Anybody can send a chunk: the hub's signature says of a part only what its hash is.
#[test]
fn a_chunk_that_claims_an_impossible_length_holds_an_assignment_up_for_an_hour_and_no_longer() {
    let mut world = World::new();
    world.start_agent();
    world.link_up = true;
    world.feed(UP);
    world.hub_serves = false;
    let (head, body) = world.assign(1, vec![pod("web=1")]);
    let hash = *world.parts.first_key_value().unwrap().0;
    let bytes = Bytes::try_from(vec![0; 64]).unwrap();
    world.feed(say(&head));
    body.iter().for_each(|chunk| world.feed(say(chunk)));
    for _ in 0..5 {
        world.feed(say(&Part { hash, length: u32::MAX, offset: 0, bytes: bytes.clone() }));
    }
    let told = |world: &World| world.trace.iter().filter(|l| l.contains("Refused")).count();
    assert_eq!(told(&world), 1, "{:?}", world.trace);
    world.hub_serves = true;
    world.advance(50 * 60_000);
    world.feed(say(&head));
    body.iter().for_each(|chunk| world.feed(say(chunk)));
    assert!(world.disk.is_empty(), "it may be true");
    world.advance(11 * 60_000);
    world.feed(say(&head));
    body.iter().for_each(|chunk| world.feed(say(chunk)));
    assert_eq!((world.disk.len(), told(&world)), (1, 1), "{:?}", world.trace);
}

#[test]
fn a_flood_of_forged_frames_costs_one_event_a_day() {
    let mut world = World::new();
    world.start_agent();
    world.link_up = true;
    world.feed(UP);
    world.advance(3_600_000);
    world.trace.clear();
    let stranger = Voice { key: 9, ..HUB };
    for hour in 0..48 {
        let (head, _) = world.write(100 + hour, vec![0]);
        for _ in 0..100 {
            world.feed(stranger.say(&head));
            world.feed(stranger.say(&Report { lineage: LINEAGE, unix_ms: u64::MAX, spread_ms: 0 }));
        }
        world.advance(3_600_000);
    }
    let told: Vec<&String> = world.trace.iter().filter(|line| line.contains("Forged")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("4800 times since"), "{told:?}");
    // It goes on to say hello to a hub that does not answer, and asks for nothing.
    assert!(world.trace.iter().all(|line| told.contains(&line) || line.contains("hello")));
}

#[test]
fn a_damaged_body_is_asked_for_again_more_and_more_slowly() {
    let mut world = World::new();
    world.start_agent();
    world.link_up = true;
    world.feed(UP);
    let (head, chunks) = world.assign(1, vec![pod("web=1")]);
    world.hub_serves = false;
    world.feed(say(&head));
    let damaged = |chunk: &Part| {
        let bytes = vec![0xff; chunk.bytes.len()].try_into().unwrap();
        say(&Part { bytes, ..chunk.clone() })
    };
    for _ in 0..20 {
        chunks.iter().for_each(|chunk| world.feed(damaged(chunk)));
        world.advance(400_000);
    }
    let wants = world.trace.iter().filter(|line| line.contains("want")).count();
    assert!(wants <= 120, "{wants} wants in two hours");
    world.hub_serves = true;
    chunks.into_iter().for_each(|chunk| world.feed(say(&chunk)));
    assert!(world.agent.unwrap().assignment().is_some());
}

#[test]
fn a_report_of_a_full_device_is_split_so_that_each_part_fits_a_frame() {
    let mut world = World::new();
    world.slow.insert("prepare".into());
    world.start_agent();
    let names: Vec<String> = (100..356).map(|n| format!("i{n}=1")).collect();
    apply(&mut world, 1, names.iter().map(|name| pod(name)).collect());
    for name in &names {
        let pod = id_of(name.split_once('=').unwrap().0);
        let failure = failure("", &"long words ".repeat(100));
        let container = ContainerId::Main(0);
        world.feed(Event::PrepareFailed { pod, container, failure, missing: vec![] });
    }
    world.trace.clear();
    // Each part is encoded by the world, which insists that it fits.
    world.link_up = true;
    world.feed(UP);
    let parts: Vec<&String> = world.trace.iter().filter(|l| l.contains("status")).collect();
    assert!(parts.len() >= 256 / 32, "{} parts", parts.len());
    assert!(parts.iter().all(|part| part.contains("full")));
    let (last, rest) = parts.split_last().unwrap();
    assert!(
        rest.iter().all(|part| part.ends_with("more follows")) && !last.ends_with("more follows")
    );
    let reported: usize = parts.iter().map(|part| part.matches("PrepareFailed").count()).sum();
    assert_eq!(reported, 256);
}

#[test]
fn the_status_of_a_pod_with_as_many_containers_as_may_be_fits_a_frame() {
    let mut world = World::new();
    world.start_agent();
    world.link_up = true;
    world.feed(UP);
    let long = "long words ".repeat(100);
    let names = |list: &str| -> Vec<String> {
        (0..16).map(|n| format!("{list}{n}-{}", "n".repeat(50))).collect()
    };
    let mut big = pod("web=1 restart=onfailure");
    let containers = |names: Vec<String>| -> Vec<Container> {
        names.iter().map(|name| container(name, big.containers[0].artefacts.clone())).collect()
    };
    let (init, main) = (containers(names("init")), containers(names("main")));
    big.init_containers = init.try_into().unwrap();
    big.containers = main.try_into().unwrap();
    apply(&mut world, 1, vec![big.clone()]);
    for id in ContainerId::all(&big).flat_map(|id| [id, id]) {
        let code = i32::from(!id.is_init() || world.is_first_run(&big.id, id));
        let mut exit = world::exit(code, &long);
        exit.message = Text::cut(&long);
        let ended = world.end(big.id, id, exit);
        world.feed(ended);
        world.advance(2000);
    }
    // Each status was encoded by the world, which insists that it fits.
    let last = world.trace.iter().rfind(|line| line.contains("main15")).unwrap();
    assert!(last.contains("init0") && last.contains("long words"), "{last}");
}

#[test]
fn a_full_disk_gives_up_what_only_the_assignment_before_needs() {
    let mut world = World::new();
    world.start_agent();
    apply(&mut world, 1, vec![pod("web=1")]);
    apply(&mut world, 2, vec![pod("web=2")]);
    assert!(world.store.contains(&hash_of("layer-1")), "kept for a way back");
    world.slow.insert("fetch".into());
    apply(&mut world, 3, vec![pod("web=2"), pod("x=3")]);
    // Now generation 2 is the one before; of generation 1 nothing is needed.
    let full = failure("DiskFull", "no space left on device");
    world.feed(Event::FetchFailed { digest: hash_of("config-3"), failure: full });
    assert!(!world.store.contains(&hash_of("layer-1")));
    assert!(world.store.contains(&hash_of("layer-2")));
}

#[test]
fn a_clock_at_1970_starts_everything() {
    let mut world = World::new();
    world.start_agent();
    apply(&mut world, 1, vec![pod("web=1")]);
    world.power_off();
    let (mut agent, found) = world.new_agent(1);
    let now = firmware_compat::time::Instant(5);
    agent.handle(Event::Clock { unix_ms: 0 }, now);
    agent.handle(Event::Found(found), now);
    let effects: Vec<_> = agent.drain().collect();
    assert!(effects.iter().any(|e| matches!(e, Effect::RemoveSandbox { keep_volumes: true, .. })));
    agent.handle(Event::SandboxRemoved { pod: id_of("web") }, now);
    assert!(agent.drain().any(|e| matches!(e, Effect::PrepareSandbox { .. })));
}

#[test]
fn a_spoilt_assignment_on_disk_falls_back_to_the_one_before() {
    let mut world = World::new();
    world.start_agent();
    apply(&mut world, 1, vec![pod("web=1")]);
    apply(&mut world, 2, vec![pod("web=1"), pod("x=1")]);
    world.power_off();
    world.disk[0].body[3] ^= 1;
    world.start_agent();
    assert!(world.is_running(&id_of("web")));
    world.trace.clear();
    world.link_up = true;
    world.feed(UP);
    let told = world
        .trace
        .iter()
        .any(|line| line.contains("SavedAssignmentUnreadable: saved assignment 2"));
    assert!(told, "{:?}", world.trace);
    // The hub has the newer one still, and sees from the Hello that the device does not.
    let said = world.trace.iter().any(|line| line.contains("hello holding 1"));
    assert!(said, "{:?}", world.trace);
    let (head, _) = world.hub[&2].clone();
    world.feed(say(&head));
    world.advance(1000);
    while let Some(event) = world.answers.pop_front() {
        world.feed(event);
    }
    assert!(world.is_running(&id_of("x")));
}

#[test]
fn damage_on_the_disk_is_told_in_one_event_and_what_is_left_with_it() {
    let mut world = World::new();
    world.start_agent();
    apply(&mut world, 1, vec![pod("web=1")]);
    world.power_off();
    world.damage = vec!["assignment: torn".into(), "somewhere: else".into()];
    let told = what_is_told_of_the_disk(&mut world);
    assert_eq!(told, ["assignment: torn; somewhere: else; generation 1 is in force"]);
    world.power_off();
    world.disk.clear();
    let told = what_is_told_of_the_disk(&mut world);
    let rest = "nothing is left, so nothing is started or stopped before the hub assigns anew";
    assert_eq!(told, [format!("assignment: torn; somewhere: else; {rest}")]);
    world.power_off();
    world.damage.clear();
    assert_eq!(what_is_told_of_the_disk(&mut world), [""; 0]);
}

fn what_is_told_of_the_disk(world: &mut World) -> Vec<String> {
    world.start_agent();
    world.trace.clear();
    world.link_up = true;
    world.feed(UP);
    let told = world.trace.iter().filter_map(|line| {
        let (_, message) = line.split_once("Warning device SavedAssignmentUnreadable: ")?;
        Some(message.to_owned())
    });
    told.collect()
}

#[test]
fn a_device_with_nothing_to_tell_says_two_last_words_and_falls_silent() {
    let mut world = World::new();
    world.start_agent();
    world.link_up = true;
    world.feed(UP);
    let (head, chunks) = world.assign(1, vec![pod("web=1")]);
    world.feed(say(&head));
    chunks.into_iter().for_each(|chunk| world.feed(say(&chunk)));
    world.trace.clear();
    world.advance(24 * 3_600_000);
    assert_eq!(world.trace, ["send status of 1"; 2]);
    world.advance(30 * 24 * 3_600_000);
    assert_eq!(world.trace.len(), 2, "a month costs nothing more");
}

/// So many Pods with ten variables each; one of them has this value.
fn fleet(count: u32, changed: u32) -> Vec<Pod> {
    let of = |n: u32| {
        let mut pod = pod(&format!("pod-{n:03}=1 image=web"));
        let variable = |i: u32| Variable {
            name: Text::cut(&format!("VARIABLE_{i}")),
            value: Value::Text(Text::cut(&format!(
                "{}",
                if (n, i) == (7, 0) { changed } else { i }
            ))),
        };
        let env: Vec<Variable> = (0..10).map(variable).collect();
        pod.identity = hash_of(&format!("{n} {}", if n == 7 { changed } else { 0 }));
        change_container(&mut pod, |container| container.env = env.try_into().unwrap());
        pod
    };
    (0..count).map(of).collect()
}

#[test]
fn one_changed_variable_on_a_device_with_100_pods_moves_less_than_6_kib() {
    // What MQTT and TCP put around a frame: topic, packet id, headers of both layers, and an acknowledgement.
    const AROUND: usize = 150;
    let mut world = World::new();
    world.start_agent();
    world.link_up = true;
    world.feed(UP);
    apply(&mut world, 1, fleet(100, 0));
    assert_eq!(world.runs.values().filter(|run| run.is_running()).count(), 100);
    world.advance(3_600_000);
    world.wire_bytes = 0;
    world.trace.clear();
    let (head, chunks) = world.assign(2, fleet(100, 1));
    let stamp = firmware_compat::frame::Stamp::default();
    let mut bytes = firmware_compat::frame::encode(&head, stamp).unwrap().len();
    // The hub sends a body in one chunk.
    let body = Part {
        offset: 0,
        bytes: chunks.iter().flat_map(|c| c.bytes.to_vec()).collect::<Vec<_>>().try_into().unwrap(),
        ..chunks[0].clone()
    };
    bytes += firmware_compat::frame::encode(&body, stamp).unwrap().len();
    world.feed(say(&head));
    world.feed(say(&body));
    assert!(world.agent.as_ref().unwrap().assignment().unwrap().generation.0 == 2);
    let wants: Vec<&String> = world.trace.iter().filter(|line| line.contains("want")).collect();
    assert_eq!(wants, ["send want from byte 0"], "one part is new");
    // Head, body and part are the hub's; want, statuses and events, as the Pod is started anew, are the device's.
    let sent = world.trace.iter().filter(|line| line.starts_with("send")).count();
    bytes += world.wire_bytes + (3 + sent) * AROUND;
    println!("{bytes} bytes in {} frames", 3 + sent);
    assert!(bytes <= 6 * 1024, "{bytes} bytes");
}

#[test]
fn a_config_map_that_many_pods_mount_travels_once() {
    let mut world = World::new();
    world.start_agent();
    world.link_up = true;
    world.feed(UP);
    let text = "x".repeat(50_000);
    let pods = |version: &str| -> Vec<Pod> {
        (0..50).map(|n| pod(&format!("pod-{n:02}=1 image=web files={text}{version}"))).collect()
    };
    apply(&mut world, 1, pods("1"));
    assert!(world.wire_bytes < 100_000, "{} bytes", world.wire_bytes);
    world.wire_bytes = 0;
    world.trace.clear();
    apply(&mut world, 2, pods("2"));
    assert!(world.wire_bytes < 100_000, "{} bytes", world.wire_bytes);
    let updated = world.trace.iter().filter(|line| line.starts_with("update files")).count();
    assert_eq!(updated, 50);
}

#[test]
fn parts_beyond_the_bound_of_the_device_are_refused_and_hold_no_memory() {
    let mut world = World::new();
    world.start_agent();
    world.link_up = true;
    world.feed(UP);
    let text = "x".repeat(600_000);
    let pods = (0..2).map(|n| pod(&format!("pod-{n}=1 files={n}{text}"))).collect();
    apply(&mut world, 1, pods);
    let refused = world.trace.iter().any(|line| line.contains("AssignmentRefused"));
    assert!(refused, "{:?}", world.trace);
    assert!(world.agent.unwrap().assignment().is_none());
}
