//! Reports what it costs to sign what a hub says, and to check it:
//! `cargo run --release -p lichen-hub-core --example signatures`. It asserts nothing.

use std::{
    hint::black_box,
    time::{Duration, Instant as Clock},
};

use firmware_compat::{
    frame::{self, Frame, Stamp},
    guard::Guard,
    id::{Generation, Hash, Lineage, PublicKey},
    keys::{PinnedHub, SigningKeys},
    signed::{self, Signature, Signed},
    v1::owned::{Action, AssignmentId, Command, Head, Report, Time},
};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

const BATCHES: u32 = 200;
const BATCH: u32 = 50;
const DEVICE: &str = "site-12-press-0042";
const LINEAGE: Lineage = Lineage([7; 16]);
const STAMP: Stamp = Stamp { session: 9, sequence: 1 };
const NOW_MS: u64 = 1_767_225_600_000;

fn main() {
    let hub = key(1);
    let head = Head {
        assignment: AssignmentId {
            lineage: LINEAGE,
            generation: Generation(41),
            hash: Hash([3; 32]),
        },
        length: 1_234,
    };
    let command = Command { lineage: LINEAGE, id: 1, action: Action::Report };
    println!("{:<44} {:>8} {:>10} {:>10}", "frame", "bytes", "sign", "check");
    report("head", &hub, DEVICE, &head);
    report("command", &hub, DEVICE, &command);
    report(
        "request to report",
        &hub,
        "all",
        &Report { lineage: LINEAGE, unix_ms: NOW_MS, spread_ms: 1 },
    );
    report("time", &hub, "all", &Time { lineage: LINEAGE, unix_ms: NOW_MS });
    let ours = [&hub];
    let two = [&key(2), &hub];
    println!("\n{:<44} {:>10}", "a head that is refused, or takes two checks", "check");
    let frame = signed_frame(&hub, DEVICE, &head);
    let stranger = signed_frame(&key(9), DEVICE, &head);
    for (what, keys, frame) in [
        ("signed by the older of two keys", &two[..], &frame),
        ("signed by nobody whom the device knows", &ours[..], &stranger),
        ("the same, with two keys", &two[..], &stranger),
    ] {
        println!("{what:<44} {:>7} µs", micros(open_cost::<Head>(keys, DEVICE, frame)));
    }
}

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("any 32 bytes are a seed")
}

fn public(key: &Ed25519KeyPair) -> PublicKey {
    PublicKey(key.public_key().as_ref().try_into().expect("32 bytes"))
}

fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ED25519, key.0).verify(message, signature).is_ok()
}

fn signed_frame<M: Signed>(key: &Ed25519KeyPair, to: &str, message: &M) -> Vec<u8> {
    let mut frame = frame::encode(message, STAMP).expect("in bounds");
    let by = |message: &[u8]| key.sign(message).as_ref().try_into().expect("64 bytes");
    signed::sign(&mut frame, to, by).expect("has a place for it");
    frame
}

fn report<M: Signed>(what: &str, hub: &Ed25519KeyPair, to: &str, message: &M) {
    let frame = signed_frame(hub, to, message);
    let sign = cost(|| {
        black_box(signed_frame(hub, to, black_box(message)));
    });
    let check = open_cost::<M>(&[hub], to, &frame);
    println!("{what:<44} {:>8} {:>7} µs {:>7} µs", frame.len(), micros(sign), micros(check));
}

/// What a device does with a frame that reaches it for the first time. The guard is new each time: a copy would be refused.
fn open_cost<M: Signed>(keys: &[&Ed25519KeyPair], to: &str, frame: &[u8]) -> Duration {
    let keys: Vec<PublicKey> = keys.iter().map(|key| public(key)).collect();
    let keys = SigningKeys::new(&keys).expect("one or two");
    let mut fresh = Guard::new(verify, Some(PinnedHub { lineage: LINEAGE, keys }), 0);
    fresh.connected(STAMP.session);
    cost(|| {
        let frame = Frame::parse(black_box(frame)).expect("a frame");
        let _said_or_refused = black_box(fresh.clone().open::<M>(&frame, to));
    })
}

/// Once, in the fastest of the batches: the machine may have more to do than this.
fn cost(mut work: impl FnMut()) -> Duration {
    let batch = |_| {
        let begin = Clock::now();
        for _ in 0..BATCH {
            work();
        }
        begin.elapsed() / BATCH
    };
    (0..BATCHES).map(batch).min().unwrap_or_default()
}

fn micros(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e6)
}
