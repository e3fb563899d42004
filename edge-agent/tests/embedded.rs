//! The agent inside another program.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{future::ready, path::Path};

use lichen_agent::{Options, join, options::KEEP_ALIVE, run, state::StateDir};
use support::http::Server;

fn options(state: &Path) -> Options {
    Options {
        state: state.to_owned(),
        labels: Vec::new(),
        runtime: Some("no-such-runtime".to_owned()),
        keep_alive: KEEP_ALIVE,
        adopt_hub: false,
        drain_on_exit: true,
        shim: "/nowhere/lichen-shim".into(),
        wasm_program: "/nowhere/lichen-agent".into(),
    }
}

#[tokio::test]
async fn an_agent_can_be_embedded_and_ends_when_asked_without_having_reached_anyone() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let server = Server::start();
    let joining = join::join(&state, &server.invitation(), Some("pi"), &mut |_| {}, &mut |_| {});
    joining.unwrap();
    drop((server, state));
    for _ in 0..2 {
        // The second time, the lock is free again.
        run(options(dir.path()), ready(())).await.unwrap();
    }
}

#[tokio::test]
async fn an_agent_that_has_not_joined_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = run(options(dir.path()), ready(())).await.unwrap_err().to_string();
    assert!(
        error.contains("lichen token create") && error.contains("lichen-agent join"),
        "{error}"
    );
}
