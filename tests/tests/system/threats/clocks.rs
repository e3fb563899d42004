//! Clocks that are decades wrong, on either side or on both.

use lichen_tests::{
    agent::Agent,
    clock::Clock,
    hub::Hub,
    samples::{hello_module, wasm_deployment},
};

use super::card::Card;
use crate::site::{DEVICE, Site};

#[test]
#[ignore = "needs faketime: run by make test"]
fn clocks_at_1970_and_2100_keep_nobody_out_and_stop_nothing() {
    let mut hub = Hub::start();
    hub.cli().push(&hello_module(), "hello:1");
    hub.kill();
    hub.set_clock(&Clock::at(2100));
    hub.start_again();
    // It joins a hub that is 130 years ahead.
    let mut agent = Agent::new(DEVICE, &hub);
    agent.set_clock(&Clock::at(1970));
    agent.start_again();
    hub.api().until_ready(DEVICE);
    hub.api().apply("deployments", &wasm_deployment("web", "hello:1", 1));
    let web = hub.api().until_one_runs("web");
    let pid = agent.pid_of(&web.uid);
    let mut site = Site { agent, hub };
    for (round, (hubs, devices)) in [
        (Clock::right(), Clock::at(1970)),
        (Clock::at(1970), Clock::at(2100)),
        (Clock::at(2100), Clock::at(2100)),
        (Clock::at(1970), Clock::at(1970)),
    ]
    .into_iter()
    .enumerate()
    {
        site.hub.kill();
        site.agent.kill();
        site.hub.set_clock(&hubs);
        site.agent.set_clock(&devices);
        site.hub.start_again();
        site.agent.start_again();
        site.api().until_ready(DEVICE);
        let _next = site.run_hello(&format!("round-{round}"));
        assert_eq!(site.agent.pid_of(&web.uid), pid, "hub at {hubs:?}, device at {devices:?}");
    }
    assert_eq!(site.api().until_one_runs("web").restarts, 0);
}

#[test]
#[ignore = "needs curl, openssl, mosquitto_pub and faketime: run by make test"]
fn a_certificate_that_has_ended_is_good_for_a_new_one_alone_also_when_the_hubs_clock_goes_back() {
    let mut hub =
        Hub::start_with_flags(&["--certificate-lifetime", "30d", "--renewal-grace", "60d"]);
    let card = Card::joined(DEVICE, &hub);
    let renew = |card: &Card| {
        let shown = ["--cert", "card.pem", "--key", "key.pem"];
        card.post("/lichen/v1/renew", &card.request(DEVICE, None), &shown)
    };
    for (clock, may_renew) in [
        (Clock::fast_by_days(40), true),
        (Clock::right(), true),
        (Clock::fast_by_days(100), false),
        (Clock::at(1970), false),
    ] {
        hub.kill();
        hub.set_clock(&clock);
        hub.start_again();
        for path in ["/lichen/v1/connect", "/lichen/v1/session", "/artefacts/sha256:00"] {
            assert_eq!(card.ask_as_device(path).status, 401, "{clock:?}: {path}");
        }
        let said = card.publish("lichen/1/pi/up/event", &[]);
        assert!(said.contains("CONNACK (135)"), "{clock:?}: {said}");
        let renewed = renew(&card);
        assert_eq!(renewed.status, if may_renew { 200 } else { 401 }, "{clock:?}: {renewed:?}");
    }
}
