//! Pacing: how long to wait before something is done again, and how often something may be done. Every delay of the
//! agent is a constant in this file, with its reason.

use core::time::Duration;

use firmware_compat::time::Instant;

/// After the first end of a program: at once, as Kubernetes does, because most ends are hiccups and a person may be
/// waiting. Not without any delay: that is for ends that nobody watched.
pub const RESTART_FIRST: Duration = Duration::from_millis(10);
/// What an earlier agent left and ends now is started again no sooner after it was found: the hub, which is about to be
/// heard, may have deleted it meanwhile.
pub const RESTART_FOUND: Duration = Duration::from_secs(1);
/// After the second and later ends: Kubernetes' CrashLoopBackOff, 10 s doubling to 5 min.
pub const RESTART: Pace = Pace::new(Duration::from_secs(10), Duration::from_mins(5));
/// A program that ran this long is healthy: its next end counts as the first. Kubernetes' value.
pub const RESTART_RESET: Duration = Duration::from_mins(10);
/// Fetches of artefacts. With full jitter: a site's devices miss the same artefact at the same time.
pub const FETCH: Pace = Pace::new(Duration::from_secs(1), Duration::from_mins(5));
/// Fetches whose bytes arrive and are other ones: each costs all of them, so it is hours before the same is tried for the
/// tenth time, and no link that returns hurries it.
pub const FETCH_DAMAGED: Pace = Pace::new(Duration::from_secs(10), Duration::from_hours(6));
/// When the link returns, fetches that wait are tried within this time.
pub const FETCH_AFTER_LINK: Duration = Duration::from_secs(2);
/// Local steps that failed: prepare, clean, rewrite files.
pub const STEP: Pace = Pace::new(Duration::from_secs(1), Duration::from_mins(5));
/// Saving an assignment. Slow, because a full or worn disk gets no better by more attempts.
pub const SAVE: Pace = Pace::new(Duration::from_secs(5), Duration::from_mins(10));
/// The hub pushes a body right behind its head; only if nothing of it comes for so long is it asked for.
pub const WANT_FIRST: Duration = Duration::from_millis(300);
/// Asking again for a body, or for what is missing of it. With full jitter on top of [`WANT_FIRST`]. The cap is for a hub
/// that is away while a broker retains its head: a question every five minutes would be 2 MB a month.
pub const WANT: Pace = Pace::new(Duration::from_secs(2), Duration::from_hours(1));
/// Repeating a Hello that no Head answered. The cap keeps a device with a silent hub under 1 MB a month.
pub const HELLO: Pace = Pace::new(Duration::from_secs(30), Duration::from_hours(1));
/// Sending again what the shell could not queue.
pub const SEND: Pace = Pace::new(Duration::from_secs(1), Duration::from_mins(1));
/// Longest time over which a hub may spread full reports.
pub const SPREAD_MAX: Duration = Duration::from_mins(10);
/// Shortest time between two full reports that the hub asked for.
pub const REPORT_GAP: Duration = Duration::from_secs(1);
/// The first probe of a container without an initial delay. The kubelet's comes anywhere within the first period; at once
/// hardly any program listens.
pub const FIRST_PROBE: Duration = Duration::from_secs(1);
/// What a container is left to end in after its hook has used its grace up. Kubernetes' value.
pub const STOP_AT_LEAST: Duration = Duration::from_secs(2);
/// A stop that takes this much longer than its grace is reported.
pub const STOP_OVERDUE: Duration = Duration::from_mins(1);
/// Shortest time between two events about what anybody on the network can bring about: a hundred bytes a day.
pub const COMPLAIN_AGAIN: Duration = Duration::from_hours(24);
/// An assignment that was given up for what unsigned chunks claimed is offered again after this time. A sender of such
/// chunks holds it up for no longer, and a hub that really assigned too much fills a slow link no more often.
pub const DOUBTED: Duration = Duration::from_hours(1);
/// How far the known time must move before it is saved, and how long after the last save: flash is a budget.
pub const TIME_FLOOR_STEP: Duration = Duration::from_hours(24);
/// Shortest time between two saves of the time floor, whatever the hub's clock says.
pub const TIME_FLOOR_GAP: Duration = Duration::from_hours(12);

/// How long a step on the way (fetching, starting, stopping) may wait for company before the hub is told.
pub const LINGER: Duration = Duration::from_millis(500);
/// Status deltas: results travel at once, a storm of them is bundled.
pub const CHANGES: Bucket = Bucket::new(8, Duration::from_millis(200));
/// After the last status: an empty one, in case that was lost; the hub sees by its number that one is missing. The
/// second outlasts a time in which a link that stands loses everything. No more follow, so that a device with nothing to
/// tell falls silent: two frames of 65 bytes per change that is followed by silence.
pub const LAST_WORDS: [Duration; 2] = [Duration::from_mins(1), Duration::from_mins(10)];
/// Events: a burst at once, then one a second.
pub const EVENTS: Bucket = Bucket::new(16, Duration::from_secs(1));

/// Delays that double from a first to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    first: Duration,
    cap: Duration,
}

impl Pace {
    /// Doubling from `first` to `cap`.
    #[must_use]
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap }
    }

    /// The delay after so many failures in a row; the first failure is 1.
    #[must_use]
    pub fn delay(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.cap)
    }

    /// Full jitter: anywhere between zero and [`Self::delay`].
    pub fn jittered(self, failures: u32, rng: &mut Rng) -> Duration {
        rng.up_to(self.delay(failures))
    }
}

/// The delay before a program is started again after so many ends in a row; the first is 1.
#[must_use]
pub fn restart_delay(ends: u32) -> Duration {
    if ends <= 1 { RESTART_FIRST } else { RESTART.delay(ends - 1) }
}

/// Lets a burst through at once, then one item per interval.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    burst_ms: u64,
    interval_ms: u64,
    /// When the bucket will be full again.
    full_at_ms: u64,
}

impl Bucket {
    /// `burst` items at once, one more per `interval`.
    #[must_use]
    pub const fn new(burst: u64, interval: Duration) -> Self {
        let interval_ms = interval.as_millis() as u64;
        Self { burst_ms: (burst - 1) * interval_ms, interval_ms, full_at_ms: 0 }
    }

    /// Takes one item if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let free = self.next() <= now;
        if free {
            self.full_at_ms = self.full_at_ms.max(now.0).saturating_add(self.interval_ms);
        }
        free
    }

    /// When the next item can be taken; may be past.
    #[must_use]
    pub fn next(&self) -> Instant {
        Instant(self.full_at_ms.saturating_sub(self.burst_ms))
    }
}

/// Dice for jitter: SplitMix64, seeded by the shell. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The same seed gives the same throws.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between zero and `longest`, in whole milliseconds.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.next() % (millis + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_follow_kubernetes_the_first_at_once() {
        let seconds: [u64; 8] = core::array::from_fn(|i| restart_delay(i as u32).as_secs());
        assert_eq!(seconds, [0, 0, 10, 20, 40, 80, 160, 300]);
        assert_eq!(restart_delay(u32::MAX).as_secs(), 300);
    }

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_one_per_interval() {
        let mut bucket = Bucket::new(2, Duration::from_millis(100));
        assert!(bucket.take(Instant(1000)) && bucket.take(Instant(1000)));
        assert!(!bucket.take(Instant(1050)));
        assert_eq!(bucket.next(), Instant(1100));
        assert!(bucket.take(Instant(1100)) && !bucket.take(Instant(1100)));
    }

    #[test]
    fn jitter_stays_within_its_bound_and_reaches_most_of_it() {
        let mut rng = Rng::new(7);
        let throws: [u64; 200] =
            core::array::from_fn(|_| rng.up_to(Duration::from_millis(100)).as_millis() as u64);
        assert!(throws.iter().all(|t| *t <= 100));
        assert!(throws.iter().any(|t| *t < 10) && throws.iter().any(|t| *t > 90));
    }
}
