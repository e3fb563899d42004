//! The pages that operators read: every command on them is run, and prints what they say.

use lichen_tests::{agent::Agent, docs::Desk, hub::Hub};

#[test]
fn every_command_of_the_command_lines_page_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start_with("pi-1", &hub, &["--label", "lichen.dev/site=barn"]);
    Desk::new(&hub).follow("cli.md");
}

#[test]
fn every_command_of_the_page_on_backups_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start("pi-1", &hub);
    Desk::new(&hub).follow("backup.md");
}

#[test]
fn every_command_of_the_page_on_brokers_prints_what_it_says() {
    let hub = Hub::start();
    Desk::new(&hub).follow("broker.md");
}

#[test]
fn every_command_of_the_page_on_changing_keys_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start("pi-1", &hub);
    Desk::new(&hub).follow("rotation.md");
}

#[test]
fn every_command_of_the_page_on_secrets_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start("pi-1", &hub);
    Desk::new(&hub).follow("secrets.md");
}

#[test]
fn every_command_of_the_page_of_pod_fields_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start("pi-1", &hub);
    Desk::new(&hub).follow("pod-fields.md");
}

#[test]
#[ignore = "needs root, runc, umoci and busybox-static: run by make test"]
fn every_command_of_the_page_on_probes_prints_what_it_says() {
    let site = crate::container::site("runc");
    Desk::new(&site.hub).follow("probes.md");
}

#[test]
fn every_command_of_the_page_on_jobs_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start("pi-1", &hub);
    Desk::new(&hub).follow("jobs.md");
}

#[test]
fn every_command_of_the_rollouts_page_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start_with("pi-1", &hub, &[]);
    Desk::new(&hub).follow("rollouts.md");
}

#[test]
fn every_command_of_the_page_on_where_pods_run_prints_what_it_says() {
    let hub = Hub::start();
    let at = |name, site| Agent::start_with(name, &hub, &["--label", site]);
    let _barns = [at("barn-1", "site=barn"), at("barn-2", "site=barn")];
    let _mill = at("mill-1", "site=mill");
    Desk::new(&hub).follow("scheduling.md");
}

#[test]
fn every_command_of_the_page_on_what_a_namespace_may_use_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start("pi-1", &hub);
    Desk::new(&hub).follow("quotas.md");
}

#[test]
fn every_command_of_the_page_on_pod_security_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start("pi-1", &hub);
    Desk::new(&hub).follow("pod-security.md");
}

#[test]
fn every_command_of_the_page_on_access_prints_what_it_says() {
    Desk::new(&Hub::start()).follow("access.md");
}

#[test]
fn every_command_of_the_page_on_who_did_what_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start("pi-1", &hub);
    Desk::new(&hub).follow("audit.md");
}

#[test]
fn every_command_of_the_page_on_the_device_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start("pi-1", &hub);
    Desk::new(&hub).follow("device.md");
}

#[test]
fn every_command_of_the_page_on_trust_prints_what_it_says() {
    Desk::new(&Hub::start()).follow("trust.md");
}

#[test]
#[ignore = "needs kubectl: run by make test"]
fn every_command_of_the_apis_page_prints_what_it_says() {
    Desk::new(&Hub::start()).follow("api.md");
}

#[test]
#[ignore = "needs curl: run by make test"]
fn every_command_of_the_watches_page_prints_what_it_says() {
    Desk::new(&Hub::start()).follow("watching.md");
}

#[test]
#[ignore = "needs mosquitto_pub, mosquitto_sub and python3-paho-mqtt: run by make test"]
fn every_command_of_the_devices_page_prints_what_it_says() {
    Desk::new(&Hub::start()).follow("device-endpoint.md");
}

#[test]
fn every_command_of_the_page_on_storage_prints_what_it_says() {
    let hub = Hub::start();
    let _pi = Agent::start("pi-1", &hub);
    Desk::new(&hub).follow("storage.md");
}
