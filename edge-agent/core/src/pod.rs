//! The life of one Pod on the device: which state it is in and which step comes next. One table, [`Slot::step`],
//! holds every move that the agent makes by itself; `answers` holds what the shell's answers do, `files` what changes in
//! place, `questions` what the rest of the agent asks; `standing` puts a state in the hub's words.

mod answers;
mod files;
mod questions;
mod standing;

use alloc::{collections::BTreeSet, format, string::String, sync::Arc};
use core::time::Duration;

use firmware_compat::{
    id::{Hash, PodId},
    time::{Instant, UnixMs},
    v1::owned::{Exit, Pod, RestartPolicy, Runtime, RuntimeClass},
};

use crate::{backoff::STOP_OVERDUE, effect::Effect, event::Failure, fetch::Fetches, out::Out};
use files::Files;

/// One Pod: what is wanted, what the device holds of it, and where it stands.
#[derive(Debug)]
pub struct Slot {
    pub id: PodId,
    /// What the assignment in force says; `None` if the Pod is to go.
    pub wanted: Option<Arc<Pod>>,
    /// What the run directory holds; `None` if there is none.
    holds: Option<Holds>,
    state: State,
    /// Whether it was ever started on this device.
    started: bool,
    /// How often it was started again.
    restarts: u32,
    /// Ends in a row without a healthy run in between.
    ends: u32,
    /// Failed steps in a row.
    failures: u32,
    /// Of the last failed step.
    failure: Option<Failure>,
    last_exit: Option<Exit>,
    files: Files,
}

/// What a run directory holds.
#[derive(Debug)]
struct Holds {
    /// `None` if it does not say.
    identity: Option<Hash>,
    /// What was prepared. `None` if an earlier agent did it.
    spec: Option<Arc<Pod>>,
}

/// Where a Pod stands.
#[derive(Debug)]
enum State {
    /// Nothing runs, nothing is under way.
    Absent,
    /// The shell prepares its next start.
    Preparing,
    /// Preparing failed.
    Unprepared { until: Instant },
    /// The shell starts it. Its end may overtake the news of its start.
    Starting { ended: Option<Exit> },
    /// It runs.
    Running { pid: u32, started_ms: UnixMs, since: Instant },
    /// The shell stops it.
    Stopping { overdue_at: Option<Instant> },
    /// It ended by itself; what follows is the restart policy's.
    Ended { at: Instant, delay: Duration },
    /// It will be started again.
    Backoff { until: Instant, delay: Duration },
    /// It stays ended.
    Done,
    /// Nobody knows how it ended; what is left of it must be cleaned away.
    Lost,
    /// The shell cleans up.
    Cleaning { keep_volumes: bool },
    /// Cleaning up failed.
    Unclean { until: Instant },
}

/// How what is wanted relates to what the device holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    /// Wanted, and nothing of it is here.
    New,
    /// Wanted as it is here.
    Same,
    /// Wanted, but differently.
    Other,
    /// Not wanted.
    Gone,
}

/// What a step may look at besides its own slot.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// No assignment is in force, so nobody knows what is wanted: everything stays as it is.
    pub hold: bool,
    /// The agent is to end: Pods are stopped and not started.
    pub draining: bool,
    /// What earlier runs left is known.
    pub booted: bool,
    pub runtimes: &'a [Runtime],
    pub fetches: &'a Fetches,
    /// Pods that are to go and of which a process runs, or may.
    pub leaving: &'a BTreeSet<PodId>,
    pub link_up: bool,
}

impl Context<'_> {
    fn is_usable(&self, engine: RuntimeClass) -> bool {
        self.runtimes.iter().any(|runtime| runtime.engine == engine && runtime.usable)
    }
}

impl Slot {
    /// A slot of which nothing is on the device yet.
    pub fn new(id: PodId) -> Self {
        Self {
            id,
            wanted: None,
            holds: None,
            state: State::Absent,
            started: false,
            restarts: 0,
            ends: 0,
            failures: 0,
            failure: None,
            last_exit: None,
            files: Files::default(),
        }
    }

    /// Takes the next steps, until an answer, the clock or the assignment must change something.
    /// Returns false when nothing is wanted and nothing is left: the slot can go.
    pub fn step(&mut self, context: &Context<'_>, now: Instant, out: &mut Out) -> bool {
        while let Some(next) = self.next(context, now, out) {
            self.state = next;
        }
        self.holds.is_some() || self.wanted.is_some() || !matches!(self.state, State::Absent)
    }

    /// The table of moves. `None`: stay.
    fn next(&mut self, context: &Context<'_>, now: Instant, out: &mut Out) -> Option<State> {
        use Match::{Gone, New, Other, Same};
        if self.files.is_updating() {
            return None;
        }
        match (&self.state, self.relation()) {
            // An answer is due first.
            (State::Preparing | State::Starting { .. } | State::Cleaning { .. }, _) => None,
            (State::Stopping { overdue_at }, _) => {
                if overdue_at.is_some_and(|at| at <= now) {
                    self.overdue(now, out)
                } else {
                    None
                }
            }
            (State::Running { .. }, _) if context.draining => {
                Some(self.stop(now, "the agent is being drained", out))
            }
            // Nobody knows what is wanted.
            _ if context.hold => None,

            (State::Running { .. }, Gone) => Some(self.stop(now, "it was removed", out)),
            (State::Running { .. }, Other) => Some(self.stop(now, "it is replaced", out)),
            (State::Running { .. }, New | Same) => {
                self.refresh(now, out);
                None
            }

            (State::Lost, Same) => Some(self.clean(true, out)),
            (State::Lost, New | Other | Gone) => Some(self.clean(false, out)),

            (State::Unclean { until }, _) if *until > now => None,
            (State::Unclean { .. }, relation) => Some(self.clean(relation == Same, out)),

            (State::Absent, Gone) if self.holds.is_none() => None,
            (
                State::Absent
                | State::Unprepared { .. }
                | State::Ended { .. }
                | State::Backoff { .. }
                | State::Done,
                Other | Gone,
            ) => Some(self.clean(false, out)),

            (State::Ended { at, delay }, New | Same) => {
                let (at, delay) = (*at, *delay);
                Some(self.after_end(at, delay, now, out))
            }
            (State::Backoff { until, .. } | State::Unprepared { until }, New | Same) => {
                (*until <= now).then_some(State::Absent)
            }
            (State::Done, New | Same) => None,
            (State::Absent, New | Same) => {
                self.may_start(context).then(|| self.prepare(out)).flatten()
            }
        }
    }

    fn relation(&self) -> Match {
        match (&self.wanted, &self.holds) {
            (None, _) => Match::Gone,
            (Some(_), None) => Match::New,
            (Some(wanted), Some(holds)) if holds.identity == Some(wanted.identity) => Match::Same,
            (Some(_), Some(_)) => Match::Other,
        }
    }

    fn may_start(&self, context: &Context<'_>) -> bool {
        let Some(wanted) = &self.wanted else { return false };
        !context.draining
            && context.booted
            && context.is_usable(wanted.engine)
            && context.fetches.lacking(wanted).is_none()
            && !self.is_preceded(context.leaving)
    }

    fn prepare(&mut self, out: &mut Out) -> Option<State> {
        let pod = Arc::clone(self.wanted.as_ref()?);
        self.holds = Some(Holds { identity: Some(pod.identity), spec: Some(Arc::clone(&pod)) });
        self.files = Files::written(Arc::clone(&pod));
        out.push(Effect::Prepare { pod, attempt: self.next_attempt() });
        Some(State::Preparing)
    }

    /// Brings what can change in place up to date.
    fn refresh(&mut self, now: Instant, out: &mut Out) {
        let (Some(wanted), Some(holds)) = (&self.wanted, &mut self.holds) else { return };
        holds.spec.get_or_insert_with(|| Arc::clone(wanted));
        self.files.refresh(wanted, now, out);
    }

    fn stop(&mut self, now: Instant, why: &str, out: &mut Out) -> State {
        let spec = self.holds.as_ref().and_then(|holds| holds.spec.as_ref());
        let grace_ms = spec.or(self.wanted.as_ref()).map_or(DEFAULT_GRACE_MS, |s| s.grace_ms);
        out.push(Effect::Stop { pod: self.id, grace_ms });
        out.normal(now, Some(self.id), "Killing", &format!("stopping: {why}"));
        let overdue_at = now + Duration::from_millis(grace_ms.into()) + STOP_OVERDUE;
        State::Stopping { overdue_at: Some(overdue_at) }
    }

    fn overdue(&mut self, now: Instant, out: &mut Out) -> Option<State> {
        let message = "it was told to stop and still runs; look for a process in state D";
        out.warn(now, Some(self.id), "StopOverdue", message);
        Some(State::Stopping { overdue_at: None })
    }

    fn clean(&mut self, keep_volumes: bool, out: &mut Out) -> State {
        out.push(Effect::Clean { pod: self.id, keep_volumes });
        State::Cleaning { keep_volumes }
    }

    /// The restart policy.
    fn after_end(&mut self, at: Instant, delay: Duration, now: Instant, out: &mut Out) -> State {
        let policy = self.wanted.as_ref().map_or(RestartPolicy::Never, |wanted| wanted.restart);
        let code = self.last_exit.as_ref().map_or(-1, |exit| exit.code);
        let again = match policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Never => false,
        };
        let how = self.how_it_ended();
        if again {
            let message = format!("{how}; {}", again_in(delay));
            out.warn(now, Some(self.id), "BackOff", &message);
            return State::Backoff { until: at + delay, delay };
        }
        if delay.is_zero() {
            // An earlier agent saw it end, and said so.
            return State::Done;
        }
        match code {
            0 => out.normal(now, Some(self.id), "Completed", &how),
            _ => out.warn(now, Some(self.id), "Failed", &how),
        }
        State::Done
    }

    /// How often it will have been started again with its next start.
    fn next_attempt(&self) -> u32 {
        if self.started { self.restarts.saturating_add(1) } else { self.restarts }
    }
}

fn again_in(delay: Duration) -> String {
    match delay.as_secs() {
        0 => "starts again at once".into(),
        seconds => format!("starts again after {seconds} s"),
    }
}

/// Kubernetes' default, for a Pod whose spec nobody knows any more.
const DEFAULT_GRACE_MS: u32 = 30_000;
