//! The bytes are a script for the real core of the agent: frames of the hub, whole assignments in chunks, answers of
//! the machine around it, time, power cuts. `device` is that machine and holds the properties.
//!
//! | step | then | what happens |
//! |---|---|---|
//! | 0 | piece | a frame on a `down` topic, signed by the hub if its kind is |
//! | 1 | generation, ways, piece | a head, its body in chunks, and the piece as a part of it, a Pod, in the same way |
//! | 2, 3 | | the oldest question is answered: done, or failed |
//! | 4 | | time passes until the agent wants waking |
//! | 5 | n | time passes: 2^(n mod 24) ms |
//! | 6, 7, 8 | | link up, link down, name taken or free again |
//! | 9 | n, code | the n-th running program ends |
//! | 10 | | every question is answered, until there is none |
//! | 11 | n | the agent is killed, power may fail, and it starts again |
//! | 12 | n | shut down |
//! | 13 | n | other runtimes |
//! | 14 | | the last message could not be sent |
//! | 15 | | the operator allows another hub |
//! | 16 | piece | a stranger's frame on a `down` topic, as it is |

pub(crate) mod device;

use firmware_compat::{
    id::{Generation, Hash},
    v1::owned::{Assignment, AssignmentId, Bytes, Head, List, Part},
};
use lichen_agent_core::Event;
use sha2::{Digest, Sha256};

use crate::{meter::bounded, script::Script};
use device::{Device, LINEAGE, OTHER_LINEAGE};

/// Steps of one script: enough to fill every ring of the agent.
const MOST_STEPS: usize = 400;
/// What an agent with nothing to do may hold, with its rings full.
const BASE_BYTES: usize = 1024 * 1024;
/// Heap bytes per byte of input: a byte may be in the assembler, in the decoded assignment, in force, in the one
/// before, on the model's disk twice, and in a Pod that is being replaced.
const BYTES_PER_BYTE: usize = 1024;

/// One agent's life.
pub fn agent(bytes: &[u8]) {
    let limit = BASE_BYTES + BYTES_PER_BYTE * bytes.len();
    bounded("an agent's life", limit, || drop(life(bytes)));
}

/// The device at the end of the script.
pub(crate) fn life(bytes: &[u8]) -> Device {
    let mut device = Device::new();
    let mut script = Script::new(bytes);
    for _ in 0..MOST_STEPS {
        let Some(step) = script.byte() else { break };
        take(step, &mut script, &mut device);
    }
    device.check_in_the_end();
    device
}

fn take(step: u8, script: &mut Script<'_>, device: &mut Device) {
    match step % 17 {
        0 => device.hear(script.piece()),
        1 => {
            let (generation, ways) = (script.number(), script.number());
            assign(generation, ways, script.piece(), device);
        }
        2 => device.answer(true),
        3 => device.answer(false),
        4 => device.wake(),
        5 => device.pass(1 << (script.number() % 24)),
        6 => device.link_up(),
        7 => device.link_down(),
        8 => device.take_name(),
        9 => {
            let (which, code) = (script.number(), script.number());
            device.end(which.into(), code.into());
        }
        10 => device.answer_all(),
        11 => device.restart(script.number()),
        12 => device.feed(Event::Shutdown { drain: script.number().is_multiple_of(2) }),
        13 => device.change_runtimes(script.number()),
        14 => device.fail_last_send(),
        15 => device.adopt(),
        _ => device.hear_a_stranger(script.piece()),
    }
}

/// A head that tells the truth about its body, or nearly; the body and its one part in chunks in one of several orders.
fn assign(generation: u8, ways: u8, part: &[u8], device: &mut Device) {
    let hash_of_part = Hash(Sha256::digest(part).into());
    let pods = List::try_from(vec![hash_of_part]).expect("one");
    let body = postcard::to_allocvec(&Assignment { pods, removed_claims: Default::default() })
        .expect("it encodes");
    let hash = match ways & 1 {
        0 => Hash(Sha256::digest(&body).into()),
        _ => Hash([9; 32]),
    };
    let lineage = if ways >> 7 == 0 { LINEAGE } else { OTHER_LINEAGE };
    let id = AssignmentId { lineage, generation: Generation(generation.into()), hash };
    let length = u32::try_from(body.len()).expect("inputs are small");
    device.say(&Head { assignment: id, length });
    send(hash, &body, 0, device);
    send(hash_of_part, part, ways, device);
}

/// Content in chunks.
fn send(hash: Hash, content: &[u8], ways: u8, device: &mut Device) {
    let length = u32::try_from(content.len()).expect("inputs are small");
    let size = content.len().div_ceil(usize::from(ways >> 4 & 7) + 1).max(1);
    let mut chunks: Vec<(usize, &[u8])> = content.chunks(size).enumerate().collect();
    if ways & 2 != 0 {
        chunks.reverse();
    }
    if ways & 4 != 0 {
        chunks.pop();
    }
    if ways & 8 != 0 {
        chunks.extend(chunks.clone());
    }
    for (index, chunk) in chunks {
        let Ok(bytes) = Bytes::try_from(chunk.to_vec()) else { continue };
        let offset = u32::try_from(index * size).expect("inputs are small");
        device.say(&Part { hash, length, offset, bytes });
    }
}
