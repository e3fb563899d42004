//! `docs/watching.md`: every command is run in the order of the page, against a fresh hub, and prints what the page shows.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::support::Hub;

/// Where the hub of the page listens; the test's listens elsewhere.
const PAGE: &str = "127.0.0.1:6180";

/// Runs commands, and gives all that they print.
fn run(commands: &str) -> String {
    let ran = Command::new("sh").args(["-c", commands]).stdin(Stdio::null()).output();
    String::from_utf8_lossy(&ran.expect("a shell").stdout).into_owned()
}

/// Whether a line is what the page shows; `…` stands for what differs from run to run.
fn is_shown(line: &str, shown: &str) -> bool {
    match shown.split_once('…') {
        Some((start, end)) => line.starts_with(start) && line.ends_with(end),
        None => line == shown,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs curl: run by make test"]
async fn every_command_of_the_page_prints_what_the_page_shows() {
    let hub = Hub::start().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let page = std::fs::read_to_string(root.join("docs/watching.md")).expect("the page");
    let blocks: Vec<&str> = page.split("```sh\n").skip(1).collect();
    assert!(blocks.len() >= 7, "{} blocks", blocks.len());
    for block in blocks {
        let (commands, rest) = block.split_once("```\n").expect("a block ends");
        let shown = rest.strip_prefix("```text\n").expect("an answer is shown");
        let (shown, _) = shown.split_once("```").expect("a block ends");
        let own = commands.replace(PAGE, &hub.running.api().to_string());
        let answer = tokio::task::spawn_blocking(move || run(&own)).await.expect("a shell");
        for line in shown.lines() {
            let found = answer.lines().any(|printed| is_shown(printed, line));
            assert!(found, "{line:?} is not in the answer to\n{commands}\n{answer}");
        }
    }
    hub.running.stop().await.expect("stop");
}
