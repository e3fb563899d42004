//! Lints a plan before it is carried out, whichever controller made it: it touches its own Pods alone, takes no Pod
//! twice, keeps one Pod a device where that is promised, and never lets an update go below what must stay available.

use alloc::{collections::BTreeMap, collections::BTreeSet, string::String};

use firmware_compat::id::PodId;

use super::{Plan, Step, View, Why, daemon_set, rollout};
use crate::{api::Object, state::Owned};

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A Pod is not the workload's, or not there, or on its way out.
    #[error("the plan is about Pod {0}, which is not one that this workload has")]
    Foreign(PodId),
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
    check_available(view, plan)?;
    match object {
        Object::Deployment(deployment) => {
            let strategy = &deployment.spec.strategy;
            let replicas = deployment.replicas() as usize;
            let budget =
                rollout::of_deployment(replicas, strategy.max_unavailable(), strategy.max_surge());
            check_number(view, plan, replicas + budget.surge)
        }
        Object::DaemonSet(set) => check_devices(view, plan, daemon_set::most_on_a_device(set)),
        _ => Ok(()),
    }
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
            Step::Bind { pod, device, .. } => {
                if !view.state.fleet.contains(device) {
                    return Err(Fault::UnknownDevice(device.clone()));
                }
                *pod
            }
            Step::Admit { pod, .. } | Step::Wait { pod, .. } | Step::Delete { pod, .. } => *pod,
        };
        let known = view.state.pods.get(pod);
        if !known.is_some_and(|pod| pod.owner == *view.key && pod.deleting.is_none()) {
            return Err(Fault::Foreign(pod));
        }
        if !named.insert(pod) {
            return Err(Fault::Twice(pod));
        }
    }
    Ok(())
}

fn check_available(view: &View<'_>, plan: &Plan) -> Result<(), Fault> {
    let pods = &view.state.pods;
    let goes = |updated: bool| {
        plan.steps
            .iter()
            .filter(|step| {
                matches!(step, Step::Delete { pod, why }
                    if (*why == Why::Updated) == updated && pods.is_available(*pod))
            })
            .count()
    };
    let all = view.owned().map_or(0, Owned::available);
    let updated = goes(true);
    let left = all.saturating_sub(updated + goes(false));
    if updated > 0 && left < plan.least_available {
        return Err(Fault::Unavailable { left, least: plan.least_available });
    }
    Ok(())
}

fn check_number(view: &View<'_>, plan: &Plan, most: usize) -> Result<(), Fault> {
    let count = |wanted: &dyn Fn(&Step) -> bool| plan.steps.iter().filter(|s| wanted(s)).count();
    let made = count(&|step| matches!(step, Step::Create { .. }));
    let gone = count(&|step| matches!(step, Step::Delete { .. }));
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
            Step::Create { device: None, .. } | Step::Admit { .. } | Step::Wait { .. } => {}
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
