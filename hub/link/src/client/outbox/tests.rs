//! The outbox on its own: what is sent next, what is sent again, and when the broker is given up.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use super::*;

const LIMITS: Limits = Limits { packet_bytes: 1000, window: 2 };

const BUDGET: usize = 10_000;

fn outbox() -> Outbox {
    Outbox::new(BUDGET)
}

fn now() -> Instant {
    Instant::now()
}

fn topics(outbox: &mut Outbox) -> Vec<String> {
    std::iter::from_fn(|| outbox.next(now())).map(|message| message.topic).collect()
}

#[test]
fn nothing_leaves_before_a_connection_and_only_kept_messages_wait_for_one() {
    let mut outbox = outbox();
    outbox.keep("head".into(), b"1".to_vec());
    assert!(!outbox.send("command".into(), b"x".to_vec()));
    assert_eq!(outbox.next(now()), None);
    outbox.connected(LIMITS);
    assert_eq!(topics(&mut outbox), ["head"]);
}

#[test]
fn only_the_newest_of_a_kept_message_is_sent() {
    let mut outbox = outbox();
    outbox.keep("head".into(), b"1".to_vec());
    outbox.keep("head".into(), b"2".to_vec());
    outbox.connected(LIMITS);
    assert_eq!(outbox.next(now()).unwrap().frame, b"2");
    assert_eq!(outbox.next(now()), None);
}

#[test]
fn every_kept_message_is_sent_again_after_a_connect_and_the_others_are_lost() {
    let mut outbox = outbox();
    outbox.connected(LIMITS);
    outbox.keep("head".into(), b"1".to_vec());
    assert!(outbox.send("command".into(), b"x".to_vec()));
    assert_eq!(topics(&mut outbox), ["head", "command"]);
    outbox.numbered(1);
    outbox.numbered(2);
    assert!(outbox.acknowledged(1, Answer::Taken, now()));
    outbox.disconnected();
    assert_eq!(outbox.lost(), 1);
    outbox.connected(LIMITS);
    assert_eq!(topics(&mut outbox), ["head"]);
}

#[test]
fn the_window_opens_with_acknowledgements() {
    let mut outbox = outbox();
    outbox.connected(LIMITS);
    for topic in ["a", "b", "c"] {
        assert!(outbox.send(topic.into(), b"x".to_vec()));
    }
    assert_eq!(topics(&mut outbox), ["a", "b"]);
    outbox.numbered(7);
    assert!(outbox.acknowledged(7, Answer::Taken, now()));
    assert!(!outbox.acknowledged(7, Answer::Taken, now()));
    assert_eq!(topics(&mut outbox), ["c"]);
}

#[test]
fn a_removal_is_repeated_until_it_is_acknowledged() {
    let mut outbox = outbox();
    outbox.keep("head".into(), Vec::new());
    for _ in 0..2 {
        outbox.connected(LIMITS);
        assert_eq!(topics(&mut outbox), ["head"]);
        outbox.numbered(1);
        if outbox.lost() == 0 {
            outbox.disconnected();
        }
    }
    outbox.connected(LIMITS);
    assert_eq!(topics(&mut outbox), ["head"]);
    outbox.numbered(1);
    assert!(outbox.acknowledged(1, Answer::Taken, now()));
    outbox.disconnected();
    outbox.connected(LIMITS);
    assert_eq!(topics(&mut outbox), Vec::<String>::new());
    assert!(outbox.is_idle());
}

#[test]
fn a_head_set_again_after_its_removal_was_sent_stays() {
    let mut outbox = outbox();
    outbox.connected(LIMITS);
    outbox.keep("head".into(), Vec::new());
    assert_eq!(topics(&mut outbox), ["head"]);
    outbox.numbered(1);
    outbox.keep("head".into(), b"3".to_vec());
    assert!(outbox.acknowledged(1, Answer::Taken, now()));
    assert_eq!(outbox.next(now()).unwrap().frame, b"3");
}

#[test]
fn a_message_larger_than_the_broker_takes_is_dropped_alone() {
    let mut outbox = outbox();
    outbox.connected(LIMITS);
    assert!(outbox.send("large".into(), vec![0; 1000]));
    assert!(outbox.send("small".into(), b"x".to_vec()));
    assert_eq!(topics(&mut outbox), ["small"]);
    assert_eq!(outbox.lost(), 1);
}

#[test]
fn a_message_put_back_is_the_next_again() {
    let mut outbox = outbox();
    outbox.connected(LIMITS);
    assert!(outbox.send("a".into(), b"x".to_vec()));
    assert!(outbox.send("b".into(), b"x".to_vec()));
    assert_eq!(outbox.next(now()).unwrap().topic, "a");
    outbox.put_back();
    assert_eq!(topics(&mut outbox), ["a", "b"]);
}

#[test]
fn what_holds_more_than_the_budget_is_refused_and_room_comes_back() {
    let mut outbox = outbox();
    outbox.connected(LIMITS);
    let accepted = (0..BUDGET).filter(|_| outbox.send("a".into(), Vec::new())).count();
    assert_eq!(accepted, BUDGET / (1 + WAITING_OVERHEAD));
    assert_eq!(outbox.held, accepted * (1 + WAITING_OVERHEAD));
    assert_eq!(outbox.next(now()).unwrap().topic, "a");
    assert!(outbox.send("b".into(), Vec::new()));
    outbox.disconnected();
    assert_eq!((outbox.held, outbox.lost()), (0, accepted as u64 + 1));
}

#[test]
fn a_head_goes_before_its_body_whatever_came_for_others() {
    let mut outbox = outbox();
    outbox.connected(Limits { window: 16, ..LIMITS });
    for device in ["b", "a"] {
        outbox.keep(format!("{device}/head"), b"1".to_vec());
        assert!(outbox.send(format!("{device}/part"), b"x".to_vec()));
    }
    outbox.keep("b/head".into(), b"2".to_vec());
    assert_eq!(outbox.next(now()).unwrap().frame, b"2");
    assert_eq!(topics(&mut outbox), ["b/part", "a/head", "a/part"]);
}

#[test]
fn heads_that_the_broker_may_have_lost_come_after_what_is_new() {
    let mut outbox = outbox();
    for topic in ["a", "b", "c"] {
        outbox.keep(topic.into(), b"1".to_vec());
    }
    outbox.connected(Limits { window: 16, ..LIMITS });
    outbox.keep("b".into(), b"2".to_vec());
    assert!(outbox.send("now".into(), b"x".to_vec()));
    assert_eq!(topics(&mut outbox), ["b", "now", "a", "c"]);
    assert_eq!(outbox.unsettled(), 4);
}
#[test]
fn only_acknowledgements_move_the_moment_at_which_a_silent_broker_is_given_up() {
    let start = now();
    let at = |s| start + Duration::from_secs(s);
    let gives_up = |s| Some(at(s) + ACKNOWLEDGE_TIMEOUT);
    let mut outbox = outbox();
    outbox.connected(LIMITS);
    assert_eq!((outbox.next(at(0)), outbox.deadline()), (None, None));
    for (second, topic) in [(1, "a"), (9, "b"), (17, "c")] {
        assert!(outbox.send(topic.into(), b"x".to_vec()));
        while outbox.next(at(second)).is_some() {}
        assert_eq!(outbox.deadline(), gives_up(1), "{topic}");
    }
    outbox.numbered(1);
    outbox.numbered(2);
    assert!(!outbox.acknowledged(7, Answer::Taken, at(18)));
    assert_eq!(outbox.deadline(), gives_up(1));
    assert!(outbox.acknowledged(1, Answer::Taken, at(20)));
    assert_eq!(outbox.deadline(), gives_up(20));
    assert_eq!(outbox.next(at(21)).unwrap().topic, "c");
    outbox.put_back();
    assert_eq!(outbox.deadline(), gives_up(20));
    assert!(outbox.acknowledged(2, Answer::Taken, at(22)));
    assert_eq!(outbox.deadline(), None);
    assert_eq!(outbox.next(at(30)).unwrap().topic, "c");
    assert_eq!(outbox.deadline(), gives_up(30));
    outbox.is_deaf();
    assert_eq!(outbox.deadline(), None);
    outbox.listens(at(99));
    assert_eq!(outbox.deadline(), gives_up(99));
    outbox.disconnected();
    assert_eq!(outbox.deadline(), None);
}
#[test]
fn a_kept_message_that_the_broker_does_not_take_is_sent_again_after_a_while() {
    let start = now();
    let mut outbox = outbox();
    outbox.connected(Limits { window: 16, ..LIMITS });
    outbox.keep("busy".into(), b"1".to_vec());
    outbox.keep("gone".into(), Vec::new());
    outbox.keep("newer".into(), b"1".to_vec());
    assert_eq!(topics(&mut outbox), ["busy", "gone", "newer"]);
    (1..=3).for_each(|packet| outbox.numbered(packet));
    outbox.keep("newer".into(), b"2".to_vec());
    for (packet, answer) in [(1, Answer::TooBusy), (2, Answer::Refused), (3, Answer::Refused)] {
        assert!(outbox.acknowledged(packet, answer, start));
    }
    assert_eq!((outbox.lost(), outbox.unsettled()), (0, 3));
    assert_eq!(outbox.next(start).unwrap().frame, b"2");
    outbox.numbered(4);
    assert!(outbox.acknowledged(4, Answer::Taken, start));
    assert!(outbox.is_idle());

    let retry = outbox.retry_at().unwrap();
    assert_eq!(outbox.next(retry - Duration::from_millis(1)), None);
    let again: Vec<_> = std::iter::from_fn(|| outbox.next(retry)).collect();
    let again: Vec<_> = again.iter().map(|message| (&*message.topic, &*message.frame)).collect();
    assert_eq!(again, [("busy", &b"1"[..]), ("gone", b"")]);
    assert_eq!(outbox.retry_at(), None);
    outbox.numbered(5);
    outbox.numbered(6);
    assert!(outbox.acknowledged(5, Answer::Taken, retry));
    assert!(outbox.acknowledged(6, Answer::Taken, retry));
    assert_eq!(outbox.unsettled(), 0);
    assert!(!outbox.kept.contains_key("gone"));
}

#[test]
fn a_message_of_the_moment_that_the_broker_does_not_take_is_lost() {
    let mut outbox = outbox();
    outbox.connected(LIMITS);
    assert!(outbox.send("command".into(), b"x".to_vec()));
    assert_eq!(topics(&mut outbox), ["command"]);
    outbox.numbered(1);
    assert!(outbox.acknowledged(1, Answer::Refused, now()));
    assert_eq!((outbox.lost(), outbox.unsettled(), outbox.retry_at()), (1, 0, None));
}
