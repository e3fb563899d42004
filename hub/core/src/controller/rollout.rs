//! How far an update may go at once: numbers and percentages of `maxUnavailable` and `maxSurge`, rounded as Kubernetes
//! rounds them.

use crate::api::apps::rollout::{
    CountOrPercent, DAEMON_SET_SURGE, DAEMON_SET_UNAVAILABLE, DEPLOYMENT_DEFAULT,
};

/// How many Pods may be missing, and how many more may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Pods that may be missing.
    pub unavailable: usize,
    /// Pods over the declared number.
    pub surge: usize,
    /// Where no device has room for an old Pod and its successor, one makes way: nobody said that none may be missing.
    pub makes_way: bool,
}

/// The budget of a Deployment: 25 % of each, where nothing is said; missing ones are rounded down, more ones up.
#[must_use]
pub fn of_deployment(
    replicas: usize,
    unavailable: Option<CountOrPercent>,
    surge: Option<CountOrPercent>,
) -> Budget {
    let surge = surge.unwrap_or(DEPLOYMENT_DEFAULT).of_rounded_up(replicas);
    let missing = unavailable.unwrap_or(DEPLOYMENT_DEFAULT).of_rounded_down(replicas);
    // Both at none would stand still.
    let missing = if surge == 0 { missing.max(1) } else { missing };
    Budget { unavailable: missing.min(replicas), surge, makes_way: unavailable.is_none() }
}

/// The budget of a DaemonSet: one may be missing, none more, where nothing is said; both are rounded up.
#[must_use]
pub fn of_daemon_set(
    devices: usize,
    unavailable: Option<CountOrPercent>,
    surge: Option<CountOrPercent>,
) -> Budget {
    let surge = surge.unwrap_or(DAEMON_SET_SURGE).of_rounded_up(devices);
    let missing = unavailable.unwrap_or(DAEMON_SET_UNAVAILABLE).of_rounded_up(devices);
    let missing = if surge == 0 { missing.max(1) } else { missing };
    Budget { unavailable: missing, surge, makes_way: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CountOrPercent::{Count, Percent};

    #[test]
    fn budgets_are_rounded_as_kubernetes_rounds_them() {
        let budget = |replicas, unavailable, surge| {
            let budget = of_deployment(replicas, unavailable, surge);
            (budget.unavailable, budget.surge)
        };
        assert_eq!(budget(1, None, None), (0, 1));
        assert_eq!(budget(3, None, None), (0, 1));
        assert_eq!(budget(4, None, None), (1, 1));
        assert_eq!(budget(10, None, None), (2, 3));
        assert_eq!(budget(10, Some(Percent(30)), Some(Count(0))), (3, 0));
        assert_eq!(budget(3, Some(Percent(10)), Some(Count(0))), (1, 0));
        assert_eq!(budget(3, Some(Count(0)), Some(Percent(0))), (1, 0));
        assert_eq!(budget(3, Some(Count(9)), Some(Count(9))), (3, 9));
    }
}
