//! The end of a history: the faults stop, everything must become as declared within a stated time, and then be quiet.

use firmware_compat::v1::owned::RuntimeClass;
use lichen_agent_core::Event;
use lichen_hub_core::{
    api::{Kind, Object},
    event::{Platform, Request},
};

use crate::{
    FAIR, World,
    board::{Program, Transfer},
    declared::{Spec, Thing},
    firmware::Firmware,
    hub::Asked,
    jobs,
    manifests::Workload,
};

/// After the last fault, everything is as declared within so many minutes. The longest waits on the way: a reminder of
/// the hub or a restart after a crash, 10 and 5 minutes, and a broker's patience with a silent connection, 30.
pub const CONVERGES_WITHIN_MIN: u64 = 60;

/// The same, where frames were lost on connections that stood: the hub asks for what it missed, ever more seldom, up to
/// once an hour, until a report came whole.
pub const HEALS_WITHIN_MIN: u64 = 20 * 60;

/// The same in a world with certificates: a device whose certificate has ended while its hub was away asks for a new one up
/// to an hour after its last call in vain, and one that was refused waits as long before it calls.
pub const RENEWS_WITHIN_MIN: u64 = 4 * 60;

/// An hour without a renewal is found within so many.
const HOURS_WITHOUT_RENEWAL: u64 = 40;

/// Commits of the hub, bytes on boards' disks, and messages.
type Written = (u64, u64, (u64, u64, u64));

impl World {
    /// Stops every fault, as an operator and better weather would.
    pub fn recover(&mut self) {
        self.tell("# the faults stop");
        self.weather = FAIR;
        self.broker.up = true;
        for hub in 1..self.hubs.len() {
            self.kill_hub(hub);
        }
        self.hubs[0].is_well();
        self.hubs[0].clock_off = 0;
        self.start_hub(0);
        let now = self.now;
        for board in 0..self.boards.len() {
            if self.boards[board].is_clone() {
                self.power_off(board);
                continue;
            }
            let it = &mut self.boards[board];
            it.cable = true;
            it.disk.full = false;
            it.transfer = Transfer::Good;
            it.dies_in_save = None;
            it.calm_since = now;
            (it.runtime_broken, it.runtime_lies) = (false, false);
            self.power_on(board);
            self.start_agent(board);
            self.tell_runtimes(board);
        }
    }

    /// Lets time pass until everything is as declared.
    pub fn converge(&mut self) {
        let within = match (self.was_lossy, self.has_certificates()) {
            (true, _) => HEALS_WITHIN_MIN,
            (false, true) => RENEWS_WITHIN_MIN,
            (false, false) => CONVERGES_WITHIN_MIN,
        };
        for minute in 0..within {
            self.judge_deafness();
            self.operators_help();
            self.pass(60_000);
            // Where an answer was lost, the hub says what is so.
            self.look_after_step();
            if self.verdict().is_some() {
                return;
            }
            match self.lacking() {
                None => {
                    return self.tell(&format!("everything is as declared after {minute} minutes"));
                }
                Some(lacking) => self.audit.lacking = lacking,
            }
        }
        self.tell_state();
        let what = format!("after {within} minutes without faults: {}", self.audit.lacking);
        let check = if what.contains("(deleted)") {
            "deleted-is-gone"
        } else if self.has_certificates() && what.contains("is not connected") {
            "expired-renews-and-returns"
        } else {
            "converges"
        };
        self.fail(check, &what);
    }

    /// What the API shows, for a person who wonders.
    pub fn tell_state(&mut self) {
        for object in self.list(Kind::Node) {
            let Object::Node(node) = object.as_ref() else { continue };
            let conditions: Vec<String> = node
                .status
                .conditions
                .iter()
                .map(|c| format!("{}={} ({})", c.kind, c.status, c.reason))
                .collect();
            self.tell(&format!("  node {}: {}", node.metadata.name, conditions.join(", ")));
        }
        for object in self.list(Kind::Pod) {
            let Object::Pod(pod) = object.as_ref() else { continue };
            let device = pod.spec.node_name.as_deref().unwrap_or("no device");
            let going = pod.metadata.deletion_timestamp.as_ref().map_or("", |_| ", on its way out");
            let (status, name) = (&pod.status, &pod.metadata.name);
            let line = format!(
                "  pod {name} on {device}: {} {} {}{going}",
                status.phase, status.reason, status.message
            );
            self.tell(&line);
        }
    }

    /// What the hub asks of people: to look at devices that it paused.
    fn operators_help(&mut self) {
        for board in 0..self.boards.len() {
            if !self.boards[board].is_clone() {
                self.start_agent(board);
            }
        }
        for board in 0..self.boards.len() {
            if self.is_kept_out(board) && self.boards[board].powered {
                self.rejoin(board);
            }
        }
        for (device, foreign) in self.paused() {
            self.help(&device, foreign);
        }
        for device in self.deaf() {
            self.help(&device, true);
        }
    }

    /// Devices that know the hub by a key that it has not any more: they were away while it handed over the next.
    pub(super) fn deaf(&mut self) -> Vec<String> {
        let deaf = |node: &lichen_hub_core::api::Node| {
            node.status.conditions.iter().any(|condition| condition.kind == "HubRefused")
        };
        self.list(Kind::Node)
            .iter()
            .filter_map(|object| match object.as_ref() {
                Object::Node(node) if deaf(node) => Some(node.metadata.name.clone()),
                _ => None,
            })
            .filter(|name| self.boards.iter().any(|board| board.name == *name && board.powered))
            .collect()
    }

    /// Devices that the hub paused, and whether another hub is the reason.
    fn paused(&mut self) -> Vec<(String, bool)> {
        self.list(Kind::Node)
            .iter()
            .filter_map(|object| match object.as_ref() {
                Object::Node(node) => Some(node),
                _ => None,
            })
            .filter_map(|node| {
                let paused = node.status.conditions.iter().find(|c| c.kind == "Paused")?;
                Some((node.metadata.name.clone(), paused.message.contains("another hub")))
            })
            .collect()
    }

    pub(crate) fn help(&mut self, device: &str, foreign: bool) {
        let board = self.boards.iter().position(|b| b.name == device && !b.is_clone());
        match board {
            Some(board) if self.boards[board].firmware.is_some() => {
                // It has no command line: its flash is written anew.
                self.power_off(board);
                self.boards[board].firmware = Some(Firmware::new(self.boards[board].agent_id()));
                self.boards[board].heard_ms = 0;
                self.power_on(board);
            }
            Some(board) if foreign => {
                self.boards[board].adopts = true;
                self.feed(board, Event::AdoptLineage);
                if let Some(hub) = self.identity(0) {
                    self.introduce(board, hub);
                }
            }
            _ => {
                self.audit.resumed.insert(device.to_owned());
                let request = Request::Resume { device: device.to_owned() };
                self.ask_hub(0, request, Asked::Change(0));
            }
        }
    }

    /// What is not as declared yet; `None` if everything is.
    pub fn lacking(&mut self) -> Option<String> {
        if self.hubs[0].engine.is_none() {
            return Some("the hub does not run".into());
        }
        for board in 0..self.boards.len() {
            if self.boards[board].powered
                && let Some(lacking) = self.board_lacks(board)
            {
                return Some(lacking);
            }
        }
        if let Some(going) = self.audit.pods.values().find(|i| i.deleting_ms.is_some()) {
            let device = going.device.as_deref().unwrap_or("none");
            return Some(format!("{} on {device} is still on its way out", going.name));
        }
        if let Some(paused) = self.paused().first() {
            return Some(format!("{} is paused", paused.0));
        }
        if let Some(deaf) = self.deaf().first() {
            return Some(format!("{deaf} does not know the hub's key"));
        }
        for thing in self.declared.things() {
            if let Some(lacking) = self.job_lacks(&thing) {
                return Some(lacking);
            }
        }
        let workloads = self.declared.workloads();
        workloads.iter().find_map(|(thing, workload)| self.workload_lacks(thing, workload))
    }

    fn board_lacks(&self, board: usize) -> Option<String> {
        let it = &self.boards[board];
        let label = &it.label;
        let is_known = it.link.conn.is_some_and(|conn| self.broker.knows(&it.name, conn));
        if !it.link.is_up() || !is_known {
            return Some(format!("{label} is not connected"));
        }
        if let Some(firmware) = &it.firmware {
            return firmware.lacks(label);
        }
        if it.facts.protocol != firmware_compat::frame::VERSION {
            return None;
        }
        let Some(held) = it.agent.as_ref().and_then(lichen_agent_core::Agent::assignment) else {
            let placed = self.audit.pods.values().any(|i| i.device.as_ref() == Some(&it.name));
            return placed.then(|| format!("{label} holds no assignment"));
        };
        let newest = self.audit.heads.get(&it.name);
        if newest.is_some_and(|newest| *newest != held.generation) {
            return Some(format!("{label} holds {}, the newest is {newest:?}", held.generation));
        }
        let wanted = self.wanted(board)?;
        for pod in &wanted {
            if Program::all_stay_up(pod) && !it.runs_whole(pod) {
                return Some(format!("{} does not run on {label}", pod.name));
            }
            if let Some(stale) = self.stale_secret(board, pod) {
                return Some(stale);
            }
        }
        it.runs
            .iter()
            .find(|(id, run)| {
                run.is_running()
                    && !(self.audit.pods.contains_key(*id)
                        && wanted.iter().any(|w| w.id == **id && w.identity == run.identity))
            })
            .map(|(_, run)| format!("{} (deleted) still runs on {label}", run.name))
    }

    /// A Job ends where some board can do its work.
    fn job_lacks(&self, thing: &Thing) -> Option<String> {
        let Some(Spec::Job(_)) = self.declared.certain(thing) else { return None };
        let root = self.audit.roots.get(thing)?.get(jobs::IMAGE).copied().flatten()?;
        let work = jobs::anywhere();
        let mut boards = 0..self.boards.len();
        let is_possible = boards.any(|board| self.is_eligible(board, &work, &[root]));
        let lacks = is_possible && !self.audit.jobs.has_ended(thing.name());
        lacks.then(|| format!("job {} has not ended", thing.name()))
    }

    /// Whether a workload's copies are as many, and where, as the model says.
    fn workload_lacks(&self, thing: &Thing, workload: &Workload) -> Option<String> {
        // A name means what it meant when the workload was applied.
        let roots = self.audit.roots.get(thing)?;
        let root = roots.get(&workload.image).copied().flatten()?;
        let all = workload.images().map(|image| roots.get(image).copied().flatten());
        let all: Vec<_> = all.collect::<Option<_>>()?;
        let config = workload.config.clone().map(Thing::Config);
        let secret = workload.secret.clone().map(Thing::Secret);
        let mut taken = config.into_iter().chain(secret);
        let lacks_config = taken.any(|taken| self.declared.certain(&taken).is_none());
        if lacks_config || !workload.stays_up() {
            return None;
        }
        let copies: Vec<_> = self
            .audit
            .pods
            .iter()
            .filter(|(_, copy)| {
                copy.owner == thing.name()
                    && copy.owner_kind == workload.kind()
                    && copy.deleting_ms.is_none()
            })
            .collect();
        let eligible: Vec<usize> = (0..self.boards.len())
            .filter(|board| self.is_eligible(*board, workload, &all))
            .collect();
        let runs_on = |board: &usize| {
            let it = &self.boards[*board];
            copies
                .iter()
                .filter(|(id, copy)| {
                    copy.device.as_ref() == Some(&it.name)
                        && it.is_running(id)
                        && self.audit.revision(copy).is_some_and(|revision| {
                            revision.roots.get(&workload.image) == Some(&Some(root))
                                && Some(&revision.template)
                                    == workload.pod_template(thing.name()).as_ref()
                        })
                })
                .count()
        };
        let name = thing.name();
        match workload.replicas {
            // Where memory is asked for, others may have taken it: then the hub says so.
            None if workload.memory_mi > 0 => None,
            None => eligible.iter().find_map(|board| {
                let count = runs_on(board);
                (count != 1)
                    .then(|| format!("{count} copies of {name} on {}", self.boards[*board].label))
            }),
            Some(replicas) => {
                let all: Vec<usize> = (0..self.boards.len()).collect();
                let count: usize = all.iter().map(runs_on).sum();
                let can = workload.memory_mi == 0 && !eligible.is_empty();
                let right = count == replicas as usize || (!can && count <= replicas as usize);
                (!right).then(|| format!("{count} copies of {name} run, not {replicas}"))
            }
        }
    }

    /// Whether the model says that a board may have a new copy of a workload.
    fn is_eligible(
        &self,
        board: usize,
        workload: &Workload,
        roots: &[firmware_compat::id::Hash],
    ) -> bool {
        let it = &self.boards[board];
        let settings = match self.declared.certain(&Thing::Node(it.name.clone())) {
            Some(Spec::Node(settings)) => settings.clone(),
            _ => crate::manifests::NodeSettings::default(),
        };
        let engine = if workload.wasm { RuntimeClass::Wasm } else { RuntimeClass::Container };
        let tainted = !workload.tolerates && !settings.taints.is_empty();
        let closed = settings.cordoned && workload.replicas.is_some();
        let built = workload.wasm
            || roots.iter().all(|root| {
                crate::hub::has_build(*root, &Platform::Container { arch: it.facts.arch.clone() })
            });
        it.powered
            && it.firmware.is_none()
            && it.facts.protocol == firmware_compat::frame::VERSION
            && it.facts.engines.contains(&engine)
            && !tainted
            && !closed
            && built
            && self.has_label(&it.name, &settings, workload.selector.as_ref())
    }

    /// Takes away what makes noise by itself, and looks whether an hour is quiet.
    pub fn quiet(&mut self) {
        let noisy: Vec<Thing> = self
            .declared
            .workloads()
            .into_iter()
            .filter(|(thing, workload)| {
                !workload.stays_up()
                    || workload.images().any(|image| image.starts_with("flaky"))
                    || self.keeps_noisy_pods(thing, workload)
            })
            .map(|(thing, _)| thing)
            .collect();
        let is_job = |thing: &Thing| matches!(thing, Thing::Job(_));
        let jobs = self.declared.things().into_iter().filter(is_job);
        for thing in noisy.into_iter().chain(jobs) {
            self.declare(thing, None);
        }
        self.converge();
        // Silent connections end, questions of the hub and last words of the devices are said.
        self.pass(50 * 3_600_000);
        // A disk that had been full may have taken in something old meanwhile.
        self.converge();
        self.pass(50 * 3_600_000);
        if self.verdict().is_some() {
            return;
        }
        let (before, after) = self.quiet_hour();
        if before.0 != after.0 {
            let what = format!("the hub committed {} times in a quiet hour", after.0 - before.0);
            self.fail("quiet-hour-saves-nothing", &what);
        }
        if before.1 != after.1 {
            let what = format!("agents wrote {} bytes in a quiet hour", after.1 - before.1);
            self.fail("quiet-hour-saves-nothing", &what);
        }
        if before.2 != after.2 {
            let sent = after.2.0 - before.2.0;
            let heard = after.2.2 - before.2.2;
            let what = format!("{sent} messages up and {heard} down in a quiet hour");
            self.fail("wire-budget", &what);
        }
    }

    /// What was written before and after an hour in which no certificate was renewed.
    fn quiet_hour(&mut self) -> (Written, Written) {
        for _ in 0..HOURS_WITHOUT_RENEWAL {
            let (before, renewals) = (self.written(), self.renewals);
            for minute in 0..60 {
                self.sabotage_idleness(minute);
                self.pass(60_000);
            }
            if renewals == self.renewals {
                return (before, self.written());
            }
        }
        self.fail("quiet-hour-saves-nothing", "certificates are renewed every hour");
        (self.written(), self.written())
    }

    /// Whether Pods of an older template are still there, because nothing of the newest has a place, and make noise.
    fn keeps_noisy_pods(&self, thing: &Thing, workload: &Workload) -> bool {
        let own = self
            .audit
            .pods
            .values()
            .filter(|pod| pod.owner == thing.name() && pod.owner_kind == workload.kind());
        let templates = own.filter_map(|pod| self.audit.revision(pod)).map(|of| &of.template);
        templates.flat_map(|of| &of.spec.containers).any(|container| {
            container.image.starts_with("flaky") || !Program::named(&container.image).stays_up()
        })
    }

    fn written(&self) -> Written {
        // The time floor is kept once a day, when the hub says what time it is; the hub counts its own such commits apart.
        let disks = self.boards.iter().map(|board| board.disk.written - board.floor_bytes).sum();
        // A device that the hub does not understand repeats its hello once an hour.
        let speaks = |name: &str| {
            self.boards.iter().any(|board| {
                board.name == name && board.facts.protocol == firmware_compat::frame::VERSION
            })
        };
        (self.hubs[0].commits, disks, self.audit.wire.total(speaks))
    }
}
