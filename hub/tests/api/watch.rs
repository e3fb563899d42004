//! Watches over HTTP: from a version, from the start, with selectors, as a table, and when the past is gone.

use serde_json::{Value, json};

use crate::support::{Hub, MAPS, config_map};

async fn version(hub: &Hub) -> String {
    let list = hub.get(MAPS).await.expect(200);
    list["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}

async fn create(hub: &Hub, name: &str, labels: Value) -> Value {
    hub.put("POST", MAPS, &config_map(name, labels, json!({}))).await.expect(201)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_from_the_version_of_a_list() {
    let hub = Hub::start().await;
    create(&hub, "before", json!({})).await;
    let version = version(&hub).await;
    let mut watch = hub.watch(&format!("{MAPS}?watch=true&resourceVersion={version}")).await;
    let mut a = create(&hub, "a", json!({})).await;
    assert_eq!(watch.change().await, "ADDED a");
    a["data"] = json!({"x": "1"});
    hub.put("PUT", &format!("{MAPS}/a"), &a).await.expect(200);
    assert_eq!(watch.change().await, "MODIFIED a");
    hub.call("DELETE", &format!("{MAPS}/a")).await.expect(200);
    let deleted = watch.next().await.expect("a change");
    assert_eq!(deleted["type"], "DELETED");
    let at = deleted["object"]["metadata"]["resourceVersion"].as_str().expect("a version");
    let mut later = hub.watch(&format!("{MAPS}?watch=1&resourceVersion={at}")).await;
    create(&hub, "b", json!({})).await;
    assert_eq!(later.change().await, "ADDED b");
    assert_eq!(watch.change().await, "ADDED b");
    hub.running.stop().await.expect("stop");
    assert!(watch.next().await.is_none(), "a stopped hub ends its watches");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_without_a_version_starts_with_everything() {
    let hub = Hub::start().await;
    create(&hub, "a", json!({})).await;
    create(&hub, "b", json!({})).await;
    let mut watch = hub.watch(&format!("{MAPS}?watch=true")).await;
    assert_eq!(watch.change().await, "ADDED a");
    assert_eq!(watch.change().await, "ADDED b");
    create(&hub, "c", json!({})).await;
    assert_eq!(watch.change().await, "ADDED c");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_lists_says_when_it_has_sent_everything() {
    let hub = Hub::start().await;
    create(&hub, "a", json!({})).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = hub.watch(&format!("{MAPS}?watch=true&resourceVersion=0&{query}")).await;
    assert_eq!(watch.change().await, "ADDED a");
    let end = watch.next().await.expect("a bookmark");
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_comes_and_goes_with_its_labels() {
    let hub = Hub::start().await;
    let version = version(&hub).await;
    let path =
        format!("/api/v1/configmaps?watch=true&resourceVersion={version}&labelSelector=tier%3Dx");
    let mut watch = hub.watch(&path).await;
    let mut a = create(&hub, "a", json!({"tier": "y"})).await;
    for (tier, expected) in [("x", "ADDED a"), ("x", ""), ("y", "DELETED a"), ("x", "ADDED a")] {
        a["metadata"]["labels"]["tier"] = tier.into();
        let map = hub.put("PUT", &format!("{MAPS}/a"), &a).await.expect(200);
        a["metadata"]["resourceVersion"] = map["metadata"]["resourceVersion"].clone();
        if !expected.is_empty() {
            assert_eq!(watch.change().await, expected);
        }
    }
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_too_old_or_unheard_of_is_expired() {
    let hub = Hub::start().await;
    let unheard_of = "this hub has not reached resource version 99999999999";
    for (version, why) in [("1", "too old resource version: 1"), ("99999999999", unheard_of)] {
        for path in [format!("{MAPS}?watch=true"), format!("{MAPS}?resourceVersionMatch=Exact")] {
            let refusal = hub.get(&format!("{path}&resourceVersion={version}")).await.refusal();
            assert!(refusal.starts_with(&format!("410 Expired: {why}")), "{refusal}");
        }
    }
    let wrong = hub.get(&format!("{MAPS}?watch=true&resourceVersion=x")).await.refusal();
    assert!(wrong.starts_with("400 BadRequest: resourceVersion must be a whole number"), "{wrong}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_watcher_has_to_list_again_and_no_other() {
    let hub = Hub::start().await;
    let mut a = create(&hub, "a", json!({})).await;
    let path = format!("{MAPS}?watch=true&resourceVersion={}", version(&hub).await);
    let mut slow = hub.watch(&path).await;
    let mut fast = hub.watch(&path).await;
    let mut picky = hub.watch(&format!("{path}&labelSelector=never%3Dthere")).await;
    // More than a socket and the ring hold together.
    let large = "x".repeat(512 << 10);
    for i in 0..48 {
        a["data"] = json!({"x": format!("{large}{i}")});
        a["metadata"]["resourceVersion"] = Value::Null;
        hub.put("PUT", &format!("{MAPS}/a"), &a).await.expect(200);
        assert_eq!(fast.change().await, "MODIFIED a");
    }
    let mut got = 0;
    let end = loop {
        let event = slow.next().await.expect("an event");
        if event["type"] == "ERROR" {
            break event;
        }
        got += 1;
    };
    assert!(got < 48, "it got all");
    assert_eq!(
        (&end["object"]["code"], &end["object"]["reason"]),
        (&json!(410), &json!("Expired"))
    );
    assert!(slow.next().await.is_none());
    create(&hub, "b", json!({"never": "there"})).await;
    assert_eq!(fast.change().await, "ADDED b");
    assert_eq!(picky.change().await, "ADDED b");
    let metrics = hub.get("/metrics").await.text();
    assert!(metrics.contains("\nlichen_watchers_behind_total 1\n"), "{metrics}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_got_an_answer_reads_its_own_write() {
    let hub = Hub::start().await;
    let mut a = create(&hub, "a", json!({})).await;
    for i in 0..100 {
        a["data"] = json!({"x": i.to_string()});
        a = hub.put("PUT", &format!("{MAPS}/a"), &a).await.expect(200);
        assert_eq!(hub.get(&format!("{MAPS}/a")).await.expect(200), a);
        let written = a["metadata"]["resourceVersion"].as_str().expect("a version");
        let number = |version: &str| version.parse::<u64>().expect("a number");
        assert!(number(&version(&hub).await) >= number(written));
    }
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_when_it_was_asked_to_with_a_bookmark() {
    let hub = Hub::start().await;
    let version = version(&hub).await;
    let query = "allowWatchBookmarks=true&timeoutSeconds=1";
    let mut watch =
        hub.watch(&format!("{MAPS}?watch=true&resourceVersion={version}&{query}")).await;
    let bookmark = watch.next().await.expect("a bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert!(watch.next().await.is_none());
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_table_has_its_columns_once() {
    let hub = Hub::start().await;
    create(&hub, "a", json!({})).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let mut watch = hub.open("GET", &format!("{MAPS}?watch=true"), &accept, b"").await;
    let first = watch.next().await.expect("a change");
    assert_eq!(first["object"]["columnDefinitions"].as_array().map(Vec::len), Some(4));
    create(&hub, "b", json!({})).await;
    let second = watch.next().await.expect("a change");
    assert_eq!(second["object"]["columnDefinitions"], json!([]));
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
    hub.running.stop().await.expect("stop");
}
