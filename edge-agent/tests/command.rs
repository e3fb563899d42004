//! The program's command line, as a process: joining, running, and what it says when it can't.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use firmware_compat::enrolment::{ENROL_PATH, JoinToken};
use support::{
    http::Server,
    hub::{Heard, Hub},
};

fn agent(state: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lichen-agent"));
    command.args(words).arg("--state").arg(state).args(["--shim", "/nowhere/lichen-shim"]);
    command.stdin(Stdio::null()).env_remove("LICHEN_LOG").env_remove("LICHEN_JOIN_TOKEN");
    command
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// What an operator would paste.
fn token(hub: &Server) -> String {
    let invitation = hub.invitation();
    let token = JoinToken {
        addresses: invitation.addresses.try_into().unwrap(),
        fingerprint: invitation.fingerprint.unwrap(),
        secret: invitation.secret.unwrap(),
    };
    JoinToken::to_word(&serde_json::to_vec(&token).unwrap())
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_device_joins_by_one_pasted_line_and_says_so_again_the_next_time() {
    let (hub, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let line = ["join", &token(&hub), "--name", "pi", "--exit"];
    for expected in ["joined the hub as \"pi\"", "is \"pi\" of this hub already"] {
        let output = agent(dir.path(), &line).output().unwrap();
        assert!(output.status.success() && said(&output).contains(expected), "{}", said(&output));
    }
    assert_eq!(hub.count(ENROL_PATH), 1);
    let other = Server::start();
    let output = agent(dir.path(), &["join", &token(&other), "--exit"]).output().unwrap();
    assert!(!output.status.success());
    assert!(said(&output).contains("lichen device forget pi"), "{}", said(&output));
}

/// Command lines are seen by everybody on the machine for as long as the network is away.
#[test]
fn a_token_need_not_stand_on_the_command_line() {
    let hub = Server::start();
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut piped = agent(dirs[0].path(), &["join", "-", "--name", "pi", "--exit"]);
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", token(&hub)).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && said(&output).contains("joined"), "{}", said(&output));
    let mut by_variable = agent(dirs[1].path(), &["join", "--name", "pi-2", "--exit"]);
    let output = by_variable.env("LICHEN_JOIN_TOKEN", token(&hub)).output().unwrap();
    assert!(output.status.success() && said(&output).contains("joined"), "{}", said(&output));
    assert_eq!(hub.count(ENROL_PATH), 2);
    let output = agent(dirs[0].path(), &["join", "-"]).output().unwrap();
    assert!(
        !output.status.success() && said(&output).contains("lichen-join."),
        "{}",
        said(&output)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_has_joined_goes_on_as_an_agent() {
    let (mut hub, dir) = (Hub::start("pi").await, tempfile::tempdir().unwrap());
    let mut command = agent(dir.path(), &["join", &token(&hub.http), "--name", "pi"]);
    let agent = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    while !matches!(hub.next().await, Heard::Hello(_)) {}
    // Others on the machine see command lines: the right to join is on none of them any more.
    let line = std::fs::read_to_string(format!("/proc/{}/cmdline", agent.0.id())).unwrap();
    assert!(line.contains("--state") && !line.contains("lichen-join."), "{line}");
}

#[test]
fn what_can_not_be_done_is_said_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    for (words, hint) in [
        (vec![], "has not joined a hub yet"),
        (vec![], "lichen-agent join TOKEN"),
        (vec!["join"], "lichen token create"),
        (vec!["join", "lichen-join.xyz"], "copy it whole"),
        (vec!["join", "--hub", "127.0.0.1:9", "--name", "rpi_node1"], "--name rpi-node1"),
        (vec!["--hub", "127.0.0.1:9"], "belongs to `lichen-agent join`"),
    ] {
        let output = agent(dir.path(), &words).output().unwrap();
        assert!(!output.status.success(), "{words:?}");
        assert!(said(&output).contains(hint), "{words:?}: {}", said(&output));
    }
}
