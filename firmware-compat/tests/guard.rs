//! What a device believes: what its hub has signed for it, once, and nothing else.

mod signer;

use firmware_compat::{
    frame::{Frame, SIGNATURE_BYTES},
    guard::{Guard, Refusal},
    id::{Generation, Hash, Lineage, PodId},
    keys::PinnedHub,
    signed::Signed,
    topic::ALL,
    v1::fixed::{Action, AssignmentId, Command, Head, Report, Text, Time},
};
use signer::{LINEAGE, guard, hub, public, seal, verify};

const HOUR: u64 = 3_600_000;

fn open<M: Signed>(guard: &mut Guard, bytes: &[u8], to: &str) -> Result<M, Refusal> {
    guard.open(&Frame::parse(bytes).expect("a frame"), to)
}

fn time(unix_ms: u64) -> Time {
    Time { lineage: LINEAGE, unix_ms }
}

fn head() -> Head {
    let (generation, hash) = (Generation(7), Hash([2; 32]));
    Head { assignment: AssignmentId { lineage: LINEAGE, generation, hash }, length: 33 }
}

fn logs(id: u64) -> Command {
    let action = Action::Logs {
        pod: PodId([9; 16]),
        container: Text::try_from("main").expect("short"),
        follow: false,
        tail: None,
        previous: false,
        timestamps: false,
    };
    Command { lineage: LINEAGE, id, action }
}

#[test]
fn what_the_hub_signed_for_a_device_is_heard() {
    let mut guard = guard(&[1], 0);
    assert_eq!(open(&mut guard, &seal(1, "pi", 0, &head()), "pi"), Ok(head()));
    assert_eq!(open(&mut guard, &seal(1, "pi", 0, &time(5)), "pi"), Ok(time(5)));
    assert_eq!(open(&mut guard, &seal(1, ALL, 0, &time(6)), ALL), Ok(time(6)));
}

#[test]
fn a_frame_for_another_device_of_another_key_or_with_any_bit_changed_is_forged() {
    let sound = seal(1, "pi", 0, &head());
    let forged = Err::<Head, _>(Refusal::Forged);
    for (bytes, to) in [
        (sound.clone(), "pj"),
        (sound.clone(), ALL),
        (seal(1, ALL, 0, &head()), "pi"),
        (seal(2, "pi", 0, &head()), "pi"),
    ] {
        assert_eq!(open(&mut guard(&[1], 0), &bytes, to), forged, "{to}");
    }
    // The header's first two bytes say what the frame is: changed, it is another kind or none.
    for bit in 16..sound.len() * 8 {
        let mut changed = sound.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&mut guard(&[1], 0), &changed, "pi"), forged, "bit {bit}");
    }
    let unsigned = [&sound[..sound.len() - SIGNATURE_BYTES], &[0; SIGNATURE_BYTES]].concat();
    assert_eq!(open(&mut guard(&[1], 0), &unsigned, "pi"), forged);
}

#[test]
fn a_name_and_a_frame_can_not_be_told_apart_in_another_way() {
    // Without a length in front of the name, both would be signed by the same bytes.
    let mut guard = guard(&[1], 0);
    let bytes = seal(1, "pi\u{1}", 0, &head());
    assert_eq!(open::<Head>(&mut guard, &bytes, "pi"), Err(Refusal::Forged));
}

#[test]
fn a_frame_of_one_kind_is_not_read_as_another() {
    let mut guard = guard(&[1], 0);
    let report = Report { lineage: LINEAGE, unix_ms: 5, spread_ms: 0 };
    let mut bytes = seal(1, "pi", 0, &report);
    bytes[1] = firmware_compat::frame::Kind::Time as u8;
    assert_eq!(open::<Time>(&mut guard, &bytes, "pi"), Err(Refusal::Forged));
}

#[test]
fn who_was_told_of_no_key_believes_nobody() {
    let mut guard = Guard::new(verify, None, 0);
    let bytes = seal(1, "pi", 0, &head());
    assert_eq!(open::<Head>(&mut guard, &bytes, "pi"), Err(Refusal::NoKey));
    guard.pin(hub(&[1]));
    assert_eq!(open(&mut guard, &bytes, "pi"), Ok(head()));
}

#[test]
fn a_time_that_is_not_newer_is_dropped_and_told_of_where_the_network_is_no_reason() {
    let mut guard = guard(&[1], 10 * HOUR);
    let mut say = |unix_ms| open::<Time>(&mut guard, &seal(1, "pi", 0, &time(unix_ms)), "pi");
    assert_eq!(say(9 * HOUR - 1), Err(Refusal::Old { by_ms: HOUR + 1 }));
    assert_eq!(say(10 * HOUR), Err(Refusal::Late), "the floor itself has been heard");
    assert_eq!(say(10 * HOUR + 2), Ok(time(10 * HOUR + 2)));
    assert_eq!(say(10 * HOUR + 2), Err(Refusal::Late), "it comes twice");
    assert_eq!(say(10 * HOUR + 1), Err(Refusal::Late), "it was overtaken");
    assert_eq!(say(90 * HOUR), Ok(time(90 * HOUR)));
    assert_eq!(say(11 * HOUR), Err(Refusal::Old { by_ms: 79 * HOUR }));
    assert_eq!(guard.known_ms(), 90 * HOUR);
}

#[test]
fn times_and_reports_are_bound_to_one_time() {
    let mut guard = guard(&[1], 0);
    let report = |unix_ms| Report { lineage: LINEAGE, unix_ms, spread_ms: 0 };
    assert!(open::<Time>(&mut guard, &seal(1, "pi", 0, &time(5 * HOUR)), "pi").is_ok());
    let old = Refusal::Old { by_ms: 3 * HOUR };
    let bytes = seal(1, "pi", 0, &report(2 * HOUR));
    assert_eq!(open::<Report>(&mut guard, &bytes, "pi"), Err(old));
    assert!(open::<Report>(&mut guard, &seal(1, "pi", 0, &report(6 * HOUR)), "pi").is_ok());
    let bytes = seal(1, "pi", 0, &time(6 * HOUR));
    assert_eq!(open::<Time>(&mut guard, &bytes, "pi"), Err(Refusal::Late));
}

#[test]
fn a_forged_time_moves_nothing() {
    let mut guard = guard(&[1], 5);
    let bytes = seal(2, "pi", 0, &time(u64::MAX));
    assert_eq!(open::<Time>(&mut guard, &bytes, "pi"), Err(Refusal::Forged));
    assert_eq!(guard.known_ms(), 5);
}

#[test]
fn a_command_is_for_one_connection() {
    let mut guard = guard(&[1], 0);
    let bytes = |session| seal(1, "pi", session, &logs(1));
    let other = Err::<Command, _>(Refusal::OtherConnection);
    assert_eq!(open(&mut guard, &bytes(0), "pi"), other, "there is no connection");
    guard.connected(7);
    assert_eq!(open(&mut guard, &bytes(7), "pi"), Ok(logs(1)));
    guard.connected(8);
    assert_eq!(open::<Command>(&mut guard, &bytes(7), "pi"), Err(Refusal::Late), "just ended");
    guard.connected(9);
    assert_eq!(open(&mut guard, &bytes(7), "pi"), other);
    assert_eq!(open(&mut guard, &bytes(9), "pi"), Ok(logs(1)));
    assert_eq!(open::<Command>(&mut guard, &bytes(9), "pi"), Err(Refusal::Late), "twice");
}

#[test]
fn a_command_is_heard_once_however_many_came_since() {
    let mut guard = guard(&[1], 0);
    guard.connected(7);
    let mut hear = |id| open::<Command>(&mut guard, &seal(1, "pi", 7, &logs(id)), "pi").is_ok();
    let first = (100..200).rev().filter(|id| hear(*id)).count();
    assert!(first >= 32, "they were overtaken");
    assert_eq!((100..200).filter(|id| hear(*id)).count(), 0);
    assert_eq!((200..300).filter(|id| hear(*id)).count(), 100);
    assert_eq!((100..300).filter(|id| hear(*id)).count(), 0);
}

#[test]
fn the_same_key_in_another_hubs_hands_says_nothing() {
    let mut guard = guard(&[1], 0);
    guard.connected(7);
    let lineage = Lineage([0x22; 16]);
    let other = Refusal::OtherHub { lineage };
    let bytes = seal(1, "pi", 0, &Time { lineage, unix_ms: 9 });
    assert_eq!(open::<Time>(&mut guard, &bytes, "pi"), Err(other));
    let bytes = seal(1, "pi", 7, &Command { lineage, ..logs(1) });
    assert_eq!(open::<Command>(&mut guard, &bytes, "pi"), Err(other));
    assert_eq!(guard.known_ms(), 0);
}

#[test]
fn a_hub_of_another_store_begins_time_anew() {
    let mut guard = guard(&[1], 100 * HOUR);
    guard.pin(hub(&[2, 1]));
    assert_eq!(guard.known_ms(), 100 * HOUR, "the same hub with another key");
    let other = PinnedHub { lineage: Lineage([0x22; 16]), ..hub(&[2]) };
    guard.pin(other);
    let said = Time { lineage: other.lineage, unix_ms: 9 };
    assert_eq!(open(&mut guard, &seal(2, "pi", 0, &said), "pi"), Ok(said));
    assert!(open::<Time>(&mut guard, &seal(2, "pi", 0, &time(200 * HOUR)), "pi").is_err());
    assert_eq!(guard.known_ms(), 9);
}

#[test]
fn while_a_hub_changes_its_key_either_one_counts() {
    let mut guard = guard(&[2, 1], 0);
    for (seed, unix_ms) in [(1, 1), (2, 2), (1, 3)] {
        assert!(open::<Time>(&mut guard, &seal(seed, "pi", 0, &time(unix_ms)), "pi").is_ok());
    }
    assert_eq!(hub(&[2, 1]).keys.oldest(), public(1));
    guard.pin(hub(&[2]));
    let bytes = seal(1, "pi", 0, &time(4));
    assert_eq!(open::<Time>(&mut guard, &bytes, "pi"), Err(Refusal::Forged));
}
