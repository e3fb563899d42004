//! A hub in a process of its own, the fleet that belongs to it, and what every scenario does with them.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use firmware_compat::enrolment::JoinToken;
use lichen_agent::{join::Invitation, probe};
use lichen_tests::{
    api::{Api, Refused, collection},
    hub::Hub,
    mosquitto::Mosquitto,
    samples,
};
use serde_json::Value;

use crate::{
    fleet::{self, Fleet, Joined},
    limits,
    plan::Plan,
    usage,
};

/// The image that every Pod runs: a file of a few bytes.
pub const IMAGE: &str = "hollow:1";
/// The DaemonSet that puts one Pod on each device.
pub const EVERYWHERE: &str = "everywhere";
/// How often a wait says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Between two looks at a small fleet, and at a large one, whose every look costs the hub more.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(20)];
/// From so many devices on a fleet is large.
const LARGE: usize = 2_000;
/// Between two questions of a [`Prober`].
const PROBE_EVERY: Duration = Duration::from_millis(20);

/// A hub and its fleet.
#[derive(Debug)]
pub struct Site {
    /// How large everything is.
    pub plan: Plan,
    /// The hub.
    pub hub: Hub,
    /// Its API.
    pub api: Api,
    /// The fleet, once it is switched on.
    pub fleet: Option<Fleet>,
    /// Memory of the hub before any device had connected.
    pub empty_pss: u64,
    invitation: Invitation,
    dropped: Dropped,
    _mosquitto: Option<Mosquitto>,
}

/// Frames that the hub has dropped in all its lives, and those of the present one.
#[derive(Clone, Copy, Debug, Default)]
struct Dropped {
    received: [u64; 2],
    sent: [u64; 2],
}

/// What something took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// By the clock.
    pub wall: Duration,
    /// Of the hub's processor.
    pub cpu: Duration,
}

impl Site {
    /// Starts a hub that has the image, without devices.
    ///
    /// # Errors
    /// What the system does not allow, or what does not start.
    pub fn open(plan: Plan) -> Result<Self, String> {
        limits::raise(plan.devices)?;
        let mosquitto = plan.mosquitto.then(Mosquitto::start_quietly);
        let hub = match &mosquitto {
            Some(mosquitto) => Hub::start_quietly_beside(mosquitto),
            None => Hub::start_quietly(),
        };
        push_image(&hub)?;
        let api = hub.api();
        let invitation = invitation(&hub, plan.devices)?;
        let empty_pss = usage::pss(hub.pid());
        let (fleet, dropped) = (None, Dropped::default());
        Ok(Self { plan, api, hub, fleet, empty_pss, invitation, dropped, _mosquitto: mosquitto })
    }

    /// Lets the fleet join and switches it on, unless it is, and waits until every device is Ready. Returns what joining took,
    /// and what the rest did.
    ///
    /// # Errors
    /// Some did not get there in time.
    pub fn connect(&mut self) -> Result<[Spent; 2], String> {
        if self.fleet.is_some() {
            return Ok([Spent::default(); 2]);
        }
        let disk = self.hub.scratch().join("disk");
        let (start, cpu) = (Instant::now(), self.cpu());
        let joined = Joined::join(self.plan.devices, &self.invitation, &disk)?;
        let joining = self.spent(start, cpu);
        let (start, cpu) = (Instant::now(), self.cpu());
        self.fleet = Some(Fleet::start(joined)?);
        self.until_all_ready()?;
        Ok([joining, self.spent(start, cpu)])
    }

    fn spent(&self, start: Instant, cpu: Duration) -> Spent {
        Spent { wall: start.elapsed(), cpu: self.cpu().saturating_sub(cpu) }
    }

    /// The fleet.
    ///
    /// # Panics
    /// Before [`Self::connect`].
    #[must_use]
    pub fn fleet(&self) -> &Fleet {
        self.fleet.as_ref().expect("the fleet is switched on before a scenario begins")
    }

    /// Says what goes on, where figures are told as they come.
    pub fn tell(&self, text: &str) {
        if self.plan.tells {
            eprintln!("  {text}");
        }
    }

    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Where the devices connect.
    ///
    /// # Errors
    /// The hub named no numeric address.
    pub fn broker(&self) -> Result<SocketAddr, String> {
        let text = self.invitation.addresses.first().map(ToString::to_string).unwrap_or_default();
        text.parse().map_err(|error| format!("the hub's port for devices, {text:?}: {error}"))
    }

    /// CPU time of the hub so far.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        usage::cpu(self.hub.pid())
    }

    /// One of the hub's metrics.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<u64> {
        let text = self.api.text("/metrics").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    /// Adds up what the hub has dropped since the last look: frames of devices, frames to them. To be asked before the
    /// hub is killed, and after every scenario.
    pub fn dropped(&mut self) -> [u64; 2] {
        let add = |sum: &mut [u64; 2], now: Option<u64>| {
            let now = now.unwrap_or(sum[1]);
            // A hub that was started again counts from 0.
            sum[0] += if now < sum[1] { now } else { now - sum[1] };
            sum[1] = now;
            sum[0]
        };
        let received = self.metric("lichen_link_received_dropped_frames_total");
        let sent = self.metric("lichen_link_sent_dropped_frames_total");
        [add(&mut self.dropped.received, received), add(&mut self.dropped.sent, sent)]
    }

    /// Looks until `look` finds something.
    ///
    /// # Errors
    /// What was last seen at the plan's deadline.
    pub fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> Result<T, String>,
    ) -> Result<T, String> {
        let pause = PAUSES[usize::from(self.plan.devices >= LARGE)];
        let start = Instant::now();
        let mut told = start;
        loop {
            let seen = match look() {
                Ok(found) => return Ok(found),
                Err(seen) => seen,
            };
            if start.elapsed() > self.plan.deadline {
                let seconds = self.plan.deadline.as_secs();
                return Err(format!("not within {seconds} s: {what}; last seen: {seen}"));
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                self.tell(&format!("{what}: {seen} after {:.0} s", start.elapsed().as_secs_f64()));
            }
            thread::sleep(pause);
        }
    }

    /// Waits until a metric has a value.
    ///
    /// # Errors
    /// See [`Self::until`].
    pub fn until_metric(&self, name: &str, wanted: u64) -> Result<(), String> {
        self.until(&format!("{name} is {wanted}"), || match self.metric(name) {
            Some(value) if value == wanted => Ok(()),
            Some(value) => Err(value.to_string()),
            None => Err("no answer".to_owned()),
        })
    }

    /// Waits until the hub counts every device as Ready.
    ///
    /// # Errors
    /// See [`Self::until`].
    pub fn until_all_ready(&self) -> Result<(), String> {
        self.until_metric("lichen_devices_ready", self.plan.devices as u64)
    }

    /// Waits until figures of a workload's status are as wanted.
    ///
    /// # Errors
    /// See [`Self::until`].
    pub fn until_status(
        &self,
        kind: &str,
        name: &str,
        wanted: &[(&str, usize)],
    ) -> Result<(), String> {
        let path = format!("{}/{name}", collection(kind));
        self.until(&format!("{kind}/{name} has {wanted:?}"), || {
            let object = self.api.get(&path).map_err(|refused| format!("{refused:?}"))?;
            let status = &object["status"];
            let figure = |field: &str| status[field].as_u64().unwrap_or(0);
            match wanted.iter().all(|(field, count)| figure(field) == *count as u64) {
                true => Ok(()),
                false => Err(wanted
                    .iter()
                    .map(|(field, _)| format!("{field} {}", figure(field)))
                    .collect::<Vec<_>>()
                    .join(", ")),
            }
        })
    }

    /// Creates a workload. Returns how long the answer took.
    ///
    /// # Errors
    /// The hub refuses it.
    pub fn create(&self, kind: &str, object: &Value) -> Result<Duration, String> {
        let start = Instant::now();
        self.api.post(&collection(kind), object).map_err(|refused| refusal(kind, &refused))?;
        Ok(start.elapsed())
    }

    /// Deletes a workload and waits until no Pod is left, at the hub and on the devices. Returns how long that took.
    ///
    /// # Errors
    /// The hub refuses, or something stays.
    pub fn delete(&self, kind: &str, name: &str) -> Result<Duration, String> {
        let start = Instant::now();
        let path = format!("{}/{name}", collection(kind));
        self.api.delete(&path).map_err(|refused| refusal(kind, &refused))?;
        self.until_metric("lichen_pods", 0)?;
        let took = start.elapsed();
        match self.fleet().running() {
            0 => Ok(took),
            left => Err(format!("the hub has no Pod any more, and {left} containers run")),
        }
    }

    /// Puts a Pod on every device and waits until all are ready.
    ///
    /// # Errors
    /// Some did not get there in time.
    pub fn spread(&self) -> Result<(), String> {
        self.create("daemonsets", &samples::daemon_set(EVERYWHERE, IMAGE))?;
        self.until_spread()
    }

    /// Waits until a Pod is ready on every device.
    ///
    /// # Errors
    /// See [`Self::until`].
    pub fn until_spread(&self) -> Result<(), String> {
        self.until_status("daemonsets", EVERYWHERE, &[("numberReady", self.plan.devices)])
    }

    /// Takes the Pod of every device away again. Returns how long that took.
    ///
    /// # Errors
    /// See [`Self::delete`].
    pub fn clear(&self) -> Result<Duration, String> {
        self.delete("daemonsets", EVERYWHERE)
    }

    /// Deletes every workload, after a scenario that has failed.
    ///
    /// # Errors
    /// See [`Self::delete`].
    pub fn reset(&self) -> Result<(), String> {
        for kind in ["deployments", "daemonsets"] {
            for object in self.api.list(&collection(kind)) {
                let name = object.pointer("/metadata/name").and_then(Value::as_str);
                let path = format!("{}/{}", collection(kind), name.unwrap_or_default());
                self.api.delete(&path).map_err(|refused| refusal(kind, &refused))?;
            }
        }
        self.until_all_ready()?;
        self.until_metric("lichen_pods", 0)
    }

    /// Sum of the restarts of all Pods, as the API shows them, and how many Pods it shows.
    ///
    /// # Errors
    /// The hub does not answer.
    pub fn restarts(&self) -> Result<(usize, u64), String> {
        let list = self.api.get("/api/v1/pods").map_err(|refused| format!("{refused:?}"))?;
        let pods = list["items"].as_array().ok_or("the list of Pods has no items")?;
        let of = |pod: &Value| {
            let all = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
            all.into_iter().flatten().map(|c| c["restartCount"].as_u64().unwrap_or(0)).sum::<u64>()
        };
        Ok((pods.len(), pods.iter().map(of).sum()))
    }
}

fn refusal(kind: &str, refused: &Refused) -> String {
    format!("the hub refuses the change of {kind} ({}): {}", refused.status, refused.text)
}

/// By what a fleet of this size joins a hub: the line that an operator would paste on each device.
fn invitation(hub: &Hub, devices: usize) -> Result<Invitation, String> {
    let line = hub.cli().run(&["token", "create", "--uses", &devices.to_string()]).well();
    let word = line.split_whitespace().find(|word| word.starts_with("lichen-join."));
    let token = JoinToken::parse(word.unwrap_or_default(), |json| serde_json::from_slice(json));
    token.map(Invitation::from).map_err(|error| format!("{line:?}: {error}"))
}

fn push_image(hub: &Hub) -> Result<(), String> {
    let root = hub.scratch().join("hollow");
    let made = fs::create_dir_all(&root).and_then(|()| fs::write(root.join("hollow"), "hollow\n"));
    made.map_err(|error| format!("could not make the image: {error}"))?;
    let root = root.display().to_string();
    let platform = ["--platform", probe::architecture(), "--entrypoint", "/hollow"];
    let said =
        hub.cli().run(&[["image", "pack", &root, "-t", IMAGE].as_slice(), &platform].concat());
    if said.success { Ok(()) } else { Err(format!("could not push the image: {}", said.stderr)) }
}

/// Reads one Node again and again, and keeps how long the slowest answer took.
#[derive(Debug)]
pub struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Prober {
    /// Starts to ask.
    #[must_use]
    pub fn start(site: &Site) -> Self {
        let (api, stop) = (site.hub.api(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let path = format!("/api/v1/nodes/{}", fleet::name(0));
        let thread = thread::spawn(move || {
            let mut slowest = Duration::ZERO;
            while !stopped.load(Relaxed) {
                let start = Instant::now();
                let _answer = api.text(&path);
                slowest = slowest.max(start.elapsed());
                thread::sleep(PROBE_EVERY);
            }
            slowest
        });
        Self { stop, thread }
    }

    /// Stops, and says how long the slowest answer took.
    #[must_use]
    pub fn stop(self) -> Duration {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap_or_default()
    }
}
