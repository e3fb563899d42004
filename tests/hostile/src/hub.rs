//! The bytes are a script for the real core of the hub: frames of three devices, honest ones and any others, requests
//! of an operator, time, restarts. `fleet` is the world around it and holds the properties.
//!
//! | step | then | what happens |
//! |---|---|---|
//! | 0 | device, kind, piece | a frame in the device's session, the piece as its body |
//! | 1 | device, piece | the piece as a frame, on the topic that its kind byte names |
//! | 2 | device, way | an honest hello in a new session |
//! | 3 | device, phase, way | an honest report of everything that the device runs |
//! | 4 | n | time passes: 2^(n mod 28) ms |
//! | 5 | | time passes until the engine wants waking |
//! | 6 | device, way | its session closes, or is taken over |
//! | 7 | n | the link comes or goes |
//! | 8 | n | the oldest question about an image is answered |
//! | 9 | | the hub is killed and loads its records |
//! | 10 | n, m | a request from a table |
//! | 11 | device, offset | the device wants the newest body from there |

pub mod fleet;
mod seals;

use firmware_compat::{
    frame::{self, Frame, Kind, Message},
    id::{Hash, PodId},
    v1::owned::{List, Status, Want},
};
use lichen_hub_core::event::Event;

use crate::{meter::bounded, script::Script};
use fleet::Fleet;

/// Steps of one script.
const MOST_STEPS: usize = 200;
/// A hub of three devices and two workloads, what it prints of them, and its events.
const BASE_BYTES: usize = 24 * 1024 * 1024;
/// Heap bytes per byte of input: what a device says is kept, written as JSON, and shown.
const BYTES_PER_BYTE: usize = 2048;

/// One hub's life.
pub fn hub(bytes: &[u8]) {
    let limit = BASE_BYTES + BYTES_PER_BYTE * bytes.len();
    bounded("a hub's life", limit, || drop(life(bytes)));
}

/// The fleet at the end of the script.
pub(crate) fn life(bytes: &[u8]) -> Fleet {
    let mut fleet = so_far(bytes);
    fleet.check_in_the_end();
    fleet
}

/// The fleet after the last step.
pub(crate) fn so_far(bytes: &[u8]) -> Fleet {
    let mut fleet = Fleet::new();
    let mut script = Script::new(bytes);
    for _ in 0..MOST_STEPS {
        let Some(step) = script.byte() else { break };
        take(step, &mut script, &mut fleet);
    }
    fleet
}

fn take(step: u8, script: &mut Script<'_>, fleet: &mut Fleet) {
    let mut device = || usize::from(script.number()) % fleet::NAMES.len();
    match step % 12 {
        0 => {
            let device = device();
            let kind = Kind::EVERY[usize::from(script.number()) % Kind::EVERY.len()];
            let body = improve(kind, script.piece(), device, fleet);
            fleet.send(device, kind, &body);
        }
        1 => {
            let device = device();
            let bytes = script.piece();
            let kind = Frame::parse(bytes).map_or(Kind::Hello, |frame| frame.kind);
            fleet.hear(fleet::NAMES[device], kind, bytes.to_vec());
        }
        2 => {
            let device = device();
            fleet.hello(device, script.number());
        }
        3 => {
            let device = device();
            fleet.report(device, script.number(), script.number());
        }
        4 => fleet.pass(1 << (script.number() % 28)),
        5 => fleet.wake(),
        6 => {
            let device = fleet::NAMES[device()].to_owned();
            let _ = fleet.event(match script.number() % 2 {
                0 => Event::Disconnected { device },
                _ => Event::TakenOver { device },
            });
        }
        7 => {
            let _ = fleet.event(match script.number() % 2 {
                0 => Event::LinkUp,
                _ => Event::LinkDown { reason: "the broker is away".to_owned() },
            });
        }
        8 => fleet.supply(script.number()),
        9 => fleet.restart(),
        10 => fleet.ask(script.number(), script.number()),
        _ => {
            let device = device();
            let offset = u32::from(script.number()) * 7;
            if let Some(hash) = fleet.newest(device).map(|newest| newest.hash) {
                fleet.say(device, &Want { hash, offset, also: List::default() });
            }
        }
    }
}

/// No script can guess an id or a hash: those of a status that begin with 0xff are replaced by real ones.
fn improve(kind: Kind, body: &[u8], device: usize, fleet: &Fleet) -> Vec<u8> {
    let known = fleet.pods();
    let read = (kind == Status::KIND).then(|| frame::decode_body::<Status>(body).ok()).flatten();
    let Some(mut status) = read.filter(|_| !known.is_empty()) else { return body.to_vec() };
    let real = |id: PodId| match id.0 {
        [0xff, n, ..] => known[usize::from(n) % known.len()],
        _ => (id, Hash([0; 32])),
    };
    if let Some(held) = &mut status.assignment
        && held.hash.0[0] == 0xff
    {
        *held = fleet.newest(device).unwrap_or(*held);
    }
    let mut pods = status.pods.into_vec();
    for pod in &mut pods {
        let (id, identity) = real(pod.id);
        pod.id = id;
        if pod.identity.0[0] == 0xff {
            pod.identity = identity;
        }
    }
    status.pods = pods.try_into().expect("as many as before");
    let removed: Vec<_> = status.removed.iter().map(|id| real(*id).0).collect();
    status.removed = removed.try_into().expect("as many as before");
    let stamp = frame::Stamp::default();
    let framed = frame::encode(&status, stamp).expect("what came in a frame fits one");
    framed[frame::HEADER_BYTES..].to_vec()
}
