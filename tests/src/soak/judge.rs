//! Judges a history: whether every start has a cause, whether programs began as often as they were started, whether
//! everything that did not run had a reason. Each finding is a sentence.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Event, Grant, What};

/// Starts without a cause.
///
/// - A Pod's first start must be granted: by a change of its workload that the API was asked for before.
/// - Every later one must follow the end of the run before by the test's hand.
#[must_use]
pub fn starts(events: &[Event], workloads: &BTreeSet<String>) -> Vec<String> {
    let mut granted: BTreeMap<&str, u32> = BTreeMap::new();
    let mut made: BTreeMap<&str, u32> = BTreeMap::new();
    // For each Pod: whether its run was killed since it was started last.
    let mut runs: BTreeMap<&str, bool> = BTreeMap::new();
    let mut findings = Vec::new();
    for event in events {
        match &event.what {
            What::Asked { grants, .. } => {
                for Grant { workload, pods } in grants {
                    *granted.entry(workload).or_default() += pods;
                }
            }
            What::KilledPart { uid, .. } => {
                if let Some(killed) = runs.get_mut(uid.as_str()) {
                    *killed = true;
                }
            }
            What::Launched { device, uid, pod, attempt } => {
                match runs.insert(uid, false) {
                    Some(true) => {}
                    Some(false) => findings.push(format!(
                        "{pod} ({uid}) was started again on {device}, attempt {attempt}, and nothing had ended it"
                    )),
                    None => {
                        let Some(workload) = workload_of(pod, workloads) else {
                            findings.push(format!("{pod} ({uid}) belongs to no workload"));
                            continue;
                        };
                        let made = made.entry(workload).or_default();
                        *made += 1;
                        let granted = granted.get(workload).copied().unwrap_or_default();
                        if *made > granted {
                            findings.push(format!(
                                "{pod} ({uid}) on {device} is Pod number {made} of {workload}, and \
                                 what was asked for explains {granted}"
                            ));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    findings
}

/// Programs that began more often than they were started. `marks` are the lines that the programs of each workload have
/// left, one for each beginning; those of containers are the Pod's name.
#[must_use]
pub fn marks(
    events: &[Event],
    marks: &BTreeMap<String, Vec<String>>,
    workloads: &BTreeSet<String>,
) -> Vec<String> {
    let mut launches: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        if let What::Launched { pod, .. } = &event.what {
            *launches.entry(pod).or_default() += 1;
        }
    }
    let mut findings = Vec::new();
    for (workload, lines) in marks {
        let of_workload: usize = launches
            .iter()
            .filter(|(pod, _)| workload_of(pod, workloads) == Some(workload))
            .map(|(_, count)| count)
            .sum();
        if lines.len() > of_workload {
            findings.push(format!(
                "programs of {workload} began {} times, and were started {of_workload} times",
                lines.len()
            ));
        }
        let mut began: BTreeMap<&str, usize> = BTreeMap::new();
        for line in lines.iter().filter(|line| line.starts_with(workload.as_str())) {
            *began.entry(line).or_default() += 1;
        }
        for (pod, began) in began {
            let started = launches.get(pod).copied().unwrap_or_default();
            if began > started {
                findings
                    .push(format!("{pod} began {began} times, and was started {started} times"));
            }
        }
    }
    findings
}

/// Pods that did not run and had no reason.
#[must_use]
pub fn reasons(events: &[Event]) -> Vec<String> {
    let mut findings = BTreeSet::new();
    for event in events {
        if let What::NoReason { pod, shown } = &event.what {
            findings.insert(format!("{pod} did not run and had no reason: {shown}"));
        }
    }
    findings.into_iter().collect()
}

/// The workload that a Pod's name begins with; the longest, as one may begin with another's name.
fn workload_of<'a>(pod: &str, workloads: &'a BTreeSet<String>) -> Option<&'a str> {
    let owns =
        |name: &&String| pod.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('-'));
    workloads.iter().filter(owns).max_by_key(|name| name.len()).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::{
        history::Part,
        ledger::{Change, Object},
    };

    fn workloads() -> BTreeSet<String> {
        BTreeSet::from(["web".to_owned(), "web-2".to_owned()])
    }

    fn asked(workload: &str, pods: u32) -> What {
        What::Asked {
            object: Object::new("deployments", workload),
            change: Change::Delete,
            grants: vec![Grant { workload: workload.to_owned(), pods }],
        }
    }

    fn launched(uid: &str, pod: &str) -> What {
        What::Launched {
            device: "a".to_owned(),
            uid: uid.to_owned(),
            pod: pod.to_owned(),
            attempt: 0,
        }
    }

    fn killed(uid: &str) -> What {
        What::KilledPart { device: "a".to_owned(), uid: uid.to_owned(), part: Part::Shim }
    }

    fn events(whats: impl IntoIterator<Item = What>) -> Vec<Event> {
        (1..).zip(whats).map(|(at, what)| Event { at, what }).collect()
    }

    fn judge(whats: impl IntoIterator<Item = What>) -> Vec<String> {
        starts(&events(whats), &workloads())
    }

    #[test]
    fn starts_that_follow_a_change_or_a_kill_are_fine() {
        let findings = judge([
            asked("web", 2),
            launched("1", "web-x-1"),
            launched("2", "web-x-2"),
            killed("2"),
            launched("2", "web-x-2"),
        ]);
        assert_eq!(findings, Vec::<String>::new());
    }

    #[test]
    fn a_start_again_without_a_kill_is_noticed() {
        let findings = judge([asked("web", 1), launched("1", "web-x-1"), launched("1", "web-x-1")]);
        assert!(findings[0].contains("started again"), "{findings:?}");
    }

    #[test]
    fn one_kill_explains_one_start_of_its_own_pod_after_it() {
        let again = |cause: What| {
            judge([
                asked("web", 2),
                launched("1", "web-x-1"),
                launched("2", "web-x-2"),
                cause,
                launched("1", "web-x-1"),
                launched("1", "web-x-1"),
            ])
        };
        assert_eq!(again(killed("1")).len(), 1);
        assert_eq!(again(killed("2")).len(), 2);
        let early = judge([
            killed("1"),
            asked("web", 1),
            launched("1", "web-x-1"),
            launched("1", "web-x-1"),
        ]);
        assert_eq!(early.len(), 1);
    }

    #[test]
    fn a_copy_that_no_change_explains_is_noticed() {
        let findings = judge([asked("web", 1), launched("1", "web-x-1"), launched("2", "web-x-2")]);
        assert!(findings[0].contains("Pod number 2 of web"), "{findings:?}");
        let late = judge([launched("1", "web-x-1"), asked("web", 1)]);
        assert_eq!(late.len(), 1, "a cause comes before");
        let other = judge([asked("web", 1), launched("1", "web-2-x-1")]);
        assert!(other[0].contains("of web-2"), "{other:?}");
        assert_eq!(judge([launched("1", "moss-1")]).len(), 1);
    }

    #[test]
    fn a_program_that_began_twice_for_one_start_is_noticed() {
        let events = events([launched("1", "web-x-1"), launched("2", "web-x-2")]);
        let judge = |lines: &[&str]| {
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            marks(&events, &BTreeMap::from([("web".to_owned(), lines)]), &workloads())
        };
        assert_eq!(judge(&["web-x-1", "web-x-2"]), Vec::<String>::new());
        assert_eq!(judge(&["began", "began"]), Vec::<String>::new());
        assert_eq!(judge(&["began", "began", "began"]).len(), 1);
        assert_eq!(judge(&["web-x-1", "web-x-1"]).len(), 1);
    }

    #[test]
    fn a_missing_reason_is_noticed_once() {
        let bare = What::NoReason { pod: "web-x-1".into(), shown: "Pending".into() };
        assert_eq!(reasons(&events([bare.clone(), bare])).len(), 1);
    }
}
