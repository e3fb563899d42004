//! Random histories. With an honest shell, whatever happens and in whatever order: nothing is started twice or
//! unsaved, artefacts are there when they are needed, everything that does not run has a reason, and once faults stop
//! the device does what the hub wants and then is quiet. With a dishonest one: no panic, and bounds hold.

#![expect(clippy::unwrap_used, reason = "tests")]

mod chaos;
mod world;

use chaos::{Chaos, Op, op};
use firmware_compat::{frame, id::Generation, v1::owned::*};
use lichen_agent_core::{ContainerId, Event, Up};
use proptest::prelude::*;
use world::{
    exit, failure,
    hub::{LINEAGE, UP, known_by, say},
    names::*,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn safe_at_every_step_and_where_the_hub_wants_it_in_the_end(
        seed in any::<u64>(),
        ops in proptest::collection::vec(op(), 0..150),
    ) {
        let mut chaos = Chaos::new(seed);
        for op in ops {
            chaos.carry_out(op);
        }
        chaos.recover();
        chaos.assert_converged();
        chaos.assert_quiet();
    }

    #[test]
    fn wrong_answers_and_hostile_messages_do_no_more_than_nothing(
        seed in any::<u64>(),
        steps in proptest::collection::vec((op(), rogue()), 0..100),
    ) {
        let mut chaos = Chaos::new(seed);
        chaos.is_honest = false;
        for (op, event) in steps {
            chaos.carry_out(op);
            chaos.feed(event);
            chaos.carry_out(Op::Wait(700));
        }
    }
}

fn name() -> impl Strategy<Value = firmware_compat::id::PodId> {
    proptest::sample::select(vec!["a", "b", "c", "d", "e"]).prop_map(id_of)
}

/// A container that the Pod has, or not.
fn of() -> impl Strategy<Value = (firmware_compat::id::PodId, ContainerId)> {
    let id = prop_oneof![
        3 => Just(ContainerId::Main(0)),
        1 => any::<u8>().prop_map(ContainerId::Main),
        1 => (0..3u8).prop_map(ContainerId::Init),
    ];
    (name(), id)
}

/// Bytes of a stranger: any, or with the header of a frame.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    let framed = (any::<u8>(), bytes()).prop_map(|(kind, body)| {
        let header = [frame::VERSION, kind % 24, 0, 0, 0, 0, 1, 0, 0, 0];
        [&header[..], &body].concat()
    });
    prop_oneof![bytes(), framed]
}

fn rogue() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(UP),
        Just(Event::LinkDown),
        Just(Event::TakenOver),
        Just(Event::NameFree),
        Just(Event::AdoptLineage),
        Just(Event::Found(lichen_agent_core::event::Found::default())),
        (0..20u64).prop_map(|n| Event::Saved { generation: Generation(n) }),
        (0..20u64).prop_map(|n| Event::SaveFailed {
            generation: Generation(n),
            failure: failure("", &"x".repeat(2000))
        }),
        name().prop_map(|pod| Event::SandboxReady { pod }),
        name().prop_map(|pod| Event::SandboxFailed { pod, failure: failure("", "no") }),
        of().prop_map(|(pod, container)| Event::Prepared { pod, container }),
        of().prop_map(|(pod, container)| Event::PrepareFailed {
            pod,
            container,
            failure: failure("", &"y".repeat(2000)),
            missing: vec![hash_of("layer-1")],
        }),
        of().prop_map(|(pod, container)| Event::Started { pod, container, pid: 1, started_ms: 1 }),
        of().prop_map(|(pod, container)| Event::StartFailed {
            pod,
            container,
            failure: failure("", "no")
        }),
        (of(), any::<i32>()).prop_map(|((pod, container), code)| Event::Exited {
            pod,
            container,
            exit: exit(code, "")
        }),
        name().prop_map(|pod| Event::FilesUpdated { pod }),
        name().prop_map(|pod| Event::FilesUpdateFailed { pod, failure: failure("", "") }),
        of().prop_map(|(pod, container)| Event::ContainerCleaned { pod, container }),
        of().prop_map(|(pod, container)| Event::ContainerCleanFailed {
            pod,
            container,
            failure: failure("", "")
        }),
        name().prop_map(|pod| Event::SandboxRemoved { pod }),
        name().prop_map(|pod| Event::SandboxRemoveFailed { pod, failure: failure("", "") }),
        any::<[u8; 32]>()
            .prop_map(|digest| Event::Fetched { digest: firmware_compat::id::Hash(digest) }),
        (0..50u64).prop_map(|command| Event::CommandEnded { command }),
        (0..50u64, name()).prop_map(|(id, pod)| {
            let container = Text::default();
            let action = Action::Logs {
                pod,
                container,
                follow: true,
                tail: None,
                previous: false,
                timestamps: true,
            };
            say(&Command { lineage: LINEAGE, id, action })
        }),
        (any::<u32>(), any::<u64>()).prop_map(|(spread_ms, unix_ms)| say(&Report {
            lineage: LINEAGE,
            unix_ms,
            spread_ms
        })),
        any::<u64>().prop_map(|unix_ms| say(&Time { lineage: LINEAGE, unix_ms })),
        (0..50u64).prop_map(|id| {
            let keys = known_by(&[2, 1]).keys.iter().copied().collect::<Vec<_>>();
            let action = Action::Keys { keys: keys.try_into().unwrap() };
            say(&Command { lineage: LINEAGE, id, action })
        }),
        (0..50u64).prop_map(|id| say(&Command { lineage: LINEAGE, id, action: Action::Report })),
        Just(Event::HubPinned(known_by(&[2, 1]))),
        Just(Event::PinFailed { message: "no".into() }),
        (any::<bool>(), frame()).prop_map(|(to_all, frame)| Event::Heard { to_all, frame }),
        any::<u64>().prop_map(|unix_ms| Event::Clock { unix_ms }),
        (0..3u8, 0..30u64, any::<u32>()).prop_map(|(lineage, generation, length)| {
            let assignment = AssignmentId {
                lineage: firmware_compat::id::Lineage([lineage; 16]),
                generation: Generation(generation),
                hash: hash_of("hostile"),
            };
            say(&Head { assignment, length })
        }),
        (any::<u32>(), proptest::collection::vec(any::<u8>(), 0..64)).prop_map(
            |(offset, bytes)| {
                let (hash, bytes) = (hash_of("hostile"), bytes.try_into().unwrap());
                say(&Part { hash, length: 64, offset, bytes })
            }
        ),
        Just(Event::SendFailed(Up::Want(Want {
            hash: hash_of("hostile"),
            offset: 0,
            also: List::default()
        }))),
    ]
}
