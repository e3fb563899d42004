//! The audit log of a hub: what is noted of whom, who may read it, that strangers can't fill it, and that nothing is changed
//! that could not be noted.

use std::{fs, path::Path};

use lichen_hub::{
    audit::{Entry, LineHash, log::Limits, verify::verify},
    server,
    store::{MemoryStore, RedbStore},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    joined::Joined,
    support::{DEADLINE, DEPLOYMENTS, Hub, MAPS, config, config_map, connect, deployment},
};

/// Every batch makes a file.
const TINY: Limits = Limits { file_bytes: 1, files: 10_000 };

async fn entries(hub: &Hub, query: &str) -> Vec<Entry> {
    let reply = hub.get(&format!("/lichen/v1/audit?{query}")).await;
    assert_eq!(reply.code, 200, "{}", reply.text());
    let text = reply.text();
    text.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
}

/// `ACTOR VERB RESOURCE NAMESPACE/NAME CODE`, or with a path.
fn shown(entry: &Entry) -> String {
    let Entry { actor, verb, resource, namespace, name, path, code, .. } = entry;
    match resource.is_empty() {
        true => format!("{actor} {verb} {path} {code}"),
        false => format!("{actor} {verb} {resource} {namespace}/{name} {code}"),
    }
}

async fn lines(hub: &Hub, query: &str) -> Vec<String> {
    entries(hub, query).await.iter().map(shown).collect()
}

fn sound(dir: &Path) {
    let report = verify(&dir.join("audit")).expect("a report");
    assert!(report.is_sound() && report.has_head, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_noted_with_who_where_what_and_how_it_ended() {
    let hub = Hub::start().await;
    let secret = json!({"metadata": {"name": "key"}, "stringData": {"k": "s3cret-value"}});
    let made = hub.put("POST", "/api/v1/namespaces/default/secrets", &secret).await.expect(201);
    let name = made["metadata"]["name"].as_str().expect("a name").to_owned();
    let web = deployment("web", "web:1");
    hub.create(DEPLOYMENTS, web.clone()).await;
    hub.put("POST", DEPLOYMENTS, &web).await.expect(409);
    let reply = hub.call("DELETE", &format!("{DEPLOYMENTS}/web")).await;
    reply.expect(200);
    hub.get(DEPLOYMENTS).await.expect(200);
    let asked = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    hub.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", asked).await;
    let token = hub.put("POST", "/lichen/v1/jointokens", &json!({})).await.expect(201);
    let token_name = token["name"].as_str().expect("a name");
    assert_eq!(
        lines(&hub, "actor=system:admin").await,
        [
            format!("system:admin create secrets default/{name} 201"),
            "system:admin create deployments default/web 201".into(),
            "system:admin create deployments default/web 409".into(),
            "system:admin delete deployments default/web 200".into(),
            format!("system:admin create jointokens /{token_name} 201"),
        ]
    );
    let deleted =
        &entries(&hub, "verb=delete&resource=deployments.apps&namespace=default").await[0];
    assert_eq!(deleted.request, reply.headers["audit-id"]);
    assert!(deleted.from.starts_with("127.0.0.1:"), "{deleted:?}");
    assert_eq!(deleted.groups, ["system:masters", "system:authenticated"]);
    let all = hub.get("/lichen/v1/audit").await.text();
    let word = token["token"].as_str().expect("a word");
    assert!(!all.contains("s3cret") && !all.contains(word), "{all}");
    let refused = hub.get("/lichen/v1/audit?since=1h").await.refusal();
    assert!(refused.contains("since must be like"), "{refused}");
    assert_eq!(entries(&hub, "until=3600s").await, []);
    assert_eq!(entries(&hub, "since=3600s&verb=create").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_noted_and_the_log_is_for_admins_alone() {
    let hub = Hub::start().await;
    let ci = hub.with_token(&hub.token_of("shop", "ci").await);
    hub.bind("shop", "ci", "ClusterRole admin", "ci").await;
    ci.get("/api/v1/secrets").await.refusal();
    ci.get("/lichen/v1/audit").await.refusal();
    ci.get("/lichen/v1/audit/verify").await.refusal();
    hub.with_token("rubbish").get("/api/v1/pods").await.refusal();
    assert_eq!(
        lines(&hub, "refused").await,
        [
            "system:serviceaccount:shop:ci list secrets / 403",
            "system:serviceaccount:shop:ci get audit / 403",
            "system:serviceaccount:shop:ci get audit / 403",
            "? list pods / 401",
        ]
    );
    let stranger = entries(&hub, "actor=?").await.remove(0);
    assert!(stranger.note.starts_with("Unauthorized: "), "{stranger:?}");
    assert!(stranger.from.starts_with("127.0.0.1:"), "{stranger:?}");
    assert!(!stranger.note.contains("rubbish"), "{stranger:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_fill_the_log() {
    let hub = Hub::start().await;
    let stranger = hub.with_token("rubbish");
    for _ in 0..40 {
        stranger.get("/api/v1/pods").await.refusal();
    }
    assert_eq!(entries(&hub, "refused").await.len(), 10);
    let metrics = hub.get("/metrics").await.text();
    assert!(metrics.contains("\nlichen_audit_refusals_collapsed_total 30\n"), "{metrics}");
    let dir = hub.dir;
    hub.running.stop().await.expect("stop");
    sound(dir.path());
    let last = last_lines(dir.path());
    assert!(
        last[0].note.starts_with("30 more refused, from 1 senders, 30 of 127.0.0.1"),
        "{last:?}"
    );
    assert_eq!((last[0].verb.as_str(), last[1].verb.as_str()), ("refuse", "stop"));
}

/// The last two entries of a log.

#[tokio::test(flavor = "multi_thread")]
async fn who_may_change_things_does_not_fill_the_log_by_trying_in_vain() {
    let hub = Hub::start().await;
    for _ in 0..40 {
        assert_eq!(hub.call("DELETE", &format!("{MAPS}/is-not-there")).await.code, 404);
    }
    hub.put("POST", MAPS, &config_map("a", json!({}), json!({}))).await.expect(201);
    let noted = lines(&hub, "resource=configmaps").await;
    let in_vain = noted.iter().filter(|line| line.ends_with("404")).count();
    assert!((1..=10).contains(&in_vain), "{noted:?}");
    assert!(noted.last().is_some_and(|line| line.ends_with("default/a 201")), "{noted:?}");
    sound(hub.dir.path());
    hub.running.stop().await.expect("stop");
}

fn last_lines(state: &Path) -> [Entry; 2] {
    let mut files = lichen_hub::audit::files(&state.join("audit")).expect("files");
    let text = fs::read_to_string(files.pop().expect("a file").1).expect("text");
    let parsed: Vec<Entry> =
        text.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect();
    let [.., one, other] = parsed.as_slice() else { panic!("{text}") };
    [one.clone(), other.clone()]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_noted_is_not_done_and_what_can_be_read_is_read() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let config = server::HubConfig { audit: TINY, ..config(dir.path().to_owned()) };
    let running = server::start_on(config, Box::new(MemoryStore::default())).await.expect("start");
    let hub = Hub { running, dir };
    let map = |name: &str| config_map(name, json!({}), json!({"a": "b"}));
    hub.create(MAPS, map("one")).await;
    assert_eq!(lines(&hub, "verb=create").await.len(), 1);
    // As if the disk were full: no file can be begun.
    let (log, away) = (hub.dir.path().join("audit"), hub.dir.path().join("away"));
    fs::rename(&log, &away).expect("moved");
    // The one that finds out is done, and kept in memory.
    hub.create(MAPS, map("two")).await;
    let writable = |text: String| text.contains("\nlichen_audit_writable 1\n");
    while writable(hub.get("/metrics").await.text()) {
        tokio::task::yield_now().await;
    }
    let refused = hub.put("POST", MAPS, &map("three")).await;
    assert!(refused.refusal().contains("the audit log can't be written"), "{}", refused.text());
    assert_eq!(refused.code, 503);
    let listed = hub.get(MAPS).await.expect(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2));
    fs::rename(&away, &log).expect("moved");
    hub.create(MAPS, map("four")).await;
    assert_eq!(
        lines(&hub, "verb=create").await,
        ["one", "two", "four"]
            .map(|name| format!("system:admin create configmaps default/{name} 201"))
    );
    sound(hub.dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_is_told_at_once_and_the_chain_goes_on_over_restarts() {
    let mut hub = Hub::start().await;
    let mut stream = hub.open("GET", "/lichen/v1/audit?follow&verb=create", &[], b"").await;
    assert_eq!(stream.code, 200);
    hub.create(MAPS, config_map("one", json!({}), json!({}))).await;
    let entry: Value = stream.next().await.expect("an entry");
    assert_eq!((&entry["name"], &entry["code"]), (&json!("one"), &json!(201)));
    drop(stream);
    for _ in 0..2 {
        hub.running.stop().await.expect("stop");
        sound(hub.dir.path());
        let store = RedbStore::open(hub.dir.path()).expect("a store");
        let running = server::start_on(config(hub.dir.path().to_owned()), Box::new(store)).await;
        hub = Hub { running: running.expect("start"), dir: hub.dir };
    }
    let verbs: Vec<String> =
        entries(&hub, "actor=system:hub").await.into_iter().map(|entry| entry.verb).collect();
    assert_eq!(verbs, ["start", "stop", "start", "stop", "start"]);
    let report = hub.get("/lichen/v1/audit/verify").await.expect(200);
    assert_eq!((&report["faults"], &report["entries"]), (&json!([]), &json!(6)), "{report}");
    // Somebody alters the oldest entry.
    let file = lichen_hub::audit::files(&hub.dir.path().join("audit")).expect("files").remove(0).1;
    let text = fs::read_to_string(&file).expect("text").replacen("start", "stirt", 1);
    fs::write(&file, text).expect("a file");
    let report = hub.get("/lichen/v1/audit/verify").await.expect(200);
    assert_eq!(
        (&report["faults"][0]["line"], &report["faults"][0]["kind"]),
        (&json!(1), &json!("changed"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hangs_up_before_the_answer_is_noted_all_the_same() {
    use tokio::io::AsyncWriteExt;
    let hub = Hub::start().await;
    let mut stream = connect(hub.running.api(), crate::support::admin_of(hub.dir.path())).await;
    // More is announced than comes.
    let head = format!("POST {MAPS} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.expect("write");
    stream.flush().await.expect("write");
    drop(stream);
    let noted = async {
        loop {
            if let Some(entry) = entries(&hub, "verb=create").await.pop() {
                return entry;
            }
        }
    };
    let entry = timeout(DEADLINE, noted).await.expect("an entry in time");
    assert_eq!(entry.resource, "configmaps");
}

/// A logbook of a device.
struct Book {
    log: &'static str,
    lines: Vec<String>,
}

impl Book {
    fn note(&mut self, reason: &str) -> &mut Self {
        let hash = |line: &String| LineHash::of(line.as_bytes()).to_string();
        let previous = self.lines.last().map_or_else(|| LineHash::default().to_string(), hash);
        let line = json!({
            "log": self.log, "sequence": self.lines.len() + 1, "atMs": 0, "knownMs": 0,
            "boot": "00".repeat(16), "reason": reason, "message": "it did", "previous": previous,
        });
        self.lines.push(line.to_string());
        self
    }

    /// Hands over all from a line on: how much the hub has then.
    async fn hand_over(&self, hub: &Hub, device: &Joined, from: usize) -> (String, u64) {
        let body = json!({"lines": &self.lines[from..]});
        let reply = hub.send_as(device, "POST", "/lichen/v1/logbook", &body).await.expect(200);
        let log = reply["log"].as_str().expect("a logbook").to_owned();
        (log, reply["sequence"].as_u64().expect("a number"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_noted_is_kept_once_and_what_does_not_fit_together_is_told() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let running = server::start(config(dir.path().to_owned())).await.expect("start");
    let mut hub = Hub { running, dir };
    let joined = hub.join("pi-1").await;
    let mut book = Book { log: "aaaa", lines: Vec::new() };
    book.note("AgentStarted").note("AssignmentTaken");
    assert_eq!(book.hand_over(&hub, &joined, 0).await, ("aaaa".into(), 2));
    assert_eq!(book.hand_over(&hub, &joined, 0).await, ("aaaa".into(), 2));
    // The hub knows what it has after a restart, too: its own log says so.
    hub.running.stop().await.expect("stop");
    let running = server::start(config(hub.dir.path().to_owned())).await;
    hub = Hub { running: running.expect("start"), dir: hub.dir };
    book.note("Started");
    assert_eq!(book.hand_over(&hub, &joined, 1).await, ("aaaa".into(), 3));
    let noted = entries(&hub, "node=pi-1&verb=log").await;
    let notes: Vec<&str> = noted.iter().map(|entry| entry.note.as_str()).collect();
    assert_eq!(
        notes,
        ["AgentStarted", "AssignmentTaken", "Started"]
            .map(|reason| format!("{reason}: it did (1970-01-01T00:00:00Z by its clock)"))
    );
    assert!(noted.iter().all(|entry| entry.actor == "system:node:pi-1" && !entry.from.is_empty()));
    assert_eq!(entries(&hub, "verb=logbook").await, []);
    // The device's owner takes a record out; the card is replaced.
    book.note("Stopped").note("Exited");
    book.hand_over(&hub, &joined, 4).await;
    let mut other = Book { log: "bbbb", lines: Vec::new() };
    other.note("AgentStarted").hand_over(&hub, &joined, 0).await;
    let told = entries(&hub, "node=pi-1&verb=logbook").await;
    let told: Vec<&str> = told.iter().map(|entry| entry.note.as_str()).collect();
    assert!(told[0].contains("records 4 to 4 of the device's logbook are missing"), "{told:?}");
    assert!(told[1].contains("begun another logbook"), "{told:?}");
    for garbage in [json!({"lines": ["x"]}), json!({"lines": 7}), json!({})] {
        let reply = hub.send_as(&joined, "POST", "/lichen/v1/logbook", &garbage).await;
        assert_eq!(reply.code, 400, "{}", reply.text());
    }
    sound(hub.dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_and_who_is_turned_away_is_noted() {
    let hub = Hub::start().await;
    let joined = hub.join("pi-1").await;
    let granted = &entries(&hub, "node=pi-1&verb=enrol").await[0];
    assert_eq!(shown(granted), "? enrol enrolments /pi-1 200");
    assert!(granted.note.starts_with("with the token "), "{granted:?}");
    hub.call("DELETE", "/api/v1/nodes/pi-1").await;
    hub.call("DELETE", "/apis/lichen.dev/v1/enrolments/pi-1").await.expect(200);
    let reply = hub.ask_as(&joined, "GET", "/lichen/v1/connect", &[]).await;
    assert_eq!(reply.code, 403, "{}", reply.text());
    let refused = lines(&hub, "node=pi-1&refused").await;
    assert!(
        refused.contains(&"system:node:pi-1 get /lichen/v1/connect 403".to_owned()),
        "{refused:?}"
    );
}
