//! The pages that operators read: every command on them is run, and prints what they say.

use lichen_tests::{agent::Agent, docs::Desk, hub::Hub};

#[test]
fn every_command_of_the_command_lines_page_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start_with("pi-1", &hub, &["--label", "lichen.dev/site=barn"]);
    Desk::new(&hub.url()).follow("cli.md");
}
