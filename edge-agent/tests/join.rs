//! Joining a hub: over real TLS, with hubs that are away, undecided, strange or wrong.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use firmware_compat::enrolment::{Address, CONNECT_PATH, ENROL_PATH, EnrolRequest};
use lichen_agent::{
    hub::{HubClient, HubError},
    identity::{Identity, IdentityDir},
    join::{self, Invitation, JoinError},
    known_time::KnownTime,
    state::StateDir,
    tls::{self, first_contact::FirstContact},
};
use support::{
    authority::{Authority, BEGINNING, NO_END},
    http::Server,
};

/// 2100-01-01 and 2023-11-14, in milliseconds since 1970.
const IN_2100: u64 = 4_102_444_800_000;
const IN_2023: u64 = 1_700_000_000_000;

/// A device that is about to join, and what it says and does.
struct Device {
    dir: tempfile::TempDir,
    state: StateDir,
    told: Vec<String>,
    pauses: Vec<Duration>,
}

impl Device {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        Self { dir, state, told: Vec::new(), pauses: Vec::new() }
    }

    /// Whoever waits makes `meanwhile` happen.
    fn join_while(
        &mut self,
        invitation: &Invitation,
        mut meanwhile: impl FnMut(usize),
    ) -> Result<Identity, JoinError> {
        let Self { state, told, pauses, .. } = self;
        let mut pause = |time| {
            pauses.push(time);
            meanwhile(pauses.len());
        };
        join::join(
            state,
            invitation,
            Some("pi"),
            &mut |line| told.push(line.to_owned()),
            &mut pause,
        )
    }

    fn join(&mut self, hub: &Server) -> Result<Identity, JoinError> {
        self.join_while(&hub.invitation(), |_| panic!("it should not wait"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state.path().join("identity").join(name)
    }

    fn loaded(&self) -> Option<Identity> {
        IdentityDir::of(&self.state).load().unwrap()
    }

    fn set_known_time(&self, unix_ms: u64) {
        self.state.set_time_floor(unix_ms).unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn requests(hub: &Server) -> Vec<EnrolRequest> {
    let asked = hub.asked().into_iter().filter(|asked| asked.path == ENROL_PATH);
    asked.map(|asked| serde_json::from_slice(&asked.body).unwrap()).collect()
}

#[test]
fn a_device_joins_with_keys_of_its_own_that_nobody_else_can_read() {
    let (hub, mut device) = (Server::start(), Device::new());
    let identity = device.join(&hub).unwrap();
    assert_eq!(identity.name(), "pi");
    assert_eq!(device.told, ["joined the hub as \"pi\""]);
    for name in ["key.pem", "sealing.key", "certificate.pem", "hub.json"] {
        assert_eq!(mode(&device.path(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&device.path("")), 0o700);
    let request = &requests(&hub)[0];
    assert_eq!(request.token, hub.invitation().secret);
    assert_eq!(request.sealing_key, identity.keys.sealing_key());
    assert_eq!(request.agent, device.state.agent_id().unwrap());
    assert!(hub.asked()[0].shown.is_none(), "nothing is shown before there is something to show");
    let loaded = device.loaded().unwrap();
    assert_eq!(loaded.hub, identity.hub);
    assert_eq!(loaded.certified.cert, identity.certified.cert);
    // What time it is for the hub that is believed from now on, the device believes as well.
    assert_eq!(device.state.time_floor().unwrap(), IN_2023);
}

#[test]
fn a_device_that_has_joined_says_so_and_another_hub_is_refused() {
    let (hub, other, mut device) = (Server::start(), Server::start(), Device::new());
    device.join(&hub).unwrap();
    device.join(&hub).unwrap();
    assert_eq!(device.told.last().unwrap(), "this device is \"pi\" of this hub already");
    assert_eq!(hub.count(ENROL_PATH), 1);
    let error = device.join(&other).unwrap_err().to_string();
    let dir = device.path("").display().to_string();
    let dir = dir.trim_end_matches('/');
    assert!(error.contains("lichen device forget pi") && error.contains(dir), "{error}");
    assert_eq!(other.count(ENROL_PATH), 0);
    // Without a fingerprint the address tells.
    let by_address = Invitation { fingerprint: None, secret: None, ..hub.invitation() };
    device.join_while(&by_address, |_| {}).unwrap();
    let elsewhere = Invitation { fingerprint: None, secret: None, ..other.invitation() };
    assert!(matches!(device.join_while(&elsewhere, |_| {}), Err(JoinError::OtherHub { .. })));
}

#[test]
fn a_device_is_led_to_where_its_hub_has_moved_by_another_token() {
    let (hub, mut device) = (Server::start(), Device::new());
    device.join(&hub).unwrap();
    let moved = Address::parse("hub.example:443").unwrap();
    let known = hub.invitation().addresses;
    let invitation = Invitation { addresses: vec![moved.clone()], ..hub.invitation() };
    device.join_while(&invitation, |_| {}).unwrap();
    let said = "and looks for it at hub.example:443, first until it says where it is";
    assert_eq!(device.told.last().unwrap(), said);
    let expected: Vec<Address> = [moved].into_iter().chain(known).collect();
    assert_eq!(device.loaded().unwrap().hub.facts.addresses.to_vec(), expected);
    device.join_while(&invitation, |_| {}).unwrap();
    assert_eq!(device.told.last().unwrap(), "this device is \"pi\" of this hub already");
    assert_eq!(hub.count(ENROL_PATH), 1);
}

/// It has moved and changes its CA, and the device has asked it nothing since.
#[test]
fn a_token_with_the_next_ca_of_its_hub_leads_a_device_there() {
    let (hub, mut device) = (Server::start(), Device::new());
    device.join(&hub).unwrap();
    let next = Authority::new();
    let invitation = Invitation { fingerprint: Some(next.fingerprint()), ..hub.invitation() };
    let error = device.join_while(&invitation, |_| {}).unwrap_err();
    assert!(matches!(error, JoinError::OtherHub { .. }), "the hub says nothing of it: {error}");
    hub.change_facts(|facts| {
        facts.ca = [&*facts.ca, &*next.pem()].concat().as_str().try_into().unwrap()
    });
    device.join_while(&invitation, |_| panic!("it should not wait")).unwrap();
    assert_eq!(device.told.last().unwrap(), "this device is \"pi\" of this hub already");
    assert_eq!(device.loaded().unwrap().authorities.len(), 2);
    assert_eq!(hub.count(ENROL_PATH), 1);
}

#[test]
fn where_the_hub_was_reached_is_kept_though_it_names_other_addresses() {
    let (hub, mut device) = (Server::start(), Device::new());
    let inside = Address::parse("172.17.0.2:6183").unwrap();
    hub.change_facts(|facts| facts.addresses = vec![inside.clone()].try_into().unwrap());
    device.join(&hub).unwrap();
    assert_eq!(device.loaded().unwrap().hub.addresses(), [inside, hub.hub()]);
}

#[test]
fn a_network_that_is_away_is_waited_for() {
    let (hub, mut device) = (Server::start(), Device::new());
    hub.refuse_http(true);
    let comes_back = |pauses| hub.refuse_http(pauses < 12);
    device.join_while(&hub.invitation(), comes_back).unwrap();
    assert_eq!(device.pauses.len(), 12);
    // The pauses grow, and end below a minute.
    assert!(device.pauses[0] < Duration::from_secs(2), "{:?}", device.pauses);
    assert!(device.pauses[11] > Duration::from_secs(25), "{:?}", device.pauses);
    assert!(device.pauses.iter().all(|pause| *pause <= Duration::from_secs(60)));
    // One line says it, not twelve.
    assert_eq!(device.told.len(), 2, "{:?}", device.told);
    assert!(device.told[0].contains("could not reach the hub"), "{:?}", device.told);
}

/// It is said in clear, before anybody has shown who he is.
#[test]
fn an_alert_from_anybody_is_a_network_that_is_away() {
    let anybody = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = support::http::as_address(anybody.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = anybody.accept().unwrap();
        let mut hello = [0; 4096];
        assert_ne!(stream.read(&mut hello).unwrap(), 0);
        // Fatal: access denied.
        stream.write_all(&[0x15, 3, 3, 0, 2, 2, 49]).unwrap();
        while stream.read(&mut hello).is_ok_and(|length| length > 0) {}
    });
    let contact = Arc::new(FirstContact::new(None));
    let tls = tls::first_contact(contact, &KnownTime::from(0)).unwrap();
    let error = HubClient::new(tls, vec![place]).connect().unwrap_err();
    assert!(matches!(&error, HubError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("AccessDenied") && error.is_passing(), "{error}");
}

#[test]
fn a_hub_that_is_busy_is_asked_again() {
    let (hub, mut device) = (Server::start(), Device::new());
    hub.answer_once(ENROL_PATH, 503, r#"{"message":"too many at once"}"#);
    device.join_while(&hub.invitation(), |_| {}).unwrap();
    assert!(device.told[0].contains("too many at once"), "{:?}", device.told);
}

#[test]
fn an_operator_who_has_to_approve_is_waited_for_and_told_what_to_type() {
    let (hub, mut device) = (Server::start(), Device::new());
    for seconds in [30, 30, 0, 100_000] {
        let pending =
            format!(r#"{{"pending":true,"name":"pi-2","message":"","retryAfterS":{seconds}}}"#);
        hub.answer_once(ENROL_PATH, 202, &pending);
    }
    device.join_while(&hub.invitation(), |_| {}).unwrap();
    assert_eq!(device.pauses.iter().map(Duration::as_secs).collect::<Vec<_>>(), [30, 30, 2, 600]);
    assert_eq!(device.told.len(), 2);
    assert!(device.told[0].ends_with("lichen device approve pi-2"), "{:?}", device.told);
}

/// Whoever answers first may be anybody.
#[test]
fn what_a_hub_says_drives_no_terminal_and_gets_into_no_command() {
    let (hub, mut device) = (Server::start(), Device::new());
    for (name, message) in [("x; reboot", "m"), ("pi\\u001b[2J", "m"), ("pi", "a\\u001b[2J\\nb")] {
        let pending =
            format!(r#"{{"pending":true,"name":"{name}","message":"{message}","retryAfterS":5}}"#);
        hub.answer_once(ENROL_PATH, 202, &pending);
    }
    hub.answer_once(ENROL_PATH, 403, r#"{"message":"no\u001b]0;x\u0007\nway"}"#);
    let error = device.join_while(&hub.invitation(), |_| {}).unwrap_err().to_string();
    assert_eq!(error, "could not join: the hub refuses: no ]0;x  way");
    assert_eq!(device.told.len(), 2, "{:?}", device.told);
    assert!(device.told[0].contains("its name is none"), "{:?}", device.told);
    assert!(device.told[1].contains("(a [2J b)"), "{:?}", device.told);
    assert!(!device.told.concat().contains(['\u{1b}', '\n']));
    assert!(!device.told.concat().contains("reboot"));
}

#[test]
fn a_hub_that_says_no_ends_it_with_its_reason() {
    for (status, said) in
        [(401, "the token is used up"), (403, "denied"), (409, "pi is taken, use pi-2")]
    {
        let (hub, mut device) = (Server::start(), Device::new());
        hub.answer_once(ENROL_PATH, status, &format!(r#"{{"message":"{said}"}}"#));
        let error = device.join(&hub).unwrap_err();
        assert_eq!(error.to_string(), format!("could not join: the hub refuses: {said}"));
        assert!(device.loaded().is_none());
    }
}

#[test]
fn a_hub_with_another_authority_than_the_token_says_gets_nothing_and_the_right_one_is_waited_for() {
    let (hub, mut device) = (Server::start(), Device::new());
    let own = hub.with_authority(Authority::server);
    let other = Authority::new();
    hub.show(other.server());
    let comes_back = |pauses| {
        assert_eq!(hub.asked().len(), 0, "not even the token was shown");
        if pauses == 3 {
            hub.show(own.clone());
        }
    };
    device.join_while(&hub.invitation(), comes_back).unwrap();
    assert_eq!(device.pauses, [Duration::from_secs(60); 3]);
    let [text, _joined] = &device.told[..] else { panic!("{:?}", device.told) };
    let expected = hub.invitation().fingerprint.unwrap().to_string();
    let theirs = other.fingerprint().to_string();
    assert!(text.contains(&theirs) && text.contains(&expected), "{text}");
    assert!(text.contains("lichen token create"), "{text}");
}

#[test]
fn a_hub_that_is_found_at_one_of_its_addresses_is_joined() {
    let (hub, other, mut device) = (Server::start(), Server::start(), Device::new());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = vec![support::http::as_address(nobody), other.hub(), hub.hub()];
    let several = Invitation { addresses, ..hub.invitation() };
    device.join_while(&several, |_| panic!("it should not wait")).unwrap();
    assert_eq!(other.asked().len(), 0);
}

/// A hub whose clock stood at 2100 once must not keep its devices from every other one for ever.
#[test]
fn a_device_that_joins_takes_the_time_of_its_new_hub_and_of_no_former_one() {
    let (hub, mut device) = (Server::start(), Device::new());
    device.set_known_time(IN_2100);
    hub.show(
        hub.with_authority(|authority| {
            authority.server_of("lichen-hub", BEGINNING, (2099, 12, 31))
        }),
    );
    device.join(&hub).unwrap();
    assert_eq!(device.state.time_floor().unwrap(), IN_2023);
}

#[test]
fn a_hub_is_known_by_its_name_and_its_ca_and_by_no_clock_of_the_device() {
    for (name, begin, end, good) in [
        ("lichen-hub", BEGINNING, (2024, 1, 1), true),
        ("lichen-hub", BEGINNING, NO_END, true),
        ("lichen-hub", (2050, 1, 1), NO_END, false),
        ("lichen-broker", BEGINNING, NO_END, false),
        ("127.0.0.1", BEGINNING, NO_END, false),
    ] {
        let (hub, mut device) = (Server::start(), Device::new());
        hub.show(hub.with_authority(|authority| authority.server_of(name, begin, end)));
        let comes_back = |_| {
            assert_eq!(hub.asked().len(), 0);
            hub.show(hub.with_authority(Authority::server));
        };
        device.join_while(&hub.invitation(), comes_back).unwrap();
        assert_eq!(device.pauses.is_empty(), good, "{name} {begin:?} {end:?}: {:?}", device.told);
    }
}

#[test]
fn without_a_fingerprint_the_first_hub_is_believed_and_its_own_is_told() {
    let (hub, mut device) = (Server::start(), Device::new());
    let print = hub.invitation().fingerprint.unwrap().to_string();
    let by_hand = Invitation { fingerprint: None, secret: None, ..hub.invitation() };
    let pending = r#"{"pending":true,"name":"pi","message":"m","retryAfterS":5}"#;
    hub.answer_once(ENROL_PATH, 202, pending);
    device.join_while(&by_hand, |_| {}).unwrap();
    assert!(device.told[0].starts_with("warning:") && device.told[0].contains(&print));
    assert_eq!(requests(&hub)[0].token, None);
    assert_eq!(requests(&hub)[0].name.as_deref(), Some("pi"));
    // Another one that answers next time is not.
    let (hub, mut device) = (Server::start(), Device::new());
    hub.answer_once(ENROL_PATH, 202, pending);
    let by_hand = Invitation { fingerprint: None, secret: None, ..hub.invitation() };
    let own = hub.with_authority(Authority::server);
    let comes_back = |pauses| match pauses {
        1 => hub.show(Authority::new().server()),
        _ => hub.show(own.clone()),
    };
    device.join_while(&by_hand, comes_back).unwrap();
    assert_eq!((device.pauses.len(), requests(&hub).len()), (2, 2), "{:?}", device.told);
}

#[test]
fn what_a_hub_issues_is_checked_before_it_is_kept() {
    let hub = Server::start();
    let sound = {
        let mut device = Device::new();
        device.join(&hub).unwrap();
        let hub_file = device.loaded().unwrap().hub;
        let certificate = fs::read_to_string(device.path("certificate.pem")).unwrap();
        let mut document = serde_json::to_value(&hub_file).unwrap();
        document["certificate"] = certificate.into();
        document
    };
    let other = Authority::new().pem();
    let change = |field: &str, value: serde_json::Value| {
        let mut document = sound.clone();
        document[field] = value;
        document.to_string()
    };
    // Issued for the key of the device before.
    for (document, said) in [
        (sound.to_string(), "another key"),
        (change("certificate", "".into()), "no certificate in it"),
        (change("certificate", "-----BEGIN CERTIFICATE-----\nAAAA".into()), "cut short"),
        (change("name", "../pi".into()), "its name"),
        (change("ca", "rubbish".into()), "no certificate in it"),
    ] {
        let mut device = Device::new();
        hub.answer_once(ENROL_PATH, 200, &document);
        let error = device.join(&hub).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(device.loaded().is_none());
        assert!(!device.path("certificate.pem").exists());
    }
    // A CA beside the one that the token names would be believed in its place.
    hub.change_facts(|facts| facts.ca = other.as_str().try_into().unwrap());
    let error = Device::new().join(&hub).unwrap_err().to_string();
    assert!(error.contains("not the one that the hub was known by"), "{error}");
    // Something that is no answer at all is like no answer.
    let (hub, mut device) = (Server::start(), Device::new());
    hub.answer_once(ENROL_PATH, 200, "{}");
    hub.answer_once(ENROL_PATH, 200, &"x".repeat(100_000));
    device.join_while(&hub.invitation(), |_| {}).unwrap();
    assert_eq!(device.pauses.len(), 2);
}

/// Power fails after each of the files that joining writes: it goes on, with the same keys, until it is done.
#[test]
fn power_may_fail_between_any_two_files() {
    let written = ["key.pem", "sealing.key", "certificate.pem", "hub.json"];
    for cut in 0..written.len() {
        let (hub, mut device) = (Server::start(), Device::new());
        device.join(&hub).unwrap();
        let key = fs::read(device.path("key.pem")).unwrap();
        for lost in &written[cut..] {
            fs::remove_file(device.path(lost)).unwrap();
        }
        // What was being written when the power failed.
        fs::write(device.path(&format!("{}.new", written[cut])), b"cut sho").unwrap();
        assert!(device.loaded().is_none(), "before {}", written[cut]);
        device.join(&hub).unwrap();
        assert!(device.loaded().is_some());
        let same = fs::read(device.path("key.pem")).unwrap() == key;
        assert_eq!(same, cut > 0, "before {}", written[cut]);
        assert_eq!(hub.count(ENROL_PATH), 2);
    }
}

/// Its host got another name in between, or none was given this time: it asks for what it may have got already.
#[test]
fn a_device_asks_again_by_the_name_that_it_asked_for_first() {
    let (hub, mut device) = (Server::start(), Device::new());
    hub.answer_once(ENROL_PATH, 403, r#"{"message":"not yet"}"#);
    device.join(&hub).unwrap_err();
    let again = |name| {
        join::join(&device.state, &hub.invitation(), name, &mut |_| {}, &mut |_| panic!("it waits"))
    };
    hub.answer_once(ENROL_PATH, 403, r#"{"message":"not yet"}"#);
    again(None).unwrap_err();
    again(Some("pi-2")).unwrap();
    let asked: Vec<_> =
        requests(&hub).into_iter().map(|asked| asked.name.unwrap().to_string()).collect();
    assert_eq!(asked, ["pi", "pi", "pi-2"]);
    // A file that was cut short is no name.
    fs::write(device.path("wish"), b"\xff/").unwrap();
    assert_eq!(IdentityDir::of(&device.state).wish(), None);
}

#[test]
fn a_damaged_or_missing_file_is_told_and_nothing_is_made_anew() {
    for name in ["key.pem", "sealing.key", "certificate.pem", "hub.json"] {
        let (hub, mut device) = (Server::start(), Device::new());
        device.join(&hub).unwrap();
        let path = device.path(name);
        let whole = fs::read(&path).unwrap();
        let damages = [
            Some(whole[..whole.len() / 2].to_vec()),
            Some(Vec::new()),
            Some(vec![0xff; 300]),
            None,
        ];
        for damage in damages {
            match &damage {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None if name == "hub.json" => continue,
                None => fs::remove_file(&path).unwrap(),
            }
            let error = device.join(&hub).unwrap_err().to_string();
            let expected = if damage.is_some() { "is damaged" } else { "is missing" };
            assert!(error.starts_with(&path.display().to_string()), "{error}");
            let is_key = ["key.pem", "sealing.key"].contains(&name);
            let way_out = if is_key { "lichen device forget" } else { "identity/hub.json" };
            assert!(error.contains(expected) && error.contains(way_out), "{error}");
            assert_eq!(fs::read(&path).ok(), damage, "it is left as it is");
        }
        assert_eq!((hub.count(ENROL_PATH), hub.count(CONNECT_PATH)), (1, 0));
    }
}

/// As the messages say: what is sealed to the device can be opened all along.
#[test]
fn a_device_joins_again_with_its_keys_once_its_hub_json_is_removed() {
    let (hub, mut device) = (Server::start(), Device::new());
    let before = device.join(&hub).unwrap();
    let key = fs::read(device.path("key.pem")).unwrap();
    fs::write(device.path("certificate.pem"), b"damaged").unwrap();
    fs::remove_file(device.path("hub.json")).unwrap();
    let after = device.join(&hub).unwrap();
    assert_eq!(after.keys.sealing_key(), before.keys.sealing_key());
    let [first, second] = requests(&hub).try_into().unwrap();
    assert_eq!((first.sealing_key, first.agent), (second.sealing_key, second.agent));
    assert_eq!(fs::read(device.path("key.pem")).unwrap(), key);
}

#[test]
fn a_certificate_that_went_with_another_key_is_damage() {
    let (hub, mut device, mut other) = (Server::start(), Device::new(), Device::new());
    device.join(&hub).unwrap();
    other.join(&hub).unwrap();
    fs::copy(other.path("key.pem"), device.path("key.pem")).unwrap();
    let error = device.join(&hub).unwrap_err().to_string();
    assert!(
        error.contains("certificate.pem is damaged") && error.contains("another key"),
        "{error}"
    );
    drop(device.dir);
}
