//! `docs/api.md`: every command is run in the order of the page, against a fresh hub, and prints what the page says.

use std::{path::Path, process::Command};

use crate::support::Hub;

/// Commands with what they print, in order.
fn commands(page: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) => match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), String::new())),
                (None, Some((_, printed))) => printed.push_str(&format!("{line}\n")),
                (None, None) => panic!("{line} comes before any command"),
            },
            (false, _) => {}
        }
    }
    commands
}

/// Text without what differs from run to run: ages, and blanks that follow from them.
fn steady(text: &str) -> String {
    let age = |word: &&str| word.ends_with('s') && word[..word.len() - 1].parse::<u32>().is_ok();
    let line = |line: &str| {
        let words = line.split_whitespace();
        let words: Vec<&str> = words.map(|word| if age(&word) { "AGE" } else { word }).collect();
        words.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl: run by make test"]
async fn every_command_of_the_page_prints_what_the_page_says() {
    let hub = Hub::start().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned();
    let page = std::fs::read_to_string(root.join("docs/api.md")).expect("the page");
    let commands = commands(&page);
    assert!(commands.len() > 10);
    for (command, expected) in commands {
        let arguments = command.strip_prefix("kubectl ").expect("a command of kubectl");
        let line = format!(
            "kubectl --server=http://{} --request-timeout=20s --cache-dir={} {arguments} 2>&1",
            hub.running.api(),
            hub.dir.path().join("cache").display(),
        );
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &line])
            .current_dir(&root)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", hub.dir.path());
        let output = tokio::task::spawn_blocking(move || shell.output().expect("a shell"));
        let output = output.await.expect("a shell");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(steady(&printed), steady(&expected), "{command}");
    }
    hub.running.stop().await.expect("stop");
}
