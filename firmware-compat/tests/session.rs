//! The device's side of the protocol: what moves it, and what does not.

mod signer;

use firmware_compat::{
    frame::Frame,
    guard::Refusal,
    id::{Generation, Hash, Lineage},
    session::{Name, Session, Standing, Step, Verdict},
    v1::fixed::{Head, Time},
};
use signer::{LINEAGE, guard, seal};

fn name(lineage: u8, generation: u64, hash: u8) -> Name {
    Name {
        lineage: Lineage([lineage; 16]),
        generation: Generation(generation),
        hash: Hash([hash; 32]),
    }
}

/// A device hears a head that its hub has signed for it.
fn hear(session: &mut Session, offered: Name, length: u32, room: usize) -> Step {
    let bytes = seal(1, "pi", 0, &Head { assignment: offered.into(), length });
    let frame = Frame::parse(&bytes).expect("a frame");
    session.head(&frame, "pi", room).expect("the hub has signed it")
}

/// Stands for SHA-256.
fn digest(bytes: &[u8]) -> Hash {
    Hash([bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)); 32])
}

#[test]
fn only_what_is_newer_and_of_the_same_lineage_moves_a_device() {
    let standing = Standing { held: Some(name(1, 5, 5)), ..Standing::default() };
    assert_eq!(Standing::default().judge(name(2, 1, 1)), Verdict::Newer);
    assert_eq!(standing.judge(name(1, 6, 6)), Verdict::Newer);
    assert_eq!(standing.judge(name(1, 5, 5)), Verdict::Held);
    assert_eq!(standing.judge(name(1, 5, 6)), Verdict::Conflict);
    assert_eq!(standing.judge(name(1, 4, 4)), Verdict::Stale { held: Generation(5) });
    assert_eq!(standing.judge(name(2, 9, 9)), Verdict::Foreign);
    let adopting = Standing { may_adopt: true, ..standing };
    assert_eq!(adopting.judge(name(2, 1, 1)), Verdict::Newer);
    let fresh = Standing { hub: Some(LINEAGE), ..Standing::default() };
    assert_eq!(fresh.judge(name(1, 1, 1)), Verdict::Newer);
    assert_eq!(fresh.judge(name(2, 1, 1)), Verdict::Foreign, "nothing is held, and it follows one");
    assert_eq!(Standing { may_adopt: true, ..fresh }.judge(name(2, 1, 1)), Verdict::Newer);
    let refusing = Standing { refused: Some(name(1, 6, 6)), ..standing };
    assert_eq!(refusing.judge(name(1, 6, 6)), Verdict::Refused);
    assert_eq!(refusing.judge(name(1, 7, 7)), Verdict::Newer);
}

#[test]
fn an_older_head_does_not_take_the_place_of_what_is_coming() {
    let (held, coming) = (Some(name(1, 5, 5)), Some(name(1, 7, 7)));
    let standing = Standing { held, coming, ..Standing::default() };
    for late in [name(1, 6, 6), name(1, 7, 7), name(1, 7, 8)] {
        assert_eq!(standing.judge(late), Verdict::Coming);
        assert!(!standing.gives_up(late));
    }
    assert_eq!(standing.judge(name(1, 5, 5)), Verdict::Held);
    assert_eq!(standing.judge(name(1, 8, 8)), Verdict::Newer);
}

#[test]
fn a_head_that_nobody_has_the_body_of_gives_way_to_one_below_it_but_not_below_what_is_held() {
    let (held, coming) = (Some(name(1, 5, 5)), Some(name(1, 9, 9)));
    let asked = Standing { held, coming, is_unanswered: true, ..Standing::default() };
    assert!(asked.gives_up(name(1, 6, 6)));
    assert!(asked.gives_up(name(1, 5, 5)));
    assert!(!asked.gives_up(name(1, 4, 4)));
    assert!(!asked.gives_up(name(1, 9, 9)));
    assert!(!asked.gives_up(name(2, 1, 1)));
    let answered = Standing { is_unanswered: false, ..asked };
    assert!(!answered.gives_up(name(1, 6, 6)), "the hub was not asked yet");
}

#[test]
fn a_body_in_chunks_is_held_once_it_is_whole_and_kept() {
    let (mut session, mut body) = (Session::new(guard(&[1], 0), None), [0; 8]);
    let offered = name(1, 1, 10);
    let hash = offered.hash;
    assert_eq!(hear(&mut session, offered, 4, 8), Step::Want { hash, offset: 0 });
    assert_eq!(session.chunk(hash, 0, &[1, 2], &mut body, digest), Step::Rest);
    assert_eq!(session.chunk(hash, 0, &[1, 2], &mut body, digest), Step::Rest, "twice");
    assert_eq!(session.chunk(hash, 2, &[3, 4, 5], &mut body, digest), Step::Rest, "too long");
    assert_eq!(session.chunk(hash, 2, &[3, 5], &mut body, digest), Step::Want { hash, offset: 0 });
    assert_eq!(session.chunk(hash, 0, &[1, 2, 3, 4], &mut body, digest), Step::Body(offered));
    assert_eq!(session.held(), None);
    session.kept();
    assert_eq!((session.held(), session.coming()), (Some(offered), None));
    assert_eq!(hear(&mut session, offered, 4, 8), Step::Report);
}

#[test]
fn a_body_without_room_is_refused_with_the_bound_and_once() {
    let mut session = Session::new(guard(&[1], 0), Some(name(1, 1, 1)));
    for (generation, length) in [(2, 9), (3, 0)] {
        let offered = name(1, generation, 2);
        let refused = Step::Refuse { name: offered, length, room: 8 };
        assert_eq!(hear(&mut session, offered, length, 8), refused);
        assert_eq!(hear(&mut session, offered, length, 8), Step::Rest);
    }
    assert_eq!((session.held(), session.coming()), (Some(name(1, 1, 1)), None));
    assert!(matches!(hear(&mut session, name(1, 4, 4), 8, 8), Step::Want { .. }));
}

#[test]
fn a_body_that_can_not_be_followed_is_not_asked_for_again() {
    let (mut session, mut body) = (Session::new(guard(&[1], 0), None), [0; 8]);
    let offered = name(1, 1, 3);
    hear(&mut session, offered, 2, 8);
    let whole = session.chunk(offered.hash, 0, &[1, 2], &mut body, digest);
    assert_eq!(whole, Step::Body(offered));
    assert_eq!(hear(&mut session, offered, 2, 8), Step::Body(offered), "it was not looked at yet");
    session.refuse();
    assert_eq!(hear(&mut session, offered, 2, 8), Step::Rest);
    assert_eq!((session.held(), session.coming()), (None, None));
}

#[test]
fn a_repeated_head_goes_on_where_the_body_is() {
    let (mut session, mut body) = (Session::new(guard(&[1], 0), None), [0; 8]);
    let offered = name(1, 1, 10);
    let hash = offered.hash;
    hear(&mut session, offered, 4, 8);
    session.chunk(hash, 0, &[1, 2], &mut body, digest);
    assert_eq!(hear(&mut session, offered, 4, 8), Step::Want { hash, offset: 2 });
    assert_eq!(session.chunk(hash, 2, &[3, 4], &mut body, digest), Step::Body(offered));
}

#[test]
fn late_heads_do_not_turn_a_session_back_and_the_answer_of_a_hub_without_the_body_does() {
    let mut body = [0; 8];
    let (held, older, newer) = (name(1, 5, 5), name(1, 6, 6), name(1, 7, 10));
    let again = |offset| Step::Want { hash: newer.hash, offset };
    for late in [held, older] {
        let mut session = Session::new(guard(&[1], 0), Some(held));
        assert_eq!(hear(&mut session, newer, 4, 8), again(0));
        assert_eq!(hear(&mut session, late, 4, 8), again(0));
        assert_eq!(session.chunk(newer.hash, 0, &[1, 2], &mut body, digest), Step::Rest);
        assert_eq!(hear(&mut session, late, 4, 8), again(2));
        assert_eq!(session.coming(), Some(newer));
        // Nothing of it came since: the hub has no more than this.
        let step = hear(&mut session, late, 4, 8);
        assert_eq!(session.coming(), (late == older).then_some(older));
        let other = Step::Want { hash: older.hash, offset: 0 };
        assert_eq!(step, if late == held { Step::Report } else { other });
    }
    let mut session = Session::new(guard(&[1], 0), Some(held));
    hear(&mut session, newer, 4, 8);
    assert_eq!(hear(&mut session, name(1, 4, 4), 4, 8), Step::Rest, "older than what is held");
    assert_eq!(session.coming(), Some(newer));
}

#[test]
fn frames_of_a_connection_count_from_one() {
    let mut session = Session::new(guard(&[1], 0), None);
    session.connected(7);
    let stamps = [session.next_stamp(), session.next_stamp()];
    assert_eq!(stamps.map(|stamp| (stamp.session, stamp.sequence)), [(7, 1), (7, 2)]);
    session.connected(8);
    assert_eq!(session.next_stamp().sequence, 1);
}

#[test]
fn a_head_that_the_hub_did_not_sign_moves_no_session_and_a_time_is_heard_once() {
    let mut session = Session::new(guard(&[1], 0), None);
    let offered = Head { assignment: name(1, 1, 1).into(), length: 4 };
    for (seed, to) in [(2, "pi"), (1, "pj")] {
        let bytes = seal(seed, to, 0, &offered);
        let frame = Frame::parse(&bytes).expect("a frame");
        assert_eq!(session.head(&frame, "pi", 8), Err(Refusal::Forged));
    }
    assert_eq!(session.coming(), None);
    let bytes = seal(1, "pi", 0, &Time { lineage: LINEAGE, unix_ms: 5 });
    let frame = Frame::parse(&bytes).expect("a frame");
    assert!(session.open::<Time>(&frame, "pi").is_ok());
    assert_eq!(session.open::<Time>(&frame, "pi"), Err(Refusal::Late));
    assert_eq!(session.guard().known_ms(), 5);
}
