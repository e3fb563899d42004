//! What the API does about clients that take too long, hold too much, or come from a web page; and how it ends.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use lichen_hub::{
    server::{self, ApiTimes},
    store::MemoryStore,
};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{DEADLINE, Hub, MAPS, Tls, admin_of, config, config_map, connect};

/// So short that a test does not wait long for it, and so long that a busy machine sends a request's head within it.
const SHORT: Duration = Duration::from_secs(1);

async fn start(times: ApiTimes) -> Hub {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut config = config(dir.path().to_owned());
    config.times = times;
    let running = server::start_on(config, Box::new(MemoryStore::default())).await;
    Hub { running: running.expect("start"), dir }
}

/// Everything that comes until the hub closes the connection.
async fn to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A connection that is cut off may end in an error as well.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("an end in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn timed_out(hub: &Hub) -> String {
    let metrics = hub.get("/metrics").await.text();
    let line = metrics.lines().find(|line| line.starts_with("lichen_api_connections_timed_out"));
    line.expect("a figure").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_or_half_a_head_is_let_go() {
    let hub = start(ApiTimes { head: SHORT, ..ApiTimes::default() }).await;
    let mut silent = hub.connect().await;
    assert_eq!(to_end(&mut silent).await, "");
    let mut mute = TcpStream::connect(hub.running.api()).await.expect("connect");
    assert_eq!(to_end(&mut mute).await, "");
    let mut slow = hub.connect().await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ").await.expect("write");
    assert_eq!(to_end(&mut slow).await, "");
    assert_eq!(timed_out(&hub).await, "lichen_api_connections_timed_out_total 3");
    hub.running.stop().await.expect("stop");
}

/// Asks for the health on a connection that stays.
async fn ask(stream: &mut Tls) {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.expect("write");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        answer.push(stream.read_u8().await.expect("more"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_between_requests() {
    let hub = Hub::start().await;
    let mut stream = hub.connect().await;
    for _ in 0..3 {
        ask(&mut stream).await;
    }
    assert_eq!(timed_out(&hub).await, "lichen_api_connections_timed_out_total 0");
    hub.running.stop().await.expect("stop");
    assert_eq!(to_end(&mut stream).await, "", "a stopped hub closes what is idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_plain_http_is_told_to_use_https() {
    let hub = Hub::start().await;
    let mut stream = TcpStream::connect(hub.running.api()).await.expect("connect");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.expect("write");
    let said = to_end(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("use https://"), "{said}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed() {
    let hub = start(ApiTimes { idle: SHORT, ..ApiTimes::default() }).await;
    let mut stream = hub.connect().await;
    ask(&mut stream).await;
    assert_eq!(to_end(&mut stream).await, "");
    assert_eq!(timed_out(&hub).await, "lichen_api_connections_timed_out_total 1");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_without_changes_is_not_idle() {
    let times = ApiTimes { head: SHORT, idle: SHORT, write: SHORT };
    let hub = start(times).await;
    let mut watch = hub.watch(&format!("{MAPS}?watch=true")).await;
    // When this one has been let go, the watch would have been, too.
    let mut silent = hub.connect().await;
    assert_eq!(to_end(&mut silent).await, "");
    hub.put("POST", MAPS, &config_map("a", json!({}), json!({}))).await.expect(201);
    assert_eq!(watch.change().await, "ADDED a");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_its_answer_is_let_go() {
    let hub = start(ApiTimes { write: SHORT, ..ApiTimes::default() }).await;
    // More in all than a socket takes, and each less.
    let large = "x".repeat(20 << 10);
    for i in 0..600 {
        let map = config_map(&format!("m{i}"), json!({}), json!({"x": large}));
        hub.put("POST", MAPS, &map).await.expect(201);
    }
    let mut stream = hub.connect().await;
    let request = format!("GET {MAPS} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("write");
    // The figure says when it has happened; no answer comes whole.
    timeout(DEADLINE, async {
        while timed_out(&hub).await != "lichen_api_connections_timed_out_total 1" {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("let go in time");
    assert!(to_end(&mut stream).await.len() < 600 * large.len());
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_hubs_own_authority_may_ask_from_a_browser() {
    let hub = Hub::start().await;
    let port = hub.running.api().port();
    let own = [format!("https://127.0.0.1:{port}"), format!("https://localhost:{port}")];
    for origin in &own {
        let host = origin.trim_start_matches("https://");
        let reply = hub.send("GET", MAPS, &[("host", host), ("origin", origin)], b"").await;
        assert_eq!(reply.code, 200, "{origin}");
    }
    let map = config_map("a", json!({}), json!({})).to_string();
    for origin in ["http://localhost:3000", "http://127.0.0.1:3000", "http://evil.example", "null"]
    {
        let reply = hub.send("POST", MAPS, &[("origin", origin)], map.as_bytes()).await;
        let refusal = reply.refusal();
        assert!(refusal.starts_with("403 Forbidden: requests of the web page"), "{refusal}");
    }
    let image = [("sec-fetch-site", "same-site")];
    assert_eq!(hub.send("GET", MAPS, &image, b"").await.code, 403);
    assert_eq!(hub.get(&format!("{MAPS}/a")).await.code, 404);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_starts_again_at_once_in_the_directory_of_the_last() {
    let dir = tempfile::tempdir().expect("temporary directory");
    for _ in 0..20 {
        let running = server::start(config(dir.path().to_owned())).await.expect("start");
        // An upload that goes on, a watch, and a connection that says nothing.
        let address = running.api();
        let request = |head: &str| format!("{head} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        let mut open = Vec::new();
        for head in ["POST /v2/a/blobs/uploads/", "GET /api/v1/pods?watch=true", ""] {
            let mut stream = connect(address, admin_of(dir.path())).await;
            if !head.is_empty() {
                stream.write_all(request(head).as_bytes()).await.expect("write");
                stream.read_u8().await.expect("an answer");
            }
            open.push(stream);
        }
        let error = server::start(config(dir.path().to_owned())).await.expect_err("in use");
        let error = error.to_string();
        let first =
            format!("in use by another hub (process {}, https://{address})", std::process::id());
        assert!(error.contains(&first), "{error}");
        running.stop().await.expect("stop");
    }
}

/// Set for the child of [`no_thread_panics_when_the_hub_stops`], and says how its hub ends.
const CHILD: &str = "LICHEN_TEST_END";

/// Not a test by itself: a hub that ends in one way or another.
#[test]
fn ending_child() {
    let Some(how) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let hub = Hub::start().await;
        let mut watch = hub.watch(&format!("{MAPS}?watch=true")).await;
        hub.put("POST", MAPS, &config_map("a", json!({}), json!({}))).await.expect(201);
        assert_eq!(watch.change().await, "ADDED a");
        if how == "stopped" {
            hub.running.stop().await.expect("stop");
        }
    });
    // The engine's thread outlives it, and has timers that are due.
    drop(runtime);
}

#[test]
fn no_thread_panics_when_the_hub_stops() {
    for how in ["stopped", "dropped"] {
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "limits::ending_child", "--nocapture", "--test-threads=1"])
            .env(CHILD, how)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .expect("run the child");
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{how}: {said}");
        assert!(!said.contains("panicked") && !said.contains("shutdown"), "{how}: {said}");
    }
}
