//! Scenarios: text files under `tests/scenarios`. Lines that start with `$` are what happens; the lines below each are
//! what the agent then did. `RECORD=1 cargo test -p lichen-agent-core --test scenarios` writes the answers anew.

#![expect(clippy::unwrap_used, reason = "tests")]

mod world;

use std::{fs, path::PathBuf};

use firmware_compat::{frame, id::Hash, v1::owned::*};
use lichen_agent_core::{
    Event, Up,
    event::{FoundState, Measured, PodUse, Room, VolumeUse},
};
use world::{
    World, exit,
    hub::{self, LINEAGE, UP},
    names::*,
    runtime,
};

fn check(name: &str) {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/scenarios/{name}.txt"));
    let recorded = fs::read_to_string(&path).unwrap();
    let played = play(&recorded);
    if std::env::var_os("RECORD").is_some() {
        fs::write(&path, &played).unwrap();
    } else {
        assert_eq!(played, recorded, "{name} went differently; compare, then record with RECORD=1");
    }
}

fn play(script: &str) -> String {
    let mut world = World::new();
    let mut text = String::new();
    for line in script.lines() {
        if let Some(step) = line.strip_prefix("$ ") {
            carry_out(step, &mut world);
            text += &format!("{line}\n");
            world.trace.drain(..).for_each(|line| text += &format!("    {line}\n"));
        } else if line.starts_with('#') || line.is_empty() {
            text += &format!("{line}\n");
        }
    }
    text
}

fn carry_out(step: &str, world: &mut World) {
    let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
    match (verb, rest) {
        ("start", "agent") => world.start_agent(),
        ("kill", "agent") => world.agent = None,
        ("power", "off") => world.power_off(),
        ("lose", "disk") => world.disk.clear(),
        // The file of the newest assignment rots; the one before it is there.
        ("rot", "assignment") => {
            world.disk.remove(0);
            world.newest_lost = true;
            world.damage.push("assignment: it is cut short or not an assignment".into());
        }
        // The files of the newest assignment's Pod rot, in the only copy that there is.
        ("rot", "pod") => {
            let mut saved = world.disk.remove(0);
            let mut parts = saved.parts.into_iter();
            parts.next();
            saved.parts = parts.collect();
            world.disk = vec![saved];
        }
        // The record of a Pod's directory rots.
        ("rot", name) => world.runs.get_mut(&id_of(name)).unwrap().legible = false,
        ("link", "up") => {
            world.link_up = true;
            world.feed(UP);
        }
        // With this number.
        ("link", number) if number != "down" => {
            world.link_up = true;
            world.feed(Event::LinkUp { session: number.parse().unwrap() });
        }
        ("link", "down") => {
            world.link_up = false;
            world.feed(Event::LinkDown);
        }
        ("taken", "over") => world.feed(Event::TakenOver),
        ("name", "free") => world.feed(Event::NameFree),
        ("adopt", "lineage") => world.feed(Event::AdoptLineage),
        ("lineage", number) => world.lineage.0 = [number.parse().unwrap(); 16],
        // The hub writes an assignment, and says nothing yet.
        ("write", rest) => {
            let (generation, pods) = rest.split_once(':').unwrap();
            let pods = pods.split(';').filter(|i| !i.trim().is_empty()).map(pod).collect();
            world.assign(generation.parse().unwrap(), pods);
        }
        ("write-raw", rest) => {
            let (generation, bytes) = rest.split_once(' ').unwrap();
            world.write(generation.parse().unwrap(), bytes.as_bytes().to_vec());
        }
        ("head", generation) => {
            let (head, _) = world.hub[&generation.parse().unwrap()].clone();
            world.hear(&head);
        }
        // `body GENERATION [chunk numbers]`
        ("body", rest) => {
            let mut numbers = rest.split_whitespace().map(|n| n.parse::<u64>().unwrap());
            let (head, body) = world.hub[&numbers.next().unwrap()].clone();
            let chunks: Vec<Part> = world::chunks(&head, &body).collect();
            let mut chosen: Vec<usize> = numbers.map(|n| usize::try_from(n).unwrap()).collect();
            if chosen.is_empty() {
                chosen = (0..chunks.len()).collect();
            }
            for number in chosen {
                world.hear(&chunks[number]);
            }
        }
        // `part POD GENERATION [chunk numbers]`: of what that generation says of the Pod.
        ("part", rest) => {
            let mut words = rest.split_whitespace();
            let (id, generation) = (id_of(words.next().unwrap()), words.next().unwrap());
            let (_, body) = &world.hub[&generation.parse().unwrap()];
            let assignment: Assignment = firmware_compat::frame::decode_body(body).unwrap();
            let is_of = |hash: &&Hash| {
                let pod: Pod = firmware_compat::frame::decode_body(&world.parts[*hash]).unwrap();
                pod.id == id
            };
            let of = *assignment.pods.iter().find(is_of).unwrap();
            let chunks: Vec<Part> = world::chunks_of(of, &world.parts[&of]).collect();
            for number in words.map(|n| n.parse::<usize>().unwrap()) {
                world.hear(&chunks[number]);
            }
        }
        // Write, head and body at once.
        ("apply", rest) => {
            carry_out(&format!("write {rest}"), world);
            let generation = rest.split_once(':').unwrap().0;
            carry_out(&format!("head {generation}"), world);
            carry_out(&format!("body {generation}"), world);
        }
        ("exit", rest) => {
            let (name, code) = rest.split_once(' ').unwrap();
            let reason = if code == "0" { "Completed" } else { "Error" };
            let (pod, container) = container_of(name);
            let event = world.end(pod, container, exit(code.parse().unwrap(), reason));
            world.feed(event);
        }
        // It ends while no agent watches.
        ("unseen-exit", rest) => {
            let (name, code) = rest.split_once(' ').unwrap();
            let (pod, container) = container_of(name);
            let _ = world.end(pod, container, exit(code.parse().unwrap(), "Error"));
        }
        // Its shim is killed while no agent watches.
        ("lose", name) => {
            let (pod, container) = container_of(name);
            let run = world.runs.get_mut(&pod).unwrap();
            run.containers.get_mut(&container).unwrap().state = FoundState::Lost;
        }
        ("after", time) => after(time, world),
        ("fail", step) => _ = world.failing.insert(step.into()),
        // `ill web Liveness`, and what it is asked for from then on.
        ("ill", what) => _ = world.ill.insert(what.into()),
        ("well", what) => _ = world.ill.remove(what),
        // `hooked POD[/CONTAINER] poststart|prestop [failed]`
        ("hooked", rest) => {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let (pod, container) = container_of(words[0]);
            let moment = match words[1] {
                "poststart" => Moment::PostStart,
                _ => Moment::PreStop,
            };
            let attempt = world.runs[&pod].containers[&container].attempt;
            let failure = words.get(2).map(|_| "ended with code 1".to_string());
            world.feed(Event::HookEnded { pod, container, attempt, moment, failure });
        }
        // The wall clock is set, this many years on or back.
        ("clock", years) => {
            let years: i64 = years.parse().unwrap();
            let unix_ms = world.unix_ms().saturating_add_signed(years * 365 * 86_400_000);
            world.feed(Event::Clock { unix_ms });
        }
        ("mend", step) => _ = world.failing.remove(step),
        ("slow", step) => _ = world.slow.insert(step.into()),
        ("fast", step) => _ = world.slow.remove(step),
        ("hub", "silent") => world.hub_serves = false,
        ("hub", "serves") => world.hub_serves = true,
        ("sandbox", name) => {
            world.runs.get_mut(&id_of(name)).unwrap().sandbox = true;
            world.feed(Event::SandboxReady { pod: id_of(name) });
        }
        ("prepared", name) => {
            let (pod, container) = container_of(name);
            world.feed(Event::Prepared { pod, container });
        }
        ("fetched", name) => {
            let digest = hash_of(name);
            world.store.insert(digest);
            world.feed(Event::Fetched { digest });
        }
        ("runtime", rest) => {
            let usable = rest == "crun usable";
            world.runtimes = vec![runtime(RuntimeClass::Container, "crun", usable)];
            let runtimes = world.runtimes.clone();
            if world.agent.is_some() {
                world.feed(Event::Runtimes { runtimes, wasm: None });
            }
        }
        ("report", spread) => {
            let report = world.report(spread.parse().unwrap());
            world.feed(report);
        }
        // `time HOURS`: since the beginning of the tests.
        ("time", hours) => {
            world.hub_ms = world::EPOCH_MS + hours.parse::<u64>().unwrap() * 3_600_000;
            world.hear(&Time { lineage: LINEAGE, unix_ms: world.hub_ms });
        }
        // The hub hands over keys: `keys COMMAND NUMBERS`.
        ("keys", rest) => {
            let (id, numbers) = rest.split_once(' ').unwrap();
            let keys: Vec<_> = numbers.split(' ').map(|n| hub::key(n.parse().unwrap())).collect();
            let action = Action::Keys { keys: keys.try_into().unwrap() };
            world.hear(&Command { lineage: LINEAGE, id: id.parse().unwrap(), action });
        }
        // A Pod's containers get so long to end: `grace COMMAND POD SECONDS`.
        ("grace", rest) => {
            let words: Vec<_> = rest.split(' ').collect();
            let (pod, seconds) = (id_of(words[1]), words[2].parse::<u32>().unwrap());
            let action = Action::Grace { pod, grace_ms: seconds * 1000 };
            let id = words[0].parse().unwrap();
            world.hear(&Command { lineage: LINEAGE, id, action });
        }
        // The hub, which knows the connection, asks for a report.
        ("ask", id) => {
            let (id, action) = (id.parse().unwrap(), Action::Report);
            world.hear(&Command { lineage: LINEAGE, id, action });
        }
        // What is said from now on is signed with this key, for this device, for this connection.
        ("signed-with", number) => world.voice.key = number.parse().unwrap(),
        ("signed-for", "another") => world.voice.to = "another",
        ("signed-for", _) => world.voice.to = hub::NAME,
        ("for-connection", number) => world.voice.session = number.parse().unwrap(),
        // The device knows nobody, and is told whom to believe.
        ("forget", "hub") => world.pinned = None,
        ("pin", numbers) => {
            let numbers: Vec<u8> = numbers.split(' ').map(|n| n.parse().unwrap()).collect();
            let hub = hub::known_by(&numbers);
            world.pinned = Some(hub);
            world.feed(Event::HubPinned(hub));
        }
        // `measure MIB [POD BYTES]...`: so much of a disk of 8 GiB is left, and so much is in the Pods' emptyDirs.
        ("measure", rest) => {
            let mut words = rest.split_whitespace();
            let plenty = Room { free: 1 << 40, total: 1 << 40 };
            let free = words.next().unwrap().parse::<u64>().unwrap() << 20;
            let mut measured = Measured {
                memory: plenty,
                disk: Room { free, total: 8 << 30 },
                inodes: plenty,
                pids: plenty,
                ..Measured::default()
            };
            let asked = world.agent.as_ref().unwrap().to_measure();
            let words: Vec<_> = words.collect();
            for used in words.chunks(2) {
                let (pod, bytes) = (id_of(used[0]), used[1].parse().unwrap());
                let of = asked.iter().find(|asked| asked.pod == pod).expect("it is asked for");
                let volumes = of.volumes.iter().cloned();
                measured.volumes.extend(volumes.map(|volume| VolumeUse { pod, volume, bytes }));
                let (memory_bytes, memory_request_bytes) = (0, of.memory_request_bytes);
                let disk_bytes = bytes;
                measured.pods.push(PodUse { pod, memory_bytes, memory_request_bytes, disk_bytes });
            }
            world.feed(Event::Measured(measured));
        }
        // What was said last comes again, as it is.
        ("repeat", _) => world.feed(world.said.clone().unwrap()),
        ("garbage", _) => {
            let frame = vec![frame::VERSION, 99, 0, 0, 0, 0, 0, 0, 0, 0];
            world.feed(Event::Heard { to_all: false, frame });
        }
        ("unsent", "status") => {
            let status = Status {
                assignment: None,
                full: false,
                more: false,
                pods: List::default(),
                removed: List::default(),
            };
            world.feed(Event::SendFailed(Up::Status(status)));
        }
        // `logs COMMAND POD[/CONTAINER] [follow]`
        ("logs", rest) => {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let (pod, container) = words[1].split_once('/').unwrap_or((words[1], ""));
            let action = Action::Logs {
                pod: id_of(pod),
                container: Text::cut(container),
                follow: words.get(2) == Some(&"follow"),
                tail: None,
                previous: false,
                timestamps: false,
            };
            let id = words[0].parse().unwrap();
            world.hear(&Command { lineage: LINEAGE, id, action });
        }
        ("cancel", rest) => {
            let (id, earlier) = rest.split_once(' ').unwrap();
            let action = Action::Cancel { command: earlier.parse().unwrap() };
            let id = id.parse().unwrap();
            world.hear(&Command { lineage: LINEAGE, id, action });
        }
        ("version", version) => {
            let frame = vec![version.parse().unwrap(), 16, 0, 0, 0, 0, 0, 0, 0, 0];
            world.feed(Event::Heard { to_all: false, frame });
        }
        ("shutdown", rest) => world.feed(Event::Shutdown { drain: rest == "drain" }),
        _ => panic!("unknown step: {step}"),
    }
}

/// Lets time pass and writes down when something happens: `10s`, `300ms`, `2h`.
fn after(time: &str, world: &mut World) {
    let digits = time.find(|c: char| !c.is_ascii_digit()).unwrap();
    let number: u64 = time[..digits].parse().unwrap();
    let unit = match &time[digits..] {
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        other => panic!("unknown unit {other}"),
    };
    let (begin, end) = (world.now.0, world.now.0 + number * unit);
    while let Some((at, why)) = world.agent.as_ref().and_then(|agent| agent.poll_timeout()) {
        if at.0 > end {
            break;
        }
        let before = world.trace.len();
        world.advance(at.0.saturating_sub(world.now.0));
        if world.trace.len() > before {
            let passed = world.now.0 - begin;
            world.trace.insert(before, format!("-- after {passed} ms: {why:?}"));
        }
    }
    world.advance(end - world.now.0);
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { check(stringify!($name)); })*

        #[test]
        fn every_file_is_played() {
            let known = [$(stringify!($name)),*];
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
            for entry in fs::read_dir(folder).unwrap() {
                let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
                assert!(known.contains(&name.as_str()), "{name} is not in the list of scenarios");
            }
        }
    };
}

scenarios! {
    a_first_deployment_runs_and_an_update_and_a_deletion_follow,
    a_crash_loop_backs_off_and_a_healthy_run_forgives_it,
    a_cold_boot_without_network_starts_everything,
    a_new_agent_adopts_what_runs_and_restarts_nothing,
    an_older_or_foreign_hub_moves_nothing,
    a_hub_of_another_protocol_version_is_told_of,
    lost_reordered_and_repeated_chunks_make_the_body,
    a_body_that_cannot_be_followed_is_refused,
    a_copy_waits_for_the_one_whose_place_it_takes,
    one_of_a_name_waits_for_the_other,
    a_head_whose_body_nobody_has_is_given_up,
    an_assignment_that_cannot_be_saved_is_not_acted_on,
    artefacts_that_cannot_be_fetched_are_tried_again,
    config_files_change_in_place,
    secrets_change_in_place,
    a_taken_name_makes_the_agent_passive,
    a_change_made_while_the_agent_was_away_is_carried_out,
    init_containers_run_one_by_one_before_the_others,
    containers_of_a_pod_are_restarted_each_for_itself,
    jobs_end_and_stay_ended,
    a_deletion_says_how_long_the_end_may_take,
    a_step_that_fails_is_tried_again_with_a_reason,
    commands_are_answered_once,
    what_the_hub_did_not_sign_moves_nothing,
    a_hub_hands_over_its_keys,
    draining_stops_and_leaving_does_not,
    a_silent_hub_costs_little,
    without_an_assignment_nothing_found_is_touched,
    probes_decide_what_is_ready_and_what_is_started_again,
    a_startup_probe_gates_the_others,
    a_new_agent_keeps_what_probes_have_said,
    hooks_run_after_the_start_and_before_the_end,
    sidecars_come_up_first_and_end_last,
    a_pod_that_is_active_for_too_long_has_failed,
    what_cannot_be_read_deletes_nothing,
    a_pod_that_fills_the_disk_is_evicted,
}
