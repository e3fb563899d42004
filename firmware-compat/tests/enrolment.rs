//! The documents of enrolment and the join token, as the shells read and write them.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use firmware_compat::{
    enrolment::{
        Address, EnrolRequest, Enrolled, Fingerprint, Holder, HubFacts, JoinSecret, JoinToken,
        MAX_DOCUMENT_BYTES, Pending, Refusal, SealingKey, TokenError,
        token::{MAX_TOKEN, PREFIX},
    },
    id::{AgentId, BootId, Lineage, PublicKey},
    topic::{is_device_name, usable_device_name},
};
use proptest::prelude::*;

fn token() -> JoinToken {
    let addresses = ["hub.example:6183", "[fd00::1]:443"].map(|text| Address::parse(text).unwrap());
    JoinToken {
        addresses: addresses.to_vec().try_into().unwrap(),
        fingerprint: Fingerprint([0xfb; 32]),
        secret: JoinSecret::parse("abc123.s3cret-_").unwrap(),
    }
}

fn parse(word: &str) -> Result<JoinToken, TokenError> {
    JoinToken::parse(word, |json| serde_json::from_slice(json))
}

fn word(json: &str) -> String {
    JoinToken::to_word(json.as_bytes())
}

fn facts() -> HubFacts {
    HubFacts {
        ca: "-----BEGIN CERTIFICATE-----".try_into().unwrap(),
        signing_keys: vec![PublicKey([7; 32])].try_into().unwrap(),
        lineage: Lineage([1; 16]),
        addresses: vec![Address::parse("10.0.0.1:6183").unwrap()].try_into().unwrap(),
        broker: None,
        unix_ms: 1_700_000_000_000,
        renewal: None,
    }
}

#[test]
fn a_token_reads_back_as_it_was_written() {
    let json = serde_json::to_vec(&token()).unwrap();
    let expected = r#"{"a":["hub.example:6183","[fd00::1]:443"],"f":"-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s","t":"abc123.s3cret-_"}"#;
    assert_eq!(String::from_utf8_lossy(&json), expected);
    let word = JoinToken::to_word(&json);
    assert!(word.starts_with("lichen-join.eyJ"), "{word}");
    assert_eq!(parse(&format!("  {word}\n")), Ok(token()));
}

#[test]
fn a_token_that_is_none_says_what_to_do() {
    let whole = JoinToken::to_word(&serde_json::to_vec(&token()).unwrap());
    let cut = &whole[..whole.len() - 7];
    let spaced = whole.replacen("ey", "e y", 1);
    let long = format!("{PREFIX}{}", "A".repeat(MAX_TOKEN));
    let sound = serde_json::to_string(&token()).unwrap();
    for (given, error, hint) in [
        ("", TokenError::NotAToken, "lichen token create"),
        ("lichen-join", TokenError::NotAToken, "starts with lichen-join."),
        ("K10abc::server:x", TokenError::NotAToken, "starts with lichen-join."),
        (long.as_str(), TokenError::TooLong, "once"),
        (cut, TokenError::Damaged, "copy it whole"),
        (&spaced, TokenError::Damaged, "copy it whole"),
        (PREFIX, TokenError::Damaged, "copy it whole"),
        (&word("{}"), TokenError::Content, "make a new one"),
        (&word(&sound.replace("hub.example:6183", "hub.example")), TokenError::Content, "version"),
        (&word(&sound.replace("\"t\"", "\"u\"")), TokenError::Content, "version"),
        (&word(&sound.replace("{\"a", "{\"b\":1,\"a")), TokenError::Content, "version"),
        (&word(&sound.replace("abc123.", "abc123")), TokenError::Content, "version"),
        (&word(r#"{"a":[],"f":"","t":""}"#), TokenError::Content, "version"),
    ] {
        let found = parse(given).expect_err(given);
        assert_eq!(found, error, "{given}");
        assert!(found.to_string().contains(hint), "{found}");
    }
}

#[test]
fn what_is_secret_is_not_shown() {
    let shown = format!("{:?}", token());
    assert!(shown.contains("abc123") && !shown.contains("s3cret"), "{shown}");
    let wrong = serde_json::from_str::<JoinSecret>("\"s3cret\"").unwrap_err().to_string();
    assert!(!wrong.contains("s3cret"), "{wrong}");
    assert!(JoinSecret::parse(&format!("a.{}", "b".repeat(65))).is_none());
}

#[test]
fn documents_have_the_names_of_the_protocol() {
    let request = EnrolRequest {
        token: None,
        csr: "csr".try_into().unwrap(),
        sealing_key: SealingKey([0; 32]),
        name: Some("pi".try_into().unwrap()),
        agent: AgentId([1; 16]),
        boot: BootId([2; 16]),
        serial: None,
        model: None,
    };
    let json = serde_json::to_value(&request).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["agent", "boot", "csr", "name", "sealingKey"]);
    assert_eq!(json["sealingKey"], "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert_eq!(serde_json::from_value::<EnrolRequest>(json).unwrap(), request);

    let enrolled = Enrolled {
        name: "pi".try_into().unwrap(),
        certificate: "chain".try_into().unwrap(),
        hub: facts(),
    };
    let mut json = serde_json::to_value(&enrolled).unwrap();
    assert_eq!(json["addresses"], serde_json::json!(["10.0.0.1:6183"]));
    assert_eq!(json["unixMs"], 1_700_000_000_000_u64);
    assert_eq!(json["broker"], serde_json::Value::Null);
    assert_eq!(json["signingKeys"][0], "07".repeat(32));
    json["later"] = "unknown".into();
    assert_eq!(serde_json::from_value::<Enrolled>(json).unwrap(), enrolled);

    let pending = r#"{"pending":true,"name":"pi","message":"m","retryAfterS":30}"#;
    let pending: Pending = serde_json::from_str(pending).unwrap();
    assert_eq!(pending.retry_after_s, 30);
    assert_eq!(serde_json::from_str::<Holder>(r#"{"agent":null}"#).unwrap(), Holder::default());
    let refusal: Refusal = serde_json::from_str(r#"{"kind":"Status","message":"no"}"#).unwrap();
    assert_eq!(refusal.to_string(), "no");
}

#[test]
fn documents_are_bounded() {
    let mut json = serde_json::to_value(facts()).unwrap();
    json["signingKeys"] = vec!["07".repeat(32); 3].into();
    let error = serde_json::from_value::<HubFacts>(json.clone()).unwrap_err().to_string();
    assert!(error.contains("longer than 2"), "{error}");
    json["signingKeys"] = vec!["07".repeat(31)].into();
    assert!(serde_json::from_value::<HubFacts>(json.clone()).is_err());
    json["signingKeys"] = serde_json::json!([]);
    json["broker"] = "mqtt://10.0.0.1:1883".into();
    let error = serde_json::from_value::<HubFacts>(json.clone()).unwrap_err().to_string();
    assert!(error.contains("in clear"), "{error}");
    json["broker"] = serde_json::Value::Null;
    json["ca"] = "x".repeat(MAX_DOCUMENT_BYTES).into();
    assert!(serde_json::from_value::<HubFacts>(json).is_err());
}

#[test]
fn a_fingerprint_is_read_as_people_write_it() {
    let print = Fingerprint([0xab; 32]);
    assert_eq!(Fingerprint::parse(&print.to_string()), Some(print));
    assert_eq!(Fingerprint::parse(&["AB"; 32].join(":")), Some(print));
    for text in ["", "ab", &"ab".repeat(33), &"ag".repeat(32), &":".repeat(1_000)] {
        assert_eq!(Fingerprint::parse(text), None, "{text}");
    }
}

#[test]
fn an_unusable_name_gives_a_usable_one() {
    let long = "x-".repeat(40);
    for (name, expected) in [
        ("rpi_node1", Some("rpi-node1")),
        ("PHost01", Some("phost01")),
        ("pi", Some("pi")),
        ("a--b", Some("a--b")),
        ("-a-", Some("a")),
        ("Küche 2", Some("k-che-2")),
        ("../..//etc/passwd", Some("etc-passwd")),
        ("pi#+\0x", Some("pi-x")),
        ("ALL", Some("device-all")),
        ("all_", Some("device-all")),
        ("", None),
        ("___", None),
        ("日本", None),
        (&long, Some(&long[..63])),
    ] {
        assert_eq!(usable_device_name(name).as_deref(), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn a_usable_name_is_one_and_stays_as_it_is(name in ".{0,200}") {
        if let Some(usable) = usable_device_name(&name) {
            prop_assert!(is_device_name(&usable));
            prop_assert_eq!(usable_device_name(&usable), Some(usable.clone()));
        }
    }

    #[test]
    fn no_word_is_a_panic(rest in "[A-Za-z0-9_-]{0,300}", text in ".{0,300}") {
        let _ = parse(&format!("{PREFIX}{rest}"));
        let _ = parse(&text);
        let _ = Address::parse(&text);
        let _ = Address::parse_or(&text, 1);
    }

    #[test]
    fn an_address_that_is_read_is_printed_the_same_way_again(text in "[a-zA-Z0-9.:\\[\\]-]{1,30}") {
        if let Ok(address) = Address::parse(&text) {
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }
    }
}
