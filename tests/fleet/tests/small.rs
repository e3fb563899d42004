//! Every scenario with a small fleet: results are judged, times are not.

use lichen_fleet::{
    plan::Plan,
    report::Figure,
    scenario::{ALL, Run},
    site::Site,
};

#[test]
fn a_small_fleet_goes_through_every_scenario_with_nothing_lost_and_nothing_restarted() {
    let mut site = Site::open(Plan::small()).expect("a hub starts");
    site.connect().expect("all devices become Ready");
    for scenario in ALL {
        let outcome = match scenario.run {
            Run::Site(run) => run(&mut site),
            Run::Alone(run) => run(&site.plan),
        };
        let figures = outcome.unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
        assert!(!figures.is_empty(), "{} measures something", scenario.name);
        for Figure { what, value, goal } in figures {
            assert!(goal != "0" || value == "0", "{}: {what}: {value}", scenario.name);
            assert!(!value.contains("expired"), "{}: {what}: {value}", scenario.name);
        }
    }
    assert_eq!(site.fleet().running(), 0, "nothing runs after the last scenario");
    let counts = site.fleet().counts();
    let connected = counts.connected.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(connected, site.plan.devices, "every device is connected");
}
