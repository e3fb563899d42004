//! Lives of a hub. The steps are those of the target's table; most need no byte of the wire.

use firmware_compat::{
    frame::{self, HEADER_BYTES, Message, Stamp, decode_body},
    id::{Hash, PodId},
    v1::owned::{Bytes, List, Outcome, Reply, Status},
};
use lichen_hub_core::{
    api::{Kind, Object},
    device::LAST_GENERATION,
};

use super::{Seed, golden, golden_frames, piece, seed};
use crate::hub::{fleet::Fleet, life, so_far};

/// A device says hello and reports that everything runs; twice, as what the first report asks for comes after it.
const JOINS: &[u8] = &[2, 0, 0, 3, 0, 3, 0, 3, 0, 3, 0];

pub(super) fn seeds() -> Vec<Seed> {
    let steps = |rest: &[u8]| [JOINS, rest].concat();
    let two = [2, 1, 0, 3, 0, 3, 0, 3, 1, 3, 0];
    let turns = [3, 0, 3, 0, 3, 0, 3, 1, 3, 0];
    let update = [10, 1, 12, 8, 0, 8, 0];
    let rolling =
        [&[2, 0, 0], &two[..], &update, &turns, &turns, &[9], &[2, 0, 0, 3, 0, 3, 0]].concat();
    let shortage = [
        10, 8, 3, 10, 1, 11, 2, 2, 16, 8, 3, 8, 2, 4, 16, 5, 8, 0, 10, 7, 0, 10, 7, 1, 10, 6, 0,
        10, 6, 2, 9,
    ];
    vec![
        seed(
            "hub",
            "device-lost",
            steps(&[2, 1, 0, 3, 1, 3, 0, 6, 0, 0, 4, 19, 5, 5, 2, 0, 0, 3, 0, 3, 0]),
            |bytes| {
                let mut fleet = life(bytes);
                fleet.newest(0).is_some() && fleet.newest(1).is_some() && pods(&mut fleet) > 1
            },
        ),
        seed("hub", "golden-frames", golden_session(), |bytes| {
            nodes(&mut life(bytes)).iter().any(|node| node.contains("arm64"))
        }),
        seed(
            "hub",
            "join-and-run",
            steps(&[3, 1, 3, 0, 2, 2, 0, 8, 0, 8, 0, 3, 2, 3, 0, 3, 2, 3, 0, 9]),
            |bytes| life(bytes).newest(2).is_some(),
        ),
        seed(
            "hub",
            "last-generation-resumed",
            steps(&[2, 0, 0x43, 10, 5, 0, 10, 1, 5, 10, 1, 6, 10, 3, 128, 10, 3, 0]),
            |bytes| {
                let nodes = life(bytes).list(Kind::Node);
                nodes.iter().any(|node| desired(node) > LAST_GENERATION.0)
            },
        ),
        seed("hub", "logs", logs(), |bytes| life(bytes).log_parts() > 0),
        seed(
            "hub",
            "restored-backup",
            steps(&[2, 0, 0xc3, 10, 5, 0, 10, 1, 3, 3, 0, 3, 0, 9]),
            |bytes| life(bytes).newest(0).is_some_and(|newest| newest.generation.0 > 5),
        ),
        seed("hub", "retire", steps(&[6, 0, 0, 10, 4, 0, 2, 0, 2, 3, 0, 3, 0, 9]), |bytes| {
            life(bytes).newest(0).is_some()
        }),
        seed("hub", "rolling-update", rolling, |bytes| pods(&mut life(bytes)) > 0),
        seed("hub", "secret-and-key-change", secret(), |bytes| {
            so_far(bytes).sealed_to().contains(&[3; 32])
        }),
        seed("hub", "shortage", shortage.to_vec(), |bytes| pods(&mut life(bytes)) > 0),
        seed("hub", "status-improved", status(), |bytes| {
            // So often, the recorded status says, a container was started again.
            pods_with_restarts(&mut so_far(bytes), 7)
        }),
    ]
}

/// A Secret changes while a device runs it; then the device shows another key.
fn secret() -> Vec<u8> {
    let reports = [3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0];
    [JOINS, &[10, 13, 2], &reports, &[10, 14, 3], &reports].concat()
}

/// The newest generation of a device.
fn desired(node: &Object) -> u64 {
    let Object::Node(node) = node else { return 0 };
    node.status.assignment.desired
}

fn pods(fleet: &mut Fleet) -> usize {
    fleet.list(Kind::Pod).len()
}

fn nodes(fleet: &mut Fleet) -> Vec<String> {
    fleet.list(Kind::Node).iter().map(|node| format!("{node:?}")).collect()
}

fn pods_with_restarts(fleet: &mut Fleet, restarts: u32) -> bool {
    fleet.list(Kind::Pod).iter().any(|pod| {
        let Object::Pod(pod) = pod else { return false };
        pod.status.container_statuses.iter().any(|status| status.restart_count == restarts)
    })
}

/// Every recorded message in one device's session.
fn golden_session() -> Vec<u8> {
    let said = |(kind, body): (u8, Vec<u8>)| [vec![0, 0, kind], piece(&body)].concat();
    [&[2, 0, 0][..], &golden_frames().into_iter().flat_map(said).collect::<Vec<u8>>()].concat()
}

/// The recorded status, of Pods and an assignment that are there.
fn status() -> Vec<u8> {
    let mut status: Status =
        decode_body(&golden("status")[HEADER_BYTES..]).expect("it is recorded");
    let mut pods = status.pods.into_vec();
    for pod in &mut pods {
        (pod.id, pod.identity) =
            (PodId(std::array::from_fn(|at| if at == 0 { 0xff } else { 0 })), Hash([0xff; 32]));
    }
    pods.truncate(1);
    status.pods = pods.try_into().expect("fewer");
    status.assignment.as_mut().expect("it is recorded").hash = Hash([0xff; 32]);
    status.removed = List::default();
    [JOINS, &[0, 0, 1], &piece(&body(&status)), &[11, 0, 0]].concat()
}

/// A device answers a request for its log, which is then given up.
fn logs() -> Vec<u8> {
    // Which of the Pods are on the device follows from their ids.
    let asks = (0..8).map(|pod| [JOINS, &[10, 10, pod]].concat());
    let mut asked = asks.filter_map(|asks| Some((so_far(&asks).command()?, asks)));
    let (command, asks) = asked.next().expect("the device is asked for a log");
    let data = Bytes::try_from(b"a line\n".to_vec()).expect("short");
    let reply = Reply { command, part: 0, outcome: Outcome::Data(data) };
    [&asks[..], &[0, 0, 3], &piece(&body(&reply)), &[10, 11, 0, 6, 0, 1, 7, 1, 7, 0]].concat()
}

fn body<M: Message>(message: &M) -> Vec<u8> {
    let framed = frame::encode(message, Stamp::default()).expect("it fits a frame");
    framed[HEADER_BYTES..].to_vec()
}
