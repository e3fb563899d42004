//! Which boards become devices, told by the engine's answers and by whom it lets in.

mod world;

use std::collections::BTreeMap;

use firmware_compat::{
    id::{AgentId, Hash},
    time::Instant,
};
use lichen_hub_core::{
    actor::Actor,
    api::{ApiError, Enrolment, JoinToken, Kind, Object, time::rfc3339},
    effect::{Effect, Response},
    engine::{Config, Engine},
    event::{Alter, EnrolRequest, Event, Now, RenewRequest, Request, RequestId},
};
use serde_json::{Value, json};
use world::World;

const DAY_MS: u64 = 24 * 3600 * 1000;
const START_MS: u64 = 1_800_000_000_000;

/// A hub's engine, its records, and whom its listener lets in.
struct Hub {
    engine: Engine,
    records: BTreeMap<String, Vec<u8>>,
    admitted: BTreeMap<String, Vec<Hash>>,
    unix_ms: u64,
}

impl Hub {
    fn new() -> Self {
        Self::start(BTreeMap::new(), START_MS)
    }

    fn start(records: BTreeMap<String, Vec<u8>>, unix_ms: u64) -> Self {
        let now = Now { instant: Instant(0), unix_ms };
        let engine =
            Engine::load(records.clone(), Config::default(), world::signer::signer(&[1]), now)
                .expect("sound records");
        let mut hub = Self { engine, records, admitted: BTreeMap::new(), unix_ms };
        hub.drain();
        hub
    }

    fn restart(self) -> Self {
        Self::start(self.records, self.unix_ms)
    }

    fn drain(&mut self) -> Option<Result<Response, ApiError>> {
        let mut answer = None;
        for effect in self.engine.drain() {
            match effect {
                Effect::Save(records) => records.into_iter().for_each(|record| {
                    match record.value {
                        Some(value) => self.records.insert(record.key, value),
                        None => self.records.remove(&record.key),
                    };
                }),
                Effect::Reply { result, .. } => answer = Some(result),
                Effect::Admit { device, keys } => drop(self.admitted.insert(device, keys)),
                Effect::Dismiss { device, .. } | Effect::Disown { device } => {
                    drop(self.admitted.remove(&device))
                }
                _ => {}
            }
        }
        answer
    }

    fn ask(&mut self, request: Request) -> Result<Response, ApiError> {
        let now = Now { instant: Instant(0), unix_ms: self.unix_ms };
        self.engine
            .handle(Event::Request { id: RequestId(1), actor: Actor::hub().into(), request }, now);
        self.drain().expect("every request is answered")
    }

    fn token(&mut self, secret: u8, spec: Value) {
        let mut spec = spec;
        spec["secretHash"] = json!(Hash([secret; 32]).to_string());
        let token = json!({"metadata": {"name": "t"}, "spec": spec});
        let token: JoinToken = serde_json::from_value(token).expect("a token");
        self.ask(Request::Create(token.into())).expect("created");
    }

    fn register(&mut self, name: &str, spec: Value) {
        let enrolment = json!({"metadata": {"name": name}, "spec": spec});
        let enrolment: Enrolment = serde_json::from_value(enrolment).expect("an enrolment");
        self.ask(Request::Create(enrolment.into())).expect("created");
    }

    fn enrolment(&mut self, name: &str) -> Enrolment {
        let (kind, namespace) = (Kind::Enrolment, String::new());
        let name = name.to_owned();
        match self.ask(Request::Get { kind, namespace, name }).expect("there") {
            Response::Object { object, .. } => match object.as_ref() {
                Object::Enrolment(enrolment) => enrolment.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, name: &str, change: impl Fn(&mut Enrolment)) {
        let mut enrolment = self.enrolment(name);
        change(&mut enrolment);
        self.ask(Request::Replace { object: enrolment.into(), create: false }).expect("changed");
    }

    fn enrol(&mut self, request: EnrolRequest) -> String {
        match self.ask(Request::Enrol(request)) {
            Ok(Response::Enrolled { name }) => format!("enrolled as {name}"),
            Ok(Response::EnrolmentPending { name }) => format!("{name} waits"),
            Ok(other) => panic!("{other:?}"),
            Err(error) => format!("refused: {error}"),
        }
    }

    fn is_in(&self, name: &str, key: u8) -> bool {
        self.admitted.get(name).is_some_and(|keys| keys.contains(&Hash([key; 32])))
    }
}

fn board(name: &str, key: u8) -> EnrolRequest {
    EnrolRequest {
        token: None,
        name: name.to_owned(),
        key: Hash([key; 32]),
        sealing_key: Hash([key; 32]),
        agent: AgentId([key; 16]),
        serial_number: String::new(),
        model: "Raspberry Pi 4".to_owned(),
        address: "192.0.2.7".to_owned(),
    }
}

/// One of many boards.
fn at(address: &str, number: u16) -> EnrolRequest {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&number.to_be_bytes());
    EnrolRequest { key: Hash(key), address: address.to_owned(), ..board(&format!("b-{number}"), 0) }
}

fn with_token(name: &str, key: u8, secret: u8) -> EnrolRequest {
    EnrolRequest { token: Some(("t".to_owned(), Hash([secret; 32]))), ..board(name, key) }
}

fn certified(device: &str, authority: Hash) -> Request {
    Request::Certified {
        device: device.to_owned(),
        not_after_ms: START_MS + 90 * DAY_MS,
        authority,
        serial: vec![0x40, authority.0[0]],
    }
}

#[track_caller]
fn check(said: &str, expected: &str) {
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_token_lets_in_as_many_devices_as_it_says_and_gives_them_its_labels() {
    let mut hub = Hub::new();
    hub.token(1, json!({"uses": 2, "labels": {"lichen.dev/site": "north"}}));
    check(&hub.enrol(with_token("pi-1", 11, 1)), "enrolled as pi-1");
    check(&hub.enrol(with_token("pi-2", 12, 1)), "enrolled as pi-2");
    check(&hub.enrol(with_token("pi-3", 13, 1)), "good for 2 devices, and they have joined");
    assert!(hub.is_in("pi-1", 11) && hub.is_in("pi-2", 12));
    assert!(!hub.is_in("pi-3", 13) && !hub.is_in("pi-1", 12));
    assert_eq!(hub.enrolment("pi-1").spec.labels["lichen.dev/site"], "north");
}

#[test]
fn whoever_asks_again_because_the_answer_was_lost_uses_the_token_once() {
    let mut hub = Hub::new();
    hub.token(1, json!({"uses": 1}));
    for _ in 0..3 {
        check(&hub.enrol(with_token("pi-1", 11, 1)), "enrolled as pi-1");
        hub = hub.restart();
        assert!(hub.is_in("pi-1", 11));
    }
    check(&hub.enrol(with_token("pi-1", 12, 1)), "another board is enrolled as pi-1");
}

/// The request is the same each time that a device sends it: whoever has seen one can send it, with other things beside it.
#[test]
fn a_request_that_is_repeated_changes_nothing_of_a_device() {
    let mut hub = Hub::new();
    hub.token(1, json!({"uses": 9}));
    hub.enrol(with_token("pi-1", 11, 1));
    let before = hub.enrolment("pi-1");
    let other = Hash([66; 32]);
    for token in [None, with_token("pi-1", 11, 1).token] {
        let sealing = EnrolRequest { sealing_key: other, token, ..board("pi-1", 11) };
        check(&hub.enrol(sealing), "another one for Secrets");
    }
    let agent = EnrolRequest { agent: AgentId([66; 16]), ..board("pi-1", 11) };
    check(&hub.enrol(agent), "from another state directory");
    let (model, address) = ("another".to_owned(), "198.51.100.1".to_owned());
    let again = EnrolRequest { serial_number: "x".into(), model, address, ..board("pi-1", 11) };
    check(&hub.enrol(again), "enrolled as pi-1");
    assert_eq!(hub.enrolment("pi-1").status, before.status);
    // One that an operator let in by its certificate says what else is to be known of it by renewing.
    let (device, address) = ("pi-3".to_owned(), "192.0.2.7".to_owned());
    let stranger = Event::Stranger { device, key: Hash([31; 32]), address };
    hub.engine.handle(stranger, Now { instant: Instant(0), unix_ms: hub.unix_ms });
    hub.drain();
    hub.say("pi-3", |enrolment| enrolment.spec.approved = true);
    check(&hub.enrol(board("pi-3", 31)), "another one for Secrets");
}

#[test]
fn whoever_has_had_its_answer_for_a_day_shows_its_certificate_or_a_token() {
    let mut hub = Hub::new();
    hub.token(1, json!({"uses": 2}));
    check(&hub.enrol(with_token("pi-1", 11, 1)), "enrolled as pi-1");
    hub.unix_ms += 9 * DAY_MS;
    // It was let in and has got nothing yet.
    check(&hub.enrol(with_token("pi-1", 11, 1)), "enrolled as pi-1");
    hub.ask(certified("pi-1", Hash([1; 32]))).expect("noted");
    check(&hub.enrol(board("pi-1", 11)), "enrolled as pi-1");
    hub.unix_ms += DAY_MS - 1;
    hub = hub.restart();
    check(&hub.enrol(board("pi-1", 11)), "enrolled as pi-1");
    hub.ask(certified("pi-1", Hash([1; 32]))).expect("noted");
    hub.unix_ms += 1;
    check(&hub.enrol(board("pi-1", 11)), "has to join again: lichen token create;");
    check(&hub.enrol(with_token("pi-1", 11, 2)), "does not know this token");
    check(&hub.enrol(with_token("pi-1", 11, 1)), "enrolled as pi-1");
    check(&hub.enrol(with_token("pi-1", 11, 1)), "enrolled as pi-1");
    hub.ask(certified("pi-1", Hash([1; 32]))).expect("noted");
    hub.unix_ms += DAY_MS;
    check(&hub.enrol(with_token("pi-1", 11, 1)), "good for 2 devices, and they have joined");
    assert!(hub.is_in("pi-1", 11), "nobody was put out");
}

#[test]
fn a_hub_without_room_for_a_device_leaves_its_token_as_it_is() {
    let mut hub = Hub::new();
    hub.token(1, json!({"uses": 1}));
    for number in 0..100_000 {
        hub.register(&format!("d-{number}"), json!({}));
    }
    for _ in 0..2 {
        check(&hub.enrol(with_token("pi-1", 11, 1)), "this hub has 100000 enrolments");
    }
    let (kind, namespace) = (Kind::Enrolment, String::new());
    hub.ask(Request::Delete { kind, namespace, name: "d-0".to_owned() }).expect("deleted");
    check(&hub.enrol(with_token("pi-1", 11, 1)), "enrolled as pi-1");
}

#[test]
fn a_token_ends_when_it_says_and_only_its_own_secret_opens() {
    let mut hub = Hub::new();
    hub.token(
        1,
        json!({"uses": 9, "namePattern": "kiosk-*", "expirationTime": rfc3339(START_MS + DAY_MS)}),
    );
    check(&hub.enrol(with_token("kiosk-1", 11, 2)), "does not know this token");
    let foreign = EnrolRequest { token: Some(("x".into(), Hash([1; 32]))), ..board("kiosk-1", 11) };
    check(&hub.enrol(foreign), "does not know this token");
    check(&hub.enrol(with_token("pi-1", 11, 1)), "for devices called kiosk-*");
    check(&hub.enrol(with_token("kiosk-1", 11, 1)), "enrolled as kiosk-1");
    hub.unix_ms += DAY_MS;
    check(&hub.enrol(with_token("kiosk-2", 12, 1)), "was good until 2027-01-16");
    // A clock that goes back makes it no better.
    hub.unix_ms = 0;
    check(&hub.enrol(with_token("kiosk-2", 12, 1)), "was good until 2027-01-16");
    let (kind, namespace) = (Kind::JoinToken, String::new());
    hub.ask(Request::Delete { kind, namespace, name: "t".to_owned() }).expect("deleted");
    check(&hub.enrol(with_token("kiosk-3", 13, 1)), "does not know this token");
}

#[test]
fn without_a_token_a_board_waits_for_an_operator() {
    let mut hub = Hub::new();
    check(&hub.enrol(board("pi-1", 11)), "pi-1 waits");
    check(&hub.enrol(board("pi-1", 11)), "pi-1 waits");
    check(&hub.enrol(board("pi-1", 12)), "another board asks to be pi-1");
    assert!(!hub.is_in("pi-1", 11));
    assert_eq!(hub.enrolment("pi-1").status.phase, "Pending");
    hub.say("pi-1", |enrolment| enrolment.spec.approved = true);
    assert!(hub.is_in("pi-1", 11));
    check(&hub.enrol(board("pi-1", 11)), "enrolled as pi-1");
    check(&hub.enrol(board("pi-1", 12)), "another board is enrolled as pi-1");
}

#[test]
fn a_board_that_waits_gives_its_name_to_one_with_a_token() {
    let mut hub = Hub::new();
    hub.token(1, json!({"uses": 9}));
    check(&hub.enrol(board("pi-1", 11)), "pi-1 waits");
    check(&hub.enrol(with_token("pi-1", 12, 2)), "does not know this token");
    hub.unix_ms += DAY_MS;
    check(&hub.enrol(with_token("pi-1", 12, 1)), "enrolled as pi-1");
    assert!(hub.is_in("pi-1", 12) && !hub.is_in("pi-1", 11));
    assert_eq!(hub.enrolment("pi-1").status.requested_at, Some(rfc3339(START_MS + DAY_MS)));
    check(&hub.enrol(board("pi-1", 11)), "another board is enrolled as pi-1");
    // One that was approved, or that has a certificate of this hub's, does not.
    check(&hub.enrol(board("pi-2", 21)), "pi-2 waits");
    hub.say("pi-2", |enrolment| enrolment.spec.approved = true);
    check(&hub.enrol(with_token("pi-2", 22, 1)), "another board is enrolled as pi-2");
    let (device, address) = ("pi-3".to_owned(), "192.0.2.7".to_owned());
    let stranger = Event::Stranger { device, key: Hash([31; 32]), address };
    hub.engine.handle(stranger, Now { instant: Instant(0), unix_ms: hub.unix_ms });
    hub.drain();
    check(&hub.enrol(with_token("pi-3", 32, 1)), "another board asks to be pi-3");
}

#[test]
fn a_registered_serial_number_brings_its_name_and_works_once() {
    let mut hub = Hub::new();
    hub.register("gate", json!({"approved": true, "serialNumber": "1000000abc"}));
    assert!(hub.admitted.is_empty());
    let with =
        |serial: &str, key| EnrolRequest { serial_number: serial.into(), ..board("pi", key) };
    check(&hub.enrol(with("1000000abc", 11)), "enrolled as gate");
    assert!(hub.is_in("gate", 11));
    check(&hub.enrol(with("1000000abc", 12)), "pi waits");
    // The board was retired, and is expected under another name.
    hub.say("gate", |enrolment| enrolment.spec.revoked = true);
    hub.register("west", json!({"approved": true, "serialNumber": "1000000abc"}));
    check(&hub.enrol(with("1000000abc", 13)), "enrolled as west");
}

#[test]
fn a_name_that_is_kept_for_a_serial_number_is_nobody_elses_without_a_token() {
    let mut hub = Hub::new();
    hub.register("door", json!({"approved": true, "serialNumber": "2"}));
    let with =
        |serial: &str, key| EnrolRequest { serial_number: serial.into(), ..board("door", key) };
    check(&hub.enrol(board("door", 13)), "door is kept for a board with another serial number");
    check(&hub.enrol(with("3", 13)), "door is kept for a board with another serial number");
    assert_eq!(hub.enrolment("door").status.phase, "Registered");
    check(&hub.enrol(with("2", 11)), "enrolled as door");
    assert!(hub.is_in("door", 11));

    hub.register("gate", json!({"approved": true, "serialNumber": "4"}));
    hub.token(1, json!({"uses": 1}));
    check(&hub.enrol(with_token("gate", 12, 2)), "does not know this token");
    assert_eq!(hub.enrolment("gate").status.phase, "Registered");
    check(&hub.enrol(with_token("gate", 12, 1)), "enrolled as gate");
}

#[test]
fn who_was_revoked_or_forgotten_is_out_and_stays_out() {
    let mut hub = Hub::new();
    hub.token(1, json!({"uses": 9}));
    hub.enrol(with_token("pi-1", 11, 1));
    hub.say("pi-1", |enrolment| enrolment.spec.revoked = true);
    assert!(!hub.is_in("pi-1", 11));
    check(&hub.enrol(with_token("pi-1", 11, 1)), "pi-1 was revoked by an operator");
    hub = hub.restart();
    assert!(!hub.is_in("pi-1", 11));
    let (kind, namespace) = (Kind::Enrolment, String::new());
    hub.ask(Request::Delete { kind, namespace, name: "pi-1".to_owned() }).expect("deleted");
    check(&hub.enrol(with_token("pi-1", 12, 1)), "enrolled as pi-1");
    assert!(hub.is_in("pi-1", 12) && !hub.is_in("pi-1", 11));
}

#[test]
fn a_renewal_may_bring_a_new_key_and_needs_one_that_is_known() {
    let mut hub = Hub::new();
    hub.token(1, json!({"uses": 9}));
    hub.enrol(with_token("pi-1", 11, 1));
    let renew = |key: u8, new_key: u8| {
        Request::Renew(RenewRequest {
            device: "pi-1".to_owned(),
            key: Hash([key; 32]),
            new_key: Hash([new_key; 32]),
            sealing_key: Hash([7; 32]),
            agent: AgentId([11; 16]),
        })
    };
    hub.ask(renew(11, 21)).expect("renewed");
    assert!(hub.is_in("pi-1", 11) && hub.is_in("pi-1", 21));
    // The answer was lost: the same may be asked again, and nothing else.
    hub.ask(renew(11, 21)).expect("renewed");
    for other in [11, 41] {
        let refused = hub.ask(renew(11, other)).expect_err("refused").to_string();
        check(&refused, "may only ask for the very same again");
    }
    assert!(hub.is_in("pi-1", 11) && hub.is_in("pi-1", 21));
    // Once the newer key was shown, the older one is good for nothing.
    hub.ask(renew(21, 21)).expect("renewed");
    assert!(!hub.is_in("pi-1", 11) && hub.is_in("pi-1", 21));
    hub.ask(renew(21, 31)).expect("renewed");
    assert!(hub.is_in("pi-1", 21) && hub.is_in("pi-1", 31));
    let shown = |key: u8| Request::Shown { device: "pi-1".to_owned(), key: Hash([key; 32]) };
    hub.ask(shown(21)).expect("noted");
    assert!(hub.is_in("pi-1", 21));
    hub.ask(shown(31)).expect("noted");
    assert!(!hub.is_in("pi-1", 21) && hub.is_in("pi-1", 31));
    hub = hub.restart();
    assert!(!hub.is_in("pi-1", 21) && hub.is_in("pi-1", 31));
    let refused = hub.ask(renew(11, 41)).expect_err("refused").to_string();
    check(&refused, "not enrolled here with this key");
    hub.say("pi-1", |enrolment| enrolment.spec.revoked = true);
    assert!(hub.ask(renew(31, 31)).is_err());
}

#[test]
fn no_renewal_takes_back_what_an_operator_changed_on_a_node() {
    let mut world = World::new();
    world.enrol("pi");
    let say = |world: &mut World, labels: Value| {
        let spec = json!({"serialNumber": "pi", "approved": true, "labels": labels});
        let enrolment = json!({"metadata": {"name": "pi"}, "spec": spec});
        world.apply(Kind::Enrolment, &enrolment).expect("it can be changed");
    };
    let labels = |world: &World| {
        let device = world.engine.state().fleet.get("pi").expect("it is there");
        let labels = device.operator.labels.iter().map(|(name, value)| format!("{name}={value}"));
        labels.collect::<Vec<_>>().join(" ")
    };
    say(&mut world, json!({"site": "barn", "tier": "edge"}));
    world.join("pi", &[]);
    assert_eq!(labels(&world), "site=barn tier=edge");
    let alter = Alter::new(|object| {
        let mut object = object.clone();
        let labels = &mut object.meta_mut().labels;
        labels.insert("site".to_owned(), "house".to_owned());
        labels.remove("tier");
        Ok(object)
    });
    let (kind, namespace, name) = (Kind::Node, String::new(), "pi".to_owned());
    world.request(Request::Alter { kind, namespace, name, alter }).expect("it can be changed");
    assert_eq!(labels(&world), "site=house");
    world.rekey("pi", 1);
    assert_eq!(labels(&world), "site=house");
    // What the admission says anew counts, and that alone.
    say(&mut world, json!({"site": "barn", "tier": "edge", "room": "7"}));
    assert_eq!(labels(&world), "room=7 site=house");
    say(&mut world, json!({"site": "field", "tier": "edge", "room": "7"}));
    assert_eq!(labels(&world), "room=7 site=field");
}

#[test]
fn those_who_wait_are_bounded_and_the_oldest_makes_room_after_a_day() {
    let mut hub = Hub::new();
    for number in 0..256_u16 {
        check(&hub.enrol(at(&format!("192.0.2.{}", number / 32), number)), "waits");
    }
    check(&hub.enrol(at("192.0.2.9", 256)), "256 boards wait for approval already");
    hub.unix_ms += DAY_MS;
    check(&hub.enrol(at("192.0.2.9", 256)), "b-256 waits");
}

#[test]
fn those_who_wait_at_one_address_leave_room_for_others() {
    let mut hub = Hub::new();
    for (address, neighbour, other) in [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:0:0:9", "2001:db8:0:1::1"),
    ] {
        let first = if address.contains(':') { 100 } else { 0 };
        for number in first..first + 32 {
            check(&hub.enrol(at(address, number)), "waits");
        }
        check(&hub.enrol(at(neighbour, first + 33)), "boards at");
        check(&hub.enrol(at(other, first + 33)), "waits");
        // Who waits already is told so.
        check(&hub.enrol(at(address, first)), "waits");
    }
}

#[test]
fn refusals_are_one_event_with_a_count_whatever_is_asked_for() {
    let mut hub = Hub::new();
    hub.enrol(board("pi", 1));
    for number in 0..10 {
        let request =
            EnrolRequest { token: Some(("x".into(), Hash([0; 32]))), ..at("192.0.2.1", number) };
        check(&hub.enrol(request), "does not know this token");
    }
    let list = hub.ask(Request::List { kind: Kind::Event, namespace: None }).expect("a list");
    let Response::List(list) = list else { panic!("{list:?}") };
    let events: Vec<_> = list
        .objects
        .iter()
        .map(|object| match object.as_ref() {
            Object::Event(event) => {
                (event.involved_object.name.as_str(), event.reason.as_str(), event.count, event)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let [("pi", "EnrolmentPending", 1, _), ("all", "EnrolmentRefused", 10, newest)] = events[..]
    else {
        panic!("{events:?}")
    };
    assert!(newest.message.starts_with("a board at 192.0.2.1 may not join as b-9: "), "{newest:?}");
}

#[test]
fn a_device_that_a_restored_hub_does_not_know_can_be_approved() {
    let mut hub = Hub::new();
    let stranger = Event::Stranger {
        device: "pi-1".to_owned(),
        key: Hash([11; 32]),
        address: "192.0.2.7".to_owned(),
    };
    for _ in 0..2 {
        hub.engine.handle(stranger.clone(), Now { instant: Instant(0), unix_ms: hub.unix_ms });
        hub.drain();
    }
    assert_eq!(hub.enrolment("pi-1").status.phase, "Pending");
    assert!(!hub.is_in("pi-1", 11));
    hub.say("pi-1", |enrolment| enrolment.spec.approved = true);
    assert!(hub.is_in("pi-1", 11));
}

#[test]
fn names_that_are_none_never_become_devices() {
    let mut hub = Hub::new();
    hub.token(1, json!({"uses": 9}));
    for name in ["", "all", "../x", "a/b", "#", "+", "a\0b", "PI", "-a", &"x".repeat(64)] {
        check(&hub.enrol(with_token(name, 11, 1)), "can't be a device's name");
    }
    assert!(hub.admitted.is_empty());
}

#[test]
fn who_was_left_behind_by_a_new_ca_is_told_until_it_has_a_certificate_of_that() {
    let mut hub = Hub::new();
    hub.token(1, json!({"uses": 9}));
    for (name, key) in [("pi-1", 11), ("pi-2", 12), ("pi-3", 13)] {
        hub.enrol(with_token(name, key, 1));
    }
    let [old, new] = [Hash([1; 32]), Hash([2; 32])];
    // The third one never got its certificate: it has nothing that could be of an old CA.
    hub.ask(certified("pi-1", old)).expect("noted");
    hub.ask(certified("pi-2", old)).expect("noted");
    let counted = |hub: &mut Hub, authority| match hub.ask(Request::CountTrust { authority }) {
        Ok(Response::TrustCounts(counts)) => (counts.of_authority, counts.certificates),
        other => panic!("{other:?}"),
    };
    assert_eq!((counted(&mut hub, old), counted(&mut hub, new)), ((2, 2), (0, 2)));
    hub.ask(certified("pi-1", new)).expect("noted");
    assert_eq!(counted(&mut hub, new), (1, 2));

    let told = |hub: &mut Hub| {
        ["pi-1", "pi-2", "pi-3"].map(|name| hub.enrolment(name).status.message.contains("pi-2"))
    };
    hub.ask(Request::OnlyAuthority { authority: new }).expect("noted");
    assert_eq!(told(&mut hub), [false, true, false]);
    let message = hub.enrolment("pi-2").status.message;
    check(&message, "lichen token create; on the device, remove the file identity/hub.json");
    // That is all it takes: it comes with the key that it had.
    check(&hub.enrol(with_token("pi-2", 12, 1)), "enrolled as pi-2");
    hub = hub.restart();
    assert_eq!(told(&mut hub), [false, true, false]);
    hub.ask(certified("pi-2", new)).expect("noted");
    assert_eq!(told(&mut hub), [false; 3]);
}

#[test]
fn every_certificate_of_a_device_that_was_revoked_or_forgotten_is_told_of_until_it_has_ended() {
    let mut hub = Hub::new();
    hub.token(1, json!({"uses": 9}));
    for (name, key) in [("pi-1", 11), ("pi-2", 12)] {
        hub.enrol(with_token(name, key, 1));
    }
    let certified = |hub: &mut Hub, device: &str, serial: u8, days: u64| {
        let (device, not_after_ms) = (device.to_owned(), START_MS + days * DAY_MS);
        let (authority, serial) = (Hash([1; 32]), vec![0x40, serial]);
        hub.ask(Request::Certified { device, not_after_ms, authority, serial })
    };
    let revoked = |hub: &mut Hub| match hub.ask(Request::ListRevoked) {
        Ok(Response::Revoked(serials)) => {
            serials.iter().map(|serial| serial[1]).collect::<Vec<u8>>()
        }
        other => panic!("{other:?}"),
    };
    let nobody: Vec<u8> = Vec::new();
    for (device, serial, days) in
        [("pi-1", 1, 60), ("pi-1", 2, 90), ("pi-1", 2, 90), ("pi-2", 3, 90)]
    {
        certified(&mut hub, device, serial, days).expect("noted");
    }
    assert_eq!(hub.enrolment("pi-1").status.certificates.len(), 2, "one number counts once");
    assert_eq!(revoked(&mut hub), nobody);

    hub.say("pi-1", |enrolment| enrolment.spec.revoked = true);
    assert_eq!(revoked(&mut hub), [1, 2]);
    hub.say("pi-1", |enrolment| enrolment.spec.revoked = false);
    assert_eq!(revoked(&mut hub), nobody, "whoever is let in again is let in everywhere");
    hub.say("pi-1", |enrolment| enrolment.spec.revoked = true);
    let (kind, namespace) = (Kind::Enrolment, String::new());
    hub.ask(Request::Delete { kind, namespace, name: "pi-2".to_owned() }).expect("deleted");
    assert_eq!(revoked(&mut hub), [1, 2, 3]);
    hub = hub.restart();
    assert_eq!(revoked(&mut hub), [1, 2, 3]);
    // A month longer than they last, for a broker's clock that is behind.
    hub.unix_ms = START_MS + 100 * DAY_MS;
    hub = hub.restart();
    assert_eq!(revoked(&mut hub), [2, 3]);
    hub.unix_ms = START_MS + 121 * DAY_MS;
    hub = hub.restart();
    assert_eq!(revoked(&mut hub), nobody);
    assert!(!hub.records.keys().any(|key| key.starts_with("withdrawn/")));
}

#[test]
fn a_device_that_makes_ever_new_keys_gets_no_certificate_that_the_hub_could_forget() {
    let mut hub = Hub::new();
    hub.token(1, json!({"uses": 1}));
    hub.enrol(with_token("pi-1", 11, 1));
    let certified = |hub: &mut Hub, serial: u8, day: u64| {
        let (device, not_after_ms) = ("pi-1".to_owned(), START_MS + day * DAY_MS);
        let (authority, serial) = (Hash([1; 32]), vec![0x40, serial]);
        hub.ask(Request::Certified { device, not_after_ms, authority, serial })
    };
    for serial in 0..128 {
        certified(&mut hub, serial, 90).expect("noted");
    }
    let refused = certified(&mut hub, 200, 90).expect_err("it is enough");
    assert!(refused.to_string().contains("lichen device revoke pi-1"), "{refused}");
    certified(&mut hub, 5, 90).expect("one that it has");
    hub.unix_ms = START_MS + 121 * DAY_MS;
    hub = hub.restart();
    certified(&mut hub, 200, 211).expect("the others have ended");
    assert_eq!(hub.enrolment("pi-1").status.certificates.len(), 1);
}
