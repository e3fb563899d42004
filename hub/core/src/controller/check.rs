//! Lints a plan before it is carried out, whichever controller made it: it touches its own Pods alone, takes no Pod
//! twice, keeps one Pod a device where that is promised, and never lets an update go below what must stay available. What
//! must be comes from the object and from what is there, never from the plan.

use alloc::{collections::BTreeMap, collections::BTreeSet, string::String};

use firmware_compat::id::PodId;

use super::{Plan, Step, View, Why, daemon_set, job, rollout};
use crate::{
    api::{DaemonSet, Deployment, Job, Key, Kind, Object, apps::StatefulSet},
    pod::Pod,
    state::{Class, Owned},
};

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A Pod is not the workload's, or not there, or on its way out.
    #[error("the plan is about Pod {0}, which is not one that this workload has")]
    Foreign(PodId),
    /// A Pod is to make way that matters as much, or is the workload's own.
    #[error("the plan has Pod {0} make way, which does not matter less")]
    Unequal(PodId),
    /// A Pod is named by two steps that exclude each other.
    #[error("the plan is about Pod {0} twice")]
    Twice(PodId),
    /// A device would have too many Pods of a DaemonSet.
    #[error("the plan makes {count} Pods of one DaemonSet on {device}")]
    Crowded {
        /// The device.
        device: String,
        /// How many Pods.
        count: usize,
    },
    /// A device is unknown.
    #[error("the plan names the device {0}, which is not there")]
    UnknownDevice(String),
    /// An update would leave too few.
    #[error("the plan leaves {left} Pods available, and {least} must be")]
    Unavailable {
        /// How many stay.
        left: usize,
        /// How many must.
        least: usize,
    },
    /// A Pod is said not to run, and does.
    #[error("the plan drops Pod {0} as one that is not available, and it is")]
    Healthy(PodId),
    /// A Pod is said to be one too many, and is not.
    #[error("the plan drops Pods as too many where {left} would be left, and {least} are declared")]
    Missed {
        /// How many stay.
        left: usize,
        /// How many must.
        least: usize,
    },
    /// A Pod would have the name of another one, which may run.
    #[error("the plan makes a Pod {0}, and there is one")]
    Identity(String),
    /// Where Pods are recreated, one would start before the older ones have ended.
    #[error("the plan starts a Pod while {0} older ones are there, and the strategy is Recreate")]
    Early(usize),
    /// A Job would do a number twice.
    #[error("the plan makes a Pod for number {0}, which is done or has one")]
    Needless(String),
    /// A Pod would be counted that was, or that has not ended.
    #[error("the plan counts Pod {0}, which is not to be counted")]
    Miscounted(PodId),
    /// More Pods than declared, and than `maxSurge` lets be.
    #[error("the plan makes {count} Pods, and at most {most} may be")]
    TooMany {
        /// How many there would be.
        count: usize,
        /// How many may be.
        most: usize,
    },
}

/// Lints a plan.
///
/// # Errors
/// The first fault.
pub fn check(object: &Object, view: &View<'_>, plan: &Plan) -> Result<(), Fault> {
    check_pods(view, plan)?;
    match object {
        Object::Deployment(deployment) => check_deployment(deployment, view, plan),
        Object::DaemonSet(set) => check_daemon_set(set, view, plan),
        Object::Job(job) => check_job(job, view, plan),
        // It was made when the object was, and is never made again.
        Object::Pod(_) => check_number(view, plan, 0),
        Object::StatefulSet(set) => check_stateful_set(set, view, plan),
        _ => Ok(()),
    }
}

fn check_deployment(deployment: &Deployment, view: &View<'_>, plan: &Plan) -> Result<(), Fault> {
    let strategy = &deployment.spec.strategy;
    let replicas = deployment.replicas() as usize;
    let budget = rollout::of_deployment(replicas, strategy.max_unavailable(), strategy.max_surge());
    let active = view.owned().map_or(0, Owned::active);
    let others =
        deletes(plan, |why| !matches!(why, Why::Updated | Why::Unhealthy | Why::Preempted)).count();
    let left = active.saturating_sub(others);
    if deletes(plan, |why| why == Why::Excess).next().is_some() && left < replicas {
        return Err(Fault::Missed { left, least: replicas });
    }
    if strategy.kind == "Recreate" {
        check_number(view, plan, replicas)?;
        return check_recreate(view, plan);
    }
    let away =
        [Class::Away, Class::AwayUnready].map(|class| view.owned().map_or(0, |of| of.count(class)));
    let missing = budget.unavailable.max(usize::from(budget.makes_way));
    check_available(view, plan, replicas.saturating_sub(away.iter().sum::<usize>() + missing))?;
    check_number(view, plan, replicas + budget.surge)
}

/// A Job has no more Pods at once than it may, none for what is done, and counts each once.
fn check_job(job: &Job, view: &View<'_>, plan: &Plan) -> Result<(), Fault> {
    for step in &plan.steps {
        let Step::Count { pod, succeeded } = step else { continue };
        let known = view.state.pods.get(*pod).filter(|pod| !pod.counted);
        if known.and_then(job::outcome) != Some(*succeeded) {
            return Err(Fault::Miscounted(*pod));
        }
    }
    if let Some(index) = job::needless(job, view, plan) {
        return Err(Fault::Needless(index));
    }
    let ended = view.owned().map_or(0, |owned| owned.count(Class::Finished));
    let dropped = deletes(plan, |why| why == Why::Outlived).count();
    check_number(view, plan, job.parallelism() as usize + ended.saturating_sub(dropped))
}

fn check_daemon_set(set: &DaemonSet, view: &View<'_>, plan: &Plan) -> Result<(), Fault> {
    let waited = view.owned().map_or(0, daemon_set::waited_for);
    let unwanted = deletes(plan, |why| matches!(why, Why::Unwanted | Why::Excess)).count();
    let unavailable = daemon_set::budget(set, view).unavailable;
    check_available(view, plan, waited.saturating_sub(unwanted + unavailable))?;
    check_devices(view, plan, daemon_set::most_on_a_device(set))
}

/// There are never two Pods of one name, and an update takes no more Pods at once than may be missing, but for those whose
/// devices are not waited for.
fn check_stateful_set(set: &StatefulSet, view: &View<'_>, plan: &Plan) -> Result<(), Fault> {
    let mut names = BTreeSet::new();
    for step in &plan.steps {
        match step {
            Step::CreateNamed { name, device, .. } => {
                let key = Key::new(Kind::Pod, &view.key.namespace, name);
                if view.state.pods.named(&key).is_some() || !names.insert(name) {
                    return Err(Fault::Identity(name.clone()));
                }
                if let Some(name) = device.as_ref().filter(|n| !view.state.fleet.contains(n)) {
                    return Err(Fault::UnknownDevice(name.clone()));
                }
            }
            Step::Create { .. } => return Err(Fault::Identity(set.metadata.name.clone())),
            _ => {}
        }
    }
    let is_near = |pod: &PodId| !view.state.pods.class(*pod).is_some_and(Class::is_away);
    let updated = deletes(plan, |why| why == Why::Updated).filter(is_near).count();
    let wanted = set.replicas() as usize;
    if updated > set.max_unavailable() {
        let left = wanted.saturating_sub(updated);
        return Err(Fault::Unavailable {
            left,
            least: wanted.saturating_sub(set.max_unavailable()),
        });
    }
    Ok(())
}

/// The Pods that a plan deletes for some reasons.
fn deletes(plan: &Plan, wanted: impl Fn(Why) -> bool) -> impl Iterator<Item = PodId> {
    plan.steps.iter().filter_map(move |step| match step {
        Step::Delete { pod, why } if wanted(*why) => Some(*pod),
        _ => None,
    })
}

fn check_pods(view: &View<'_>, plan: &Plan) -> Result<(), Fault> {
    let mut named = BTreeSet::new();
    for step in &plan.steps {
        let pod = match step {
            Step::Create { device, .. } => {
                let unknown = device.as_ref().filter(|name| !view.state.fleet.contains(name));
                match unknown {
                    Some(name) => return Err(Fault::UnknownDevice(name.clone())),
                    None => continue,
                }
            }
            Step::CreateNamed { .. } | Step::MakeClaims { .. } | Step::DeleteClaims { .. } => {
                continue;
            }
            Step::Bind { pod, device, .. } => {
                if !view.state.fleet.contains(device) {
                    return Err(Fault::UnknownDevice(device.clone()));
                }
                *pod
            }
            // Counting is about Pods that are to go, too, and goes with their deletion.
            Step::Count { pod, .. } => {
                let known = view.state.pods.get(*pod);
                match known.is_some_and(|pod| pod.owner == *view.key) {
                    true => continue,
                    false => return Err(Fault::Foreign(*pod)),
                }
            }
            Step::Admit { pod, .. }
            | Step::Wait { pod, .. }
            | Step::Renew { pod }
            | Step::Delete { pod, .. } => *pod,
        };
        let known = view.state.pods.get(pod);
        if matches!(step, Step::Delete { why: Why::Preempted, .. }) {
            let priority = view.state.priority(&view.revision.template.spec);
            let makes_way = |pod: &Pod| {
                pod.owner != *view.key && pod.deleting.is_none() && pod.priority < priority.value
            };
            if !known.is_some_and(makes_way) || !priority.preempts {
                return Err(Fault::Unequal(pod));
            }
            if !named.insert(pod) {
                return Err(Fault::Twice(pod));
            }
            continue;
        }
        if !known.is_some_and(|pod| pod.owner == *view.key && pod.deleting.is_none()) {
            return Err(Fault::Foreign(pod));
        }
        if !named.insert(pod) {
            return Err(Fault::Twice(pod));
        }
        if matches!(step, Step::Delete { why: Why::Unhealthy, .. })
            && view.state.pods.is_available(pod)
        {
            return Err(Fault::Healthy(pod));
        }
    }
    Ok(())
}

fn check_available(view: &View<'_>, plan: &Plan, least: usize) -> Result<(), Fault> {
    let is_available = |pod: &PodId| view.state.pods.is_available(*pod);
    let all = view.owned().map_or(0, Owned::available);
    let updated = deletes(plan, |why| why == Why::Updated).filter(is_available).count();
    let own = |why| why != Why::Preempted;
    let gone = deletes(plan, own).filter(is_available).count();
    let left = all.saturating_sub(gone);
    if updated > 0 && left < least {
        return Err(Fault::Unavailable { left, least });
    }
    Ok(())
}

fn check_recreate(view: &View<'_>, plan: &Plan) -> Result<(), Fault> {
    let starts =
        |step: &Step| matches!(step, Step::Create { device: Some(_), .. } | Step::Bind { .. });
    let Some(owned) = view.owned().filter(|_| plan.steps.iter().any(starts)) else { return Ok(()) };
    let newest = view.revision.hash.as_str();
    let older: usize =
        owned.revisions().filter(|(hash, _)| *hash != newest).map(|(_, of)| of.active()).sum();
    // One that no device was ever told of ends with the plan.
    let known = |pod: &PodId| view.state.pods.get(*pod).is_some_and(|pod| pod.assigned);
    let own = |why| why != Why::Preempted;
    let gone = deletes(plan, own).filter(|pod| !known(pod)).count();
    match older.saturating_sub(gone) + owned.leaving_but(newest) {
        0 => Ok(()),
        left => Err(Fault::Early(left)),
    }
}

fn check_number(view: &View<'_>, plan: &Plan, most: usize) -> Result<(), Fault> {
    let count = |wanted: &dyn Fn(&Step) -> bool| plan.steps.iter().filter(|s| wanted(s)).count();
    let made = count(&|step| matches!(step, Step::Create { .. }));
    let gone = deletes(plan, |why| why != Why::Preempted).count();
    let all = (view.owned().map_or(0, Owned::active) + made).saturating_sub(gone);
    if made > 0 && all > most {
        return Err(Fault::TooMany { count: all, most });
    }
    Ok(())
}

fn check_devices(view: &View<'_>, plan: &Plan, most: usize) -> Result<(), Fault> {
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    let mut gone: BTreeSet<PodId> = BTreeSet::new();
    for step in &plan.steps {
        match step {
            Step::Create { device: Some(device), .. } | Step::Bind { device, .. } => {
                *made.entry(device).or_default() += 1;
            }
            Step::Delete { pod, .. } => _ = gone.insert(*pod),
            _ => {}
        }
    }
    for pod in deletes(plan, |why| why == Why::Excess) {
        let device = view.state.pods.get(pod).and_then(|pod| pod.device.as_deref());
        let here = view.owned().zip(device).and_then(|(owned, name)| owned.on(name));
        if here.is_none_or(|here| here.active.iter().all(|id| gone.contains(id))) {
            return Err(Fault::Missed { left: 0, least: 1 });
        }
    }
    for (device, made) in made {
        let here = view.owned().and_then(|owned| owned.on(device));
        let left =
            here.map_or(0, |here| here.active.iter().filter(|id| !gone.contains(*id)).count());
        if left + made > most {
            return Err(Fault::Crowded { device: device.into(), count: left + made });
        }
    }
    Ok(())
}
