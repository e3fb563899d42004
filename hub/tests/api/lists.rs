//! Lists over HTTP: in pages that are one list, in chunks, compressed, and at versions that are there or not.

use std::{collections::BTreeSet, io::Read};

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::support::{Hub, MAPS, config_map};

/// Objects of the large list.
const MANY: usize = 2000;
/// So many objects are past by far what one chunk holds.
const DATA: &str = "sixty-four bytes of text that are in each object and make it lng";

async fn fill(hub: &Hub, count: usize) {
    for i in 0..count {
        let map = config_map(
            &format!("m{i:04}"),
            json!({"odd": (i % 2).to_string()}),
            json!({"x": DATA}),
        );
        hub.put("POST", MAPS, &map).await.expect(201);
    }
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
}

/// Reads a list page by page, and does something between two pages.
async fn pages(hub: &Hub, query: &str, mut between: impl AsyncFnMut(usize)) -> Vec<Value> {
    let mut pages: Vec<Value> = Vec::new();
    let mut token = String::new();
    loop {
        let page = hub.get(&format!("{MAPS}?{query}{token}")).await.expect(200);
        let next = page["metadata"]["continue"].as_str().map(|token| format!("&continue={token}"));
        pages.push(page);
        match next {
            Some(next) => token = next,
            None => return pages,
        }
        between(pages.len()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_many_objects_are_one_list_although_objects_come_and_go() {
    let hub = Hub::start().await;
    fill(&hub, MANY).await;
    let whole = hub.get(MAPS).await;
    assert_eq!(whole.headers.get("transfer-encoding").map(String::as_str), Some("chunked"));
    let whole = whole.expect(200);
    assert_eq!(names(&whole).len(), MANY);
    let read = pages(&hub, "limit=300", async |page| {
        // One behind the page that was read, one before it, and a new one at the end.
        hub.call("DELETE", &format!("{MAPS}/m{:04}", page * 300 + 7)).await.expect(200);
        hub.call("DELETE", &format!("{MAPS}/m{:04}", page)).await.expect(200);
        let new = config_map(&format!("z{page}"), json!({}), json!({}));
        hub.put("POST", MAPS, &new).await.expect(201);
    })
    .await;
    assert_eq!(read.len(), MANY.div_ceil(300));
    let versions: BTreeSet<_> =
        read.iter().map(|page| page["metadata"]["resourceVersion"].to_string()).collect();
    assert_eq!(versions, BTreeSet::from([whole["metadata"]["resourceVersion"].to_string()]));
    let items: Vec<&Value> =
        read.iter().flat_map(|page| page["items"].as_array().expect("items")).collect();
    assert_eq!(items, whole["items"].as_array().expect("items").iter().collect::<Vec<_>>());

    let selected = "labelSelector=odd%3D1&fieldSelector=metadata.name!%3Dm0009";
    let odd = pages(&hub, &format!("limit=400&{selected}"), async |_| {}).await;
    let odd: Vec<String> = odd.iter().flat_map(names).collect();
    assert_eq!(odd, names(&hub.get(&format!("{MAPS}?{selected}")).await.expect(200)));
    assert!(odd.len() > 900 && !odd.contains(&"m0009".to_owned()), "{}", odd.len());
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_compressed_for_who_asks_and_a_watch_is_not() {
    let hub = Hub::start().await;
    fill(&hub, 200).await;
    let plain = hub.get(MAPS).await;
    assert_eq!(plain.headers.get("content-encoding"), None);
    let gzip = [("accept-encoding", "gzip")];
    let packed = hub.send("GET", MAPS, &gzip, b"").await;
    assert_eq!(packed.headers.get("content-encoding").map(String::as_str), Some("gzip"));
    assert!(packed.body.len() * 4 < plain.body.len(), "{} {}", packed.body.len(), plain.body.len());
    let mut body = Vec::new();
    GzDecoder::new(packed.body.as_slice()).read_to_end(&mut body).expect("gzip");
    assert_eq!(body, plain.body);
    let small = hub.send("GET", &format!("{MAPS}/m0001"), &gzip, b"").await;
    assert_eq!(small.headers.get("content-encoding"), None);
    let mut watch = hub.open("GET", &format!("{MAPS}?watch=true"), &gzip, b"").await;
    assert_eq!(watch.headers.get("content-encoding"), None);
    assert_eq!(watch.change().await, "ADDED m0000");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_of_the_version_that_was_asked_for_or_expired() {
    let hub = Hub::start().await;
    fill(&hub, 3).await;
    let list = hub.get(MAPS).await.expect(200);
    let version = list["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    hub.call("DELETE", &format!("{MAPS}/m0001")).await.expect(200);
    let at = async |query: String| hub.get(&format!("{MAPS}?{query}")).await;

    let exact =
        at(format!("resourceVersion={version}&resourceVersionMatch=Exact")).await.expect(200);
    assert_eq!((names(&exact).len(), &exact["metadata"]["resourceVersion"]), (3, &json!(version)));
    for query in ["", "resourceVersion=0", &format!("resourceVersion={version}")] {
        assert_eq!(names(&at(query.to_owned()).await.expect(200)).len(), 2, "{query}");
    }
    for query in ["resourceVersion=99999999999", "resourceVersion=1&resourceVersionMatch=Exact"] {
        let refusal = at(query.to_owned()).await.refusal();
        assert!(refusal.starts_with("410 Expired: "), "{query}: {refusal}");
    }
    for (query, said) in [
        ("continue=abc", "the continue token is none that this hub made"),
        ("resourceVersionMatch=Exact", "needs a resourceVersion"),
        ("limit=-1", "limit must be a whole number"),
    ] {
        let refusal = at(query.to_owned()).await.refusal();
        assert!(refusal.starts_with("400 BadRequest: ") && refusal.contains(said), "{refusal}");
    }
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_version_has_left_the_ring_is_expired() {
    let hub = Hub::start().await;
    fill(&hub, 3).await;
    let page = hub.get(&format!("{MAPS}?limit=1")).await.expect(200);
    let token = page["metadata"]["continue"].as_str().expect("more").to_owned();
    let next = format!("{MAPS}?limit=1&continue={token}");
    assert_eq!(names(&hub.get(&next).await.expect(200)), ["m0001"]);
    // More than the ring of a kind holds.
    let large = "x".repeat(700 << 10);
    for i in 0..5 {
        let map = config_map("m0000", json!({}), json!({"x": format!("{large}{i}")}));
        hub.put("PUT", &format!("{MAPS}/m0000"), &map).await.expect(200);
    }
    let refusal = hub.get(&next).await.refusal();
    assert!(refusal.starts_with("410 Expired: too old resource version"), "{refusal}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_has_pages_too() {
    let hub = Hub::start().await;
    fill(&hub, 3).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let first = hub.send("GET", &format!("{MAPS}?limit=2"), &accept, b"").await.expect(200);
    assert_eq!((&first["kind"], &first["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(first["rows"].as_array().map(Vec::len), Some(2));
    let token = first["metadata"]["continue"].as_str().expect("more");
    let path = format!("{MAPS}?limit=2&continue={token}");
    let second = hub.send("GET", &path, &accept, b"").await.expect(200);
    assert_eq!(second["rows"][0]["cells"][0], "m0002");
    assert_eq!(second["columnDefinitions"], first["columnDefinitions"]);
    assert_eq!(second["metadata"]["continue"], Value::Null);
    hub.running.stop().await.expect("stop");
}
