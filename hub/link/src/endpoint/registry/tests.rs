//! The registry on its own: who comes in, who replaces whom, who is kept out.

use std::{net::SocketAddr, time::Duration};

use firmware_compat::id::{AgentId, BootId};

use super::*;

const KEY: Hash = Hash([1; 32]);
const START: Instant = Instant(1_000_000);

fn peer_with(key: Hash, agent: Option<u8>, boot: Option<u8>) -> Arc<Peer> {
    let holder = Holder {
        agent: agent.map(|number| AgentId([number; 16])),
        boot: boot.map(|number| BootId([number; 16])),
    };
    Arc::new(Peer::new(SocketAddr::from(([127, 0, 0, 1], 9)), key, holder))
}

fn peer() -> Arc<Peer> {
    peer_with(KEY, None, None)
}

fn registry(devices: &[&str]) -> Registry {
    let registry = Registry::default();
    for device in devices {
        registry.admit(device, &[KEY]);
    }
    registry
}

fn open_at(registry: &Registry, device: &str, peer: &Arc<Peer>, now: Instant) -> Entry {
    registry.open(device, peer, 9, now, |_| {}).0
}

fn open(registry: &Registry, device: &str, peer: &Arc<Peer>) -> Entry {
    open_at(registry, device, peer, START)
}

#[test]
fn the_end_of_a_replaced_session_leaves_the_newer_one() {
    let registry = registry(&["pi"]);
    let (old, new) = (peer(), peer());
    assert_eq!(open(&registry, "pi", &old), Entry::Open);
    assert_eq!(open(&registry, "pi", &new), Entry::TookOver(Newcomer::Unknown));
    assert_eq!((old.ordered(), new.ordered()), (Some(Order::TakeOver), None));
    registry.close("pi", &old, |event| panic!("{event:?} of a session that was replaced"));
    assert!(registry.is_newest("pi", &new));
    let mut told = None;
    registry.close("pi", &new, |event| told = Some(event));
    assert_eq!(told, Some(LinkEvent::Disconnected { device: "pi".into() }));
    assert_eq!(registry.sessions(), 0);
}

#[test]
fn wills_tell_whether_an_agent_replaced_itself() {
    for (older, newer, expected) in [
        (Some(1), Some(1), Newcomer::SameAgent),
        (Some(1), Some(2), Newcomer::OtherAgent),
        (Some(1), None, Newcomer::Unknown),
        (None, None, Newcomer::Unknown),
    ] {
        let registry = registry(&["pi"]);
        open(&registry, "pi", &peer_with(KEY, older, None));
        let newer = peer_with(KEY, newer, None);
        assert_eq!(open(&registry, "pi", &newer), Entry::TookOver(expected));
    }
}

#[test]
fn a_full_house_lets_in_only_who_replaces_its_own_older_connection() {
    let registry = registry(&["one", "two"]);
    let open = |device| registry.open(device, &peer(), 1, START, |_| {}).0;
    assert_eq!(open("one"), Entry::Open);
    assert_eq!(open("two"), Entry::Full);
    assert_eq!(open("one"), Entry::TookOver(Newcomer::Unknown));
}

#[test]
fn nobody_comes_in_while_the_hub_stops() {
    let registry = registry(&["pi", "two"]);
    let peer = peer();
    open(&registry, "pi", &peer);
    registry.shut_down();
    assert_eq!(peer.ordered(), Some(Order::ShutDown));
    assert_eq!(open(&registry, "two", &peer), Entry::Closing);
}

#[test]
fn a_head_is_replaced_sent_to_who_is_there_and_cleared() {
    let registry = registry(&["pi"]);
    let peer = peer();
    registry.set_head("pi", Bytes::from_static(b"1"));
    open(&registry, "pi", &peer);
    assert_eq!(peer.take(), None);
    registry.set_head("pi", Bytes::from_static(b"2"));
    assert_eq!(peer.take().map(|head| head.frame), Some(Bytes::from_static(b"2")));
    assert_eq!(registry.head("pi"), Some(Bytes::from_static(b"2")));
    registry.clear_head("pi");
    assert_eq!(registry.head("pi"), None);
}

#[test]
fn strangers_and_other_keys_are_kept_out_and_a_dismissed_session_is_told_to_end() {
    let registry = registry(&["pi"]);
    let other = peer_with(Hash([2; 32]), None, None);
    assert_eq!(open(&registry, "pi-2", &peer()), Entry::Unwelcome(Verdict::Stranger));
    assert_eq!(open(&registry, "pi", &other), Entry::Unwelcome(Verdict::OtherKey));
    let peer = peer();
    open(&registry, "pi", &peer);
    // A second key may be added; the session stays while its own is among them.
    registry.admit("pi", &[other.key, KEY]);
    assert_eq!(peer.ordered(), None);
    assert_eq!(open(&registry, "pi", &other), Entry::TookOver(Newcomer::Unknown));
    registry.admit("pi", &[KEY]);
    assert!(matches!(other.ordered(), Some(Order::Dismiss(why)) if why.contains("another key")));
    registry.close("pi", &other, |_| {});

    open(&registry, "pi", &peer_with(KEY, None, None));
    let session = registry.session("pi").expect("it is in");
    registry.dismiss("pi", "revoked");
    assert_eq!(session.ordered(), Some(Order::Dismiss("revoked".into())));
    let kept_out = Entry::Unwelcome(Verdict::Dismissed("revoked".into()));
    assert_eq!(open(&registry, "pi", &session), kept_out);
    registry.forget("pi");
    assert_eq!(open(&registry, "pi", &session), Entry::Unwelcome(Verdict::Stranger));
}

#[test]
fn of_two_boards_the_one_that_is_there_stays_and_both_are_told_of_once() {
    let registry = registry(&["pi"]);
    let board = |boot| peer_with(KEY, Some(7), Some(boot));
    let come = |boot| registry.open("pi", &board(boot), 9, START, |_| {});
    assert_eq!(come(1), (Entry::Open, None));
    assert_eq!(come(2), (Entry::TookOver(Newcomer::SameAgent), None));
    let (first, second) = (board(1).board().expect("known"), board(2).board().expect("known"));
    let kept_out = Entry::Second { other: second };
    assert_eq!(come(1), (kept_out.clone(), Some([second, first])));
    assert_eq!(come(1), (kept_out, None));
    // The one that is there may connect anew, and when it is gone the other one comes in.
    assert_eq!(come(2), (Entry::TookOver(Newcomer::SameAgent), None));
    let session = registry.session("pi").expect("it is in");
    registry.close("pi", &session, |_| {});
    assert_eq!(come(1), (Entry::Open, None));
    assert_eq!(come(2).0, Entry::Second { other: first });
    // A new card is a new beginning.
    registry.forget("pi");
    let session = registry.session("pi").expect("it is in");
    registry.close("pi", &session, |_| {});
    registry.admit("pi", &[KEY]);
    assert_eq!(come(2), (Entry::Open, None));
}

#[test]
fn a_device_that_opens_sessions_without_end_is_refused_for_a_while() {
    let registry = registry(&["pi", "other"]);
    let opened = |now| {
        let is_in = |_: &u32| open_at(&registry, "pi", &peer(), now) != Entry::TooOften;
        (0..1000).filter(is_in).count() as u64
    };
    assert_eq!(opened(START), OPENING.burst);
    assert_eq!(open(&registry, "other", &peer()), Entry::Open);
    let later = START + Duration::from_secs(10);
    assert_eq!(opened(later), 10 * OPENING.per_second);
}

#[test]
fn who_holds_a_name_is_known_while_it_is_there() {
    let registry = registry(&["pi"]);
    assert_eq!(registry.holder("pi"), None);
    let peer = peer_with(KEY, Some(1), Some(2));
    open(&registry, "pi", &peer);
    assert_eq!(registry.holder("pi"), Some(peer.holder));
    registry.close("pi", &peer, |_| {});
    assert_eq!(registry.holder("pi"), None);
}
