//! What the hub is told about Pods, and when: in full after each connection, on request and after a loss; deltas
//! in between. Results (it runs, it failed, it is gone) travel at once while they are few, bundled when they are many;
//! steps on the way linger a little for company.
//!
//! A status can be lost: a broker drops it when a queue is full, or with its own end. The hub sees a gap in the numbers
//! with the next frame and asks for everything. So that there is a next frame, an empty status follows the last one
//! after a quiet while ([`LAST_WORDS`]). The alternatives cost more: an acknowledgement by the hub is a frame for each
//! status instead of one per silence, a repeated status is as long as the first, and a report every day would be paid
//! for ever.

use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

use firmware_compat::{
    capacity::full as capacity,
    id::PodId,
    time::Instant,
    v1::owned::{
        AssignmentId, ContainerState, ContainerStatus, Exit, List, Phase, PodStatus, Status,
    },
};

use crate::{
    backoff::{Bucket, CHANGES, HELLO, LAST_WORDS, LINGER, REPORT_GAP, SEND, SPREAD_MAX},
    effect::{Effect, Up, WakeReason},
    out::Out,
    pod::ON_THE_WAY,
};

/// Bytes of Pods in one status frame: well under a frame, so that the fields around them fit too.
const PART_BYTES: usize = 24 * 1024;

/// The hub's view of this device, as far as this agent has told it.
#[derive(Debug)]
pub struct Reporter {
    link_up: bool,
    /// What was sent on this connection.
    told: BTreeMap<PodId, PodStatus>,
    told_assignment: Option<AssignmentId>,
    /// Gone from the device, not yet told.
    removed: Vec<PodId>,
    /// When a full report is due.
    full_at: Option<Instant>,
    last_full: Option<Instant>,
    hello_at: Option<Instant>,
    hellos: u32,
    /// A Head came on this connection.
    answered: bool,
    /// Messages in a row that the shell could not send.
    send_failures: u32,
    changes: Bucket,
    /// When the changes that wait are to be sent.
    changes_at: Option<Instant>,
    /// When the next of [`LAST_WORDS`] is due, and which one it is.
    last_word: Option<(Instant, usize)>,
}

impl Reporter {
    pub fn new() -> Self {
        Self {
            link_up: false,
            told: BTreeMap::new(),
            told_assignment: None,
            removed: Vec::new(),
            full_at: None,
            last_full: None,
            hello_at: None,
            hellos: 0,
            answered: false,
            send_failures: 0,
            changes: CHANGES,
            changes_at: None,
            last_word: None,
        }
    }

    pub fn is_link_up(&self) -> bool {
        self.link_up
    }

    pub fn link_up(&mut self, now: Instant) {
        // A retained Head can overtake the news of its connection.
        *self = Self { link_up: true, answered: self.answered, ..Self::new() };
        self.hello_at = Some(now);
        self.full_at = Some(now);
    }

    pub fn link_down(&mut self) {
        *self = Self::new();
    }

    /// What the Hello says has changed.
    pub fn hello_changed(&mut self, now: Instant) {
        self.hello_at = Some(now);
        self.hellos = 0;
    }

    /// The hub knows this device: no need to repeat the Hello.
    pub fn answered(&mut self) {
        self.answered = true;
        if self.hellos > 0 {
            self.hello_at = None;
        }
    }

    /// The hub asks for everything, spread over a time. A request while one is pending changes nothing.
    pub fn requested(&mut self, spread: Duration, now: Instant, out: &mut Out) {
        if self.full_at.is_some() {
            return;
        }
        let wish = now + out.rng.up_to(spread.min(SPREAD_MAX));
        let at = self.last_full.map_or(wish, |last| wish.max(last + REPORT_GAP));
        self.full_at = Some(at);
        self.hello_at = Some(at);
        self.hellos = 0;
    }

    /// The shell could not send a Status or a Hello: everything is said again after a while.
    pub fn send_failed(&mut self, is_hello: bool, now: Instant) {
        self.send_failures = self.send_failures.saturating_add(1);
        let at = now + SEND.delay(self.send_failures);
        if is_hello {
            self.hello_at = Some(at);
        } else {
            self.full_at = Some(at);
        }
    }

    /// Nothing of the Pod is left on the device.
    pub fn removed(&mut self, id: PodId) {
        if self.link_up && self.told.remove(&id).is_some() {
            self.removed.push(id);
        }
    }

    /// Whether a Hello is due; if so it counts as sent.
    pub fn take_hello(&mut self, now: Instant) -> bool {
        let is_due = self.link_up && self.hello_at.is_some_and(|at| at <= now);
        if is_due {
            self.hellos = self.hellos.saturating_add(1);
            let again_at = now + HELLO.delay(self.hellos);
            self.hello_at = (!self.answered).then_some(again_at);
        }
        is_due
    }

    /// Sends what is due. `Pods` is the present state of each.
    pub fn flush(
        &mut self,
        assignment: Option<AssignmentId>,
        pods: Vec<PodStatus>,
        now: Instant,
        out: &mut Out,
    ) {
        if !self.link_up {
            return;
        }
        if self.full_at.is_some_and(|at| at <= now) {
            self.full_at = None;
            self.last_full = Some(now);
            self.removed.clear();
            self.told.clear();
            return self.send(assignment, true, pods, now, out);
        }
        if self.last_full.is_none() {
            return;
        }
        // One that came back before its end was told has not gone.
        self.removed.retain(|id| !pods.iter().any(|status| status.id == *id));
        let mut changed = pods;
        changed.retain(|status| self.told.get(&status.id) != Some(status));
        let is_urgent = self.told_assignment != assignment
            || !self.removed.is_empty()
            || changed.iter().any(|status| is_news(self.told.get(&status.id), status));
        if changed.is_empty() && !is_urgent {
            self.changes_at = None;
            return self.say_last_word(assignment, now, out);
        }
        let lingers_until = self.changes_at.unwrap_or(now + LINGER);
        if !is_urgent && lingers_until > now {
            self.changes_at = Some(lingers_until);
        } else if self.changes.take(now) {
            self.send(assignment, false, changed, now, out);
        } else {
            self.changes_at = Some(self.changes.next());
        }
    }

    fn send(
        &mut self,
        assignment: Option<AssignmentId>,
        full: bool,
        pods: Vec<PodStatus>,
        now: Instant,
        out: &mut Out,
    ) {
        self.last_word = Some((now + LAST_WORDS[0], 0));
        self.told_assignment = assignment;
        self.changes_at = None;
        let mut removed = core::mem::take(&mut self.removed);
        let mut rest = pods;
        loop {
            let after = rest.split_off(part_length(&rest));
            let later = removed.split_off(removed.len().min(capacity::STATUS_PODS));
            let more = !after.is_empty() || !later.is_empty();
            self.told.extend(rest.iter().map(|status| (status.id, status.clone())));
            let status =
                Status { assignment, full, more, pods: bounded(rest), removed: bounded(removed) };
            out.push(Effect::Send(Up::Status(status)));
            if !more {
                return;
            }
            (rest, removed) = (after, later);
        }
    }

    /// Says nothing, in a frame with the next number.
    fn say_last_word(&mut self, assignment: Option<AssignmentId>, now: Instant, out: &mut Out) {
        let Some((_, said)) = self.last_word.filter(|(at, _)| *at <= now) else { return };
        let next = said + 1;
        self.last_word = LAST_WORDS.get(next).map(|pause| (now + *pause, next));
        let (pods, removed) = (List::default(), List::default());
        let nothing = Status { assignment, full: false, more: false, pods, removed };
        out.push(Effect::Send(Up::Status(nothing)));
    }

    /// When something is due.
    pub fn timer(&self) -> Option<(Instant, WakeReason)> {
        if !self.link_up {
            return None;
        }
        let changes = self.changes_at.map(|at| (at, WakeReason::Changes));
        let full = self.full_at.map(|at| (at, WakeReason::Report));
        let hello = self.hello_at.map(|at| (at, WakeReason::Hello));
        // What waits to be sent is a word, too.
        let last_word = self.last_word.filter(|_| self.changes_at.is_none());
        let last_word = last_word.map(|(at, _)| (at, WakeReason::LastWord));
        changes.into_iter().chain(full).chain(hello).chain(last_word).min()
    }
}

/// Whether someone may be waiting to hear of a change, as opposed to steps on the way: of the Pod, or of containers of it
/// while others say what the Pod does.
fn is_news(told: Option<&PodStatus>, now: &PodStatus) -> bool {
    let is_step = |(told, now): (&ContainerStatus, &ContainerStatus)| {
        told == now
            || matches!(&now.state, ContainerState::Waiting { reason, .. }
                if ON_THE_WAY.contains(&reason.as_str()))
    };
    let all = |status: &PodStatus| status.init_containers.len() + status.containers.len();
    let are_steps = told.is_some_and(|told| {
        let init = told.init_containers.iter().zip(&now.init_containers);
        let of_pod = |status: &PodStatus| (status.identity, status.phase);
        of_pod(told) == of_pod(now)
            && (&told.reason, &told.message) == (&now.reason, &now.message)
            && all(told) == all(now)
            && init.chain(told.containers.iter().zip(&now.containers)).all(is_step)
    });
    is_result(now.phase) && !are_steps
}

/// As opposed to a step on the way.
fn is_result(phase: Phase) -> bool {
    match phase {
        Phase::Waiting | Phase::Running | Phase::Backoff | Phase::Succeeded | Phase::Failed => true,
        Phase::Fetching | Phase::Starting | Phase::Stopping => false,
    }
}

/// How many of these go into one frame: bounded in number and in bytes. At least one, if there is one: it fits a frame
/// alone, even where the upper bound of its bytes says otherwise.
fn part_length(pods: &[PodStatus]) -> usize {
    let mut bytes = 0;
    let fits = |status: &&PodStatus| {
        bytes += encoded_bytes_at_most(status);
        bytes <= PART_BYTES
    };
    pods.iter().take(capacity::STATUS_PODS).take_while(fits).count().max(1).min(pods.len())
}

/// An upper bound of a status in postcard: its text, and its other fields at their longest.
fn encoded_bytes_at_most(status: &PodStatus) -> usize {
    const FIXED: usize = 16 + 32 + 1 + 3 + 3 + 3 + 3;
    let containers = status.init_containers.iter().chain(status.containers.iter());
    let of_containers: usize = containers.map(container_bytes_at_most).sum();
    FIXED + status.reason.len() + status.message.len() + of_containers
}

fn container_bytes_at_most(status: &ContainerStatus) -> usize {
    const FIXED: usize = 3 + 1 + 1 + 5 + 1 + 1 + 32;
    const EXIT: usize = 5 + 3 + 3 + 10 + 10;
    let exit = |exit: &Exit| EXIT + exit.reason.len() + exit.message.len();
    let state = match &status.state {
        ContainerState::Waiting { reason, message } => 3 + 3 + reason.len() + message.len(),
        ContainerState::Running { .. } => 5 + 10,
        ContainerState::Terminated(ended) => exit(ended),
    };
    FIXED + status.name.len() + state + status.last_exit.as_ref().map_or(0, exit)
}

/// The caller has split by the list's capacity.
fn bounded<T, const N: usize>(items: Vec<T>) -> List<T, N> {
    let mut list = List::default();
    for item in items {
        if list.push(item).is_err() {
            debug_assert!(false, "split by capacity");
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use firmware_compat::{id::Hash, v1::owned::Text};

    use super::*;

    #[test]
    fn a_status_with_as_much_to_say_as_may_be_goes_alone_and_nothing_is_nothing() {
        let said = "x".repeat(5000);
        let ended = || Exit {
            code: i32::MIN,
            reason: Text::cut(&said),
            message: Text::cut(&said),
            started_ms: u64::MAX,
            at_ms: u64::MAX,
        };
        let container = ContainerStatus {
            name: Text::cut(&said),
            state: ContainerState::Terminated(ended()),
            last_exit: Some(ended()),
            restarts: u32::MAX,
            ready: true,
            started: true,
            image: Hash([9; 32]),
        };
        let mut status = PodStatus {
            id: PodId([9; 16]),
            identity: Hash([9; 32]),
            phase: Phase::Failed,
            reason: Text::cut(&said),
            message: Text::cut(&said),
            init_containers: bounded(vec![container.clone(); capacity::INIT_CONTAINERS]),
            containers: bounded(vec![container; capacity::CONTAINERS]),
        };
        crate::pod::fit_last_words(&mut status);
        assert!(encoded_bytes_at_most(&status) > PART_BYTES);
        let bytes = postcard::to_allocvec(&status).expect("it encodes").len();
        assert!(bytes <= encoded_bytes_at_most(&status));
        assert!(bytes + 256 <= firmware_compat::frame::MAX_FRAME_BYTES, "{bytes} fit no frame");
        assert_eq!(part_length(&[status.clone(), status]), 1);
        assert_eq!(part_length(&[]), 0);
    }
}
