//! The device's side of the protocol: what moves it, and what does not.

use firmware_compat::{
    id::{Generation, Hash, Lineage},
    session::{Name, Session, Step, Verdict, gives_way, judge},
};

fn name(lineage: u8, generation: u64, hash: u8) -> Name {
    Name {
        lineage: Lineage([lineage; 16]),
        generation: Generation(generation),
        hash: Hash([hash; 32]),
    }
}

/// Stands for SHA-256.
fn digest(bytes: &[u8]) -> Hash {
    Hash([bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)); 32])
}

#[test]
fn only_what_is_newer_and_of_the_same_lineage_moves_a_device() {
    let held = Some(name(1, 5, 5));
    assert_eq!(judge(None, name(2, 1, 1), false), Verdict::Newer);
    assert_eq!(judge(held, name(1, 6, 6), false), Verdict::Newer);
    assert_eq!(judge(held, name(1, 5, 5), false), Verdict::Held);
    assert_eq!(judge(held, name(1, 5, 6), false), Verdict::Conflict);
    assert_eq!(judge(held, name(1, 4, 4), false), Verdict::Stale { held: Generation(5) });
    assert_eq!(judge(held, name(2, 9, 9), false), Verdict::Foreign);
    assert_eq!(judge(held, name(2, 1, 1), true), Verdict::Newer);
}

#[test]
fn a_head_that_nobody_has_the_body_of_gives_way_to_one_below_it_but_not_below_what_is_held() {
    let (coming, held) = (name(1, 9, 9), Some(name(1, 5, 5)));
    assert!(gives_way(coming, name(1, 6, 6), held, true));
    assert!(!gives_way(coming, name(1, 6, 6), held, false), "the hub was not asked yet");
    assert!(!gives_way(coming, name(1, 4, 4), held, true));
    assert!(!gives_way(coming, coming, held, true));
    assert!(!gives_way(coming, name(2, 1, 1), held, true));
}

#[test]
fn a_body_in_chunks_is_held_once_it_is_whole_and_kept() {
    let (mut session, mut body) = (Session::new(None), [0; 8]);
    let offered = name(1, 1, 10);
    let hash = offered.hash;
    assert_eq!(session.head(offered, 4, 8), Step::Want { hash, offset: 0 });
    assert_eq!(session.chunk(hash, 0, &[1, 2], &mut body, digest), Step::Rest);
    assert_eq!(session.chunk(hash, 0, &[1, 2], &mut body, digest), Step::Rest, "twice");
    assert_eq!(session.chunk(hash, 2, &[3, 4, 5], &mut body, digest), Step::Rest, "too long");
    assert_eq!(session.chunk(hash, 2, &[3, 5], &mut body, digest), Step::Want { hash, offset: 0 });
    assert_eq!(session.chunk(hash, 0, &[1, 2, 3, 4], &mut body, digest), Step::Body(offered));
    assert_eq!(session.held(), None);
    session.kept();
    assert_eq!((session.held(), session.coming()), (Some(offered), None));
    assert_eq!(session.head(offered, 4, 8), Step::Report);
    assert_eq!(session.head(name(1, 2, 2), 9, 8), Step::Rest, "there is no room for it");
}

#[test]
fn frames_of_a_connection_count_from_one() {
    let mut session = Session::new(None);
    session.connected(7);
    let stamps = [session.next_stamp(), session.next_stamp()];
    assert_eq!(stamps.map(|stamp| (stamp.session, stamp.sequence)), [(7, 1), (7, 2)]);
    session.connected(8);
    assert_eq!(session.next_stamp().sequence, 1);
}
