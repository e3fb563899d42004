//! What is measured, one file each. Every scenario finds all devices Ready and no workload, and leaves it so.

mod api;
mod apply;
mod bytes;
mod change;
mod connect;
mod deployment;
mod idle;
mod memory;
mod restart;
mod rollout;
mod storm;
mod turn;
mod watchers;

use std::time::{Duration, Instant};

use crate::{placement, plan::Plan, report::Figure, site::Site};

/// What a scenario comes to: figures, or what is not as it should be.
pub type Outcome = Result<Vec<Figure>, String>;

/// Something that can be measured by itself.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// How.
    pub run: Run,
}

/// What a scenario needs.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// A hub and a fleet.
    Site(fn(&mut Site) -> Outcome),
    /// Nothing but a library.
    Alone(fn(&Plan) -> Outcome),
}

/// Every scenario, in the order in which they run.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "connect",
        about: "all devices are switched on at once",
        run: Run::Site(connect::run),
    },
    Scenario {
        name: "memory",
        about: "the hub's memory and disk, without and with a Pod on each device",
        run: Run::Site(memory::run),
    },
    Scenario {
        name: "apply",
        about: "a DaemonSet over all devices, and its deletion",
        run: Run::Site(apply::run),
    },
    Scenario {
        name: "bytes",
        about: "bytes on each device's connection",
        run: Run::Site(bytes::run),
    },
    Scenario {
        name: "change",
        about: "one changed variable on a device with 100 Pods: bytes on its connection and its disk",
        run: Run::Site(change::run),
    },
    Scenario {
        name: "deployment",
        about: "a Deployment of as many replicas as devices, then of twice as many",
        run: Run::Site(deployment::run),
    },
    Scenario {
        name: "rollout",
        about: "a new template for a Deployment, a tenth at a time",
        run: Run::Site(rollout::run),
    },
    Scenario {
        name: "turn",
        about: "containers crash one by one: what a status costs",
        run: Run::Site(turn::run),
    },
    Scenario {
        name: "restart",
        about: "the hub is killed and started again",
        run: Run::Site(restart::run),
    },
    Scenario {
        name: "storm",
        about: "every connection is cut at once",
        run: Run::Site(storm::run),
    },
    Scenario {
        name: "api",
        about: "reading one object, all Pods, and pages of them",
        run: Run::Site(api::run),
    },
    Scenario {
        name: "watchers",
        about: "a DaemonSet while many watch",
        run: Run::Site(watchers::run),
    },
    Scenario {
        name: "idle",
        about: "the hub's CPU while nothing happens",
        run: Run::Site(idle::run),
    },
    Scenario { name: "placement", about: "the scheduler alone", run: Run::Alone(placement::run) },
];

/// Waits until the CPU time of a hub has stopped rising: what a scenario left behind is done.
fn settle(site: &Site) {
    const QUIET: Duration = Duration::from_millis(300);
    let end = Instant::now() + site.plan.deadline;
    loop {
        let before = site.cpu();
        std::thread::sleep(QUIET);
        let used = site.cpu().saturating_sub(before);
        if used <= Duration::from_millis(10) || Instant::now() > end {
            return;
        }
    }
}
