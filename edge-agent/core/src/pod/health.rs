//! The health of one run of a container: its hook after the start, then its probes, as the kubelet has it. Pure: when to
//! ask, what a row of answers means, what follows. That it must be ended is carried out in `container`.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use firmware_compat::{
    time::Instant,
    v1::owned::{Container, Moment, Probe, Purpose, Supervision},
};

use crate::{
    backoff::{FIRST_PROBE, Rng},
    event::{Answer, Health as Kept},
};

/// One run of a container.
#[derive(Debug)]
pub(super) struct Health {
    /// What the next agent is to know.
    pub(super) kept: Kept,
    probes: Vec<Asked>,
}

/// One probe.
#[derive(Debug)]
struct Asked {
    purpose: Purpose,
    /// When it is, or was, to be asked.
    at: Instant,
    /// The shell is at it.
    is_out: bool,
    /// The last answer, and how many like it came in a row.
    last: Option<(bool, u32)>,
    /// That it can't be asked was told.
    is_told: bool,
}

/// What an answer leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Someone should look.
    pub(super) unhealthy: Option<String>,
    /// It must be ended: what the probe is called, and the grace that it gives, if it gives one.
    pub(super) end: Option<(&'static str, u32)>,
}

impl Health {
    /// Of a run that begins now.
    pub(super) fn begin(spec: &Supervision, now: Instant) -> Self {
        let hooked = !spec.hooks.iter().any(|hook| hook.moment == Moment::PostStart);
        let kept = Kept { hooked, ..Kept::default() };
        let first = |probe: &Probe| now + seconds(probe.initial_delay_s).max(FIRST_PROBE);
        Self::new(kept, spec, first)
    }

    /// Of a run that an earlier agent began this long ago. What that agent knew holds until a probe says otherwise. Probes
    /// are spread out: all of the device are found at once.
    pub(super) fn adopt(
        spec: &Supervision,
        kept: Option<Kept>,
        age: Duration,
        now: Instant,
        rng: &mut Rng,
    ) -> Self {
        let hooked = Self::begin(spec, now).kept.hooked;
        let kept = kept.unwrap_or(Kept { hooked, ..Kept::default() });
        let first = |probe: &Probe| {
            let delay = seconds(probe.initial_delay_s).saturating_sub(age);
            now + delay.max(rng.up_to(seconds(probe.period_s)))
        };
        Self::new(kept, spec, first)
    }

    fn new(kept: Kept, spec: &Supervision, first: impl FnMut(&Probe) -> Instant) -> Self {
        let times = spec.probes.iter().map(first);
        let probes = spec.probes.iter().zip(times.collect::<Vec<_>>()).map(|(probe, at)| Asked {
            purpose: probe.purpose,
            at,
            is_out: false,
            last: None,
            is_told: false,
        });
        let mut health = Self { kept, probes: probes.collect() };
        health.come_up(false);
        health
    }

    /// Its hook has ended well.
    pub(super) fn hooked(&mut self) {
        self.kept.hooked = true;
        self.come_up(false);
    }

    /// What nothing is asked of is so by itself. `is_up`: its startup probe has succeeded.
    fn come_up(&mut self, is_up: bool) {
        let has = |purpose| self.probes.iter().any(|asked| asked.purpose == purpose);
        let (has_startup, has_readiness) = (has(Purpose::Startup), has(Purpose::Readiness));
        self.kept.started |= self.kept.hooked && (is_up || !has_startup);
        self.kept.ready |= self.kept.started && !has_readiness;
    }

    /// What is to be asked now; it counts as asked.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Purpose> {
        let kept = self.kept;
        let due = self.probes.iter_mut().filter(|asked| asked.waits(kept) && asked.at <= now);
        due.map(|asked| {
            asked.is_out = true;
            asked.purpose
        })
        .collect()
    }

    /// When something is to be asked.
    pub(super) fn timer(&self) -> Option<Instant> {
        self.probes.iter().filter(|asked| asked.waits(self.kept)).map(|asked| asked.at).min()
    }

    /// Takes in an answer. `spec`: of the container.
    pub(super) fn answered(
        &mut self,
        purpose: Purpose,
        answer: &Answer,
        spec: &Container,
        now: Instant,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        let of_purpose = |probe: &&Probe| probe.purpose == purpose;
        let (Some(asked), Some(probe)) = (
            self.probes.iter_mut().find(|asked| asked.purpose == purpose && asked.is_out),
            spec.supervision.probes.iter().find(of_purpose),
        ) else {
            return verdict;
        };
        asked.is_out = false;
        asked.at = (asked.at + seconds(probe.period_s)).max(now);
        let name = name_of(purpose);
        let (is_good, message) = match answer {
            Answer::Good => (true, ""),
            Answer::Bad(message) => (false, message.as_str()),
            // Nobody knows how it is: nothing follows.
            Answer::Unknown(message) => {
                if !core::mem::replace(&mut asked.is_told, true) {
                    verdict.unhealthy = Some(format!("{name} probe errored: {message}"));
                }
                return verdict;
            }
        };
        asked.is_told = false;
        let in_a_row = match asked.last {
            Some((last, count)) if last == is_good => count.saturating_add(1),
            _ => 1,
        };
        asked.last = Some((is_good, in_a_row));
        if !is_good && in_a_row == 1 {
            verdict.unhealthy = Some(format!("{name} probe failed: {message}"));
        }
        let needed = if is_good { probe.success_threshold } else { probe.failure_threshold };
        if in_a_row < needed {
            return verdict;
        }
        match (purpose, is_good) {
            (Purpose::Startup, true) => self.come_up(true),
            (Purpose::Readiness, is_good) => self.kept.ready = is_good,
            (Purpose::Liveness, true) => {}
            (Purpose::Startup, false) => verdict.end = Some(("startup", probe.grace_ms)),
            (Purpose::Liveness, false) => verdict.end = Some(("liveness", probe.grace_ms)),
        }
        verdict
    }
}

impl Asked {
    /// Whether it is its turn, and it is not being asked.
    fn waits(&self, kept: Kept) -> bool {
        let is_its_turn = match self.purpose {
            Purpose::Startup => kept.hooked && !kept.started,
            Purpose::Liveness | Purpose::Readiness => kept.started,
        };
        is_its_turn && !self.is_out
    }
}

fn name_of(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Startup => "Startup",
        Purpose::Liveness => "Liveness",
        Purpose::Readiness => "Readiness",
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}
