//! What a namespace's LimitRanges say about Pods and claims: what containers ask for that say nothing, and what is too much or
//! too little. Pure; in Kubernetes' words.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use crate::api::{
    core::{
        limit_range::{CLAIM, CONTAINER, LimitRangeItem, POD},
        pod::{Container, PodSpec},
    },
    quantity::{Amounts, Quantity},
};

/// Writes into each container what it leaves out: a limit, and a request where it has neither that nor a limit of its own.
pub fn fill(items: &[&LimitRangeItem], spec: &mut PodSpec) {
    for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
        let own = container.resources.limits.clone();
        for item in items.iter().filter(|item| item.kind == CONTAINER) {
            let (requests, limits) =
                (&mut container.resources.requests, &mut container.resources.limits);
            for (name, quantity) in &item.default {
                limits.entry(name.clone()).or_insert_with(|| quantity.clone());
            }
            for (name, quantity) in
                item.default_request.iter().filter(|(n, _)| !own.contains_key(*n))
            {
                requests.entry(name.clone()).or_insert_with(|| quantity.clone());
            }
        }
    }
}

/// Everything about a Pod that its namespace does not allow.
pub fn check_pod(items: &[&LimitRangeItem], spec: &PodSpec) -> Vec<String> {
    let mut faults = Vec::new();
    for item in items {
        match item.kind.as_str() {
            CONTAINER => {
                for container in spec.init_containers.iter().chain(&spec.containers) {
                    let found = check(item, &asked(container));
                    let whose = |fault| format!("container {}: {fault}", container.name);
                    faults.extend(found.into_iter().map(whose));
                }
            }
            POD => faults.extend(check(item, &asked_by_pod(spec))),
            _ => {}
        }
    }
    faults
}

/// Everything about a claim that its namespace does not allow.
pub fn check_claim(items: &[&LimitRangeItem], requests: &Amounts) -> Vec<String> {
    let asked = Asked { requests: in_milli(requests), limits: None };
    let items = items.iter().filter(|item| item.kind == CLAIM);
    items.flat_map(|item| check(item, &asked)).collect()
}

/// Thousandths, by resource.
type Milli = Vec<(String, u64)>;

/// What a container, a Pod or a claim asks for, and what it may use; a claim has no limits.
#[derive(Debug, Default)]
struct Asked {
    requests: Milli,
    limits: Option<Milli>,
}

fn in_milli(amounts: &Amounts) -> Milli {
    let known = |(name, quantity): (&String, &Quantity)| Some((name.clone(), quantity.in_milli()?));
    amounts.iter().filter_map(known).collect()
}

fn of(amounts: &Milli, resource: &str) -> Option<u64> {
    amounts.iter().find(|(name, _)| name == resource).map(|(_, amount)| *amount)
}

/// What has a limit and no request asks for its limit.
fn asked(container: &Container) -> Asked {
    let limits = in_milli(&container.resources.limits);
    let mut requests = in_milli(&container.resources.requests);
    for (name, amount) in &limits {
        if of(&requests, name).is_none() {
            requests.push((name.clone(), *amount));
        }
    }
    Asked { requests, limits: Some(limits) }
}

/// Containers run together, and beside the sidecars; init containers before them, one at a time.
fn asked_by_pod(spec: &PodSpec) -> Asked {
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let beside = spec.init_containers.iter().filter(is_sidecar);
    let alone = spec.init_containers.iter().filter(|container| !is_sidecar(container));
    let mut pod = Asked { limits: Some(Milli::new()), ..Asked::default() };
    let mut merge = |container: &Container, with: fn(u64, u64) -> u64| {
        let one = asked(container);
        let limits = (pod.limits.get_or_insert_default(), one.limits.unwrap_or_default());
        for (to, from) in [(&mut pod.requests, one.requests), limits] {
            for (name, amount) in from {
                match to.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, sum)) => *sum = with(*sum, amount),
                    None => to.push((name, amount)),
                }
            }
        }
    };
    beside.chain(&spec.containers).for_each(|container| merge(container, u64::saturating_add));
    alone.for_each(|container| merge(container, u64::max));
    pod
}

fn check(item: &LimitRangeItem, asked: &Asked) -> Vec<String> {
    let kind = &item.kind;
    let mut faults = Vec::new();
    for (name, least) in &item.min {
        let bound = least.in_milli();
        let what = format!("minimum {name} usage per {kind} is {least}");
        match (of(&asked.requests, name), asked.limits.as_ref().and_then(|all| of(all, name))) {
            (None, _) => faults.push(format!("{what}, and no request is specified")),
            (Some(request), _) if Some(request) < bound => {
                faults.push(format!("{what}, but request is {}", shown(name, request)));
            }
            (_, Some(limit)) if Some(limit) < bound => {
                faults.push(format!("{what}, but limit is {}", shown(name, limit)));
            }
            _ => {}
        }
    }
    for (name, most) in &item.max {
        let bound = most.in_milli().unwrap_or(u64::MAX);
        let what = format!("maximum {name} usage per {kind} is {most}");
        let (request, limit) =
            (of(&asked.requests, name), asked.limits.as_ref().map(|all| of(all, name)));
        match limit {
            Some(None) => faults.push(format!("{what}, and no limit is specified")),
            Some(Some(limit)) if limit > bound => {
                faults.push(format!("{what}, but limit is {}", shown(name, limit)));
            }
            _ if request.is_some_and(|request| request > bound) => {
                let request = shown(name, request.unwrap_or_default());
                faults.push(format!("{what}, but request is {request}"));
            }
            _ => {}
        }
    }
    for (name, ratio) in &item.max_limit_request_ratio {
        let what = format!("{name} max limit to request ratio per {kind} is {ratio}");
        let (request, limit) = (
            of(&asked.requests, name).filter(|request| *request > 0),
            asked.limits.as_ref().and_then(|all| of(all, name)).filter(|limit| *limit > 0),
        );
        let (Some(request), Some(limit)) = (request, limit) else {
            faults.push(format!("{what}, but no request or no limit is specified"));
            continue;
        };
        let most = u128::from(ratio.in_milli().unwrap_or(u64::MAX)) * u128::from(request);
        if u128::from(limit) * 1000 > most {
            let (limit, request) = (shown(name, limit), shown(name, request));
            faults.push(format!("{what}, but limit is {limit} and request {request}"));
        }
    }
    faults
}

/// An amount as people write it.
fn shown(resource: &str, milli: u64) -> String {
    match resource {
        "cpu" => Quantity::milli(u32::try_from(milli).unwrap_or(u32::MAX)).0,
        _ => Quantity::bytes(milli.div_ceil(1000)).0.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{Resource, core::limit_range::LimitRange, validate::Errors};

    fn items(limits: &Value) -> Vec<LimitRangeItem> {
        let range = json!({"metadata": {"name": "a"}, "spec": {"limits": limits}});
        let mut range: LimitRange = serde_json::from_value(range).expect("a range");
        range.default_fields();
        let mut errors = Errors::default();
        range.validate(None, &mut errors);
        assert!(errors.0.is_empty(), "{:?}", errors.0);
        range.spec.limits
    }

    fn refs(items: &[LimitRangeItem]) -> Vec<&LimitRangeItem> {
        items.iter().collect()
    }

    fn spec(resources: &[Value]) -> PodSpec {
        let containers = resources.iter().enumerate();
        let containers =
            containers.map(|(i, r)| json!({"name": format!("c{i}"), "image": "a", "resources": r}));
        serde_json::from_value(json!({"containers": containers.collect::<Vec<_>>()}))
            .expect("a Pod")
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let items = items(&json!([
            {"type": "Container", "max": {"cpu": "1"}, "default": {"memory": "64Mi"},
             "defaultRequest": {"memory": "32Mi"}, "min": {"cpu": "10m"}},
        ]));
        for (written, filled) in [
            (
                json!({}),
                json!({"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "1", "memory": "32Mi"}}),
            ),
            // What has a limit asks for that much, not for the default.
            (
                json!({"limits": {"memory": "16Mi", "cpu": "100m"}}),
                json!({"limits": {"cpu": "100m", "memory": "16Mi"}}),
            ),
            (
                json!({"requests": {"memory": "48Mi", "cpu": "20m"}}),
                json!({"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "20m", "memory": "48Mi"}}),
            ),
        ] {
            let mut pod = spec(&[written]);
            fill(&refs(&items), &mut pod);
            let resources = serde_json::to_value(&pod.containers[0].resources).expect("JSON");
            assert_eq!(resources, filled);
            assert!(check_pod(&refs(&items), &pod).is_empty());
        }
    }

    #[test]
    fn too_much_and_too_little_is_named() {
        let items = items(&json!([
            {"type": "Container", "max": {"memory": "64Mi"}, "min": {"cpu": "50m"},
             "maxLimitRequestRatio": {"memory": "2"}},
            {"type": "Pod", "max": {"memory": "100Mi"}},
            {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}, "min": {"storage": "1Mi"}},
        ]));
        let large = json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "65Mi", "cpu": "1"}});
        let silent = json!({});
        assert_eq!(
            check_pod(&refs(&items), &spec(&[large, silent])),
            [
                "container c0: minimum cpu usage per Container is 50m, but request is 10m",
                "container c0: maximum memory usage per Container is 64Mi, but limit is 65Mi",
                "container c0: memory max limit to request ratio per Container is 2, but limit is 65Mi and request 16Mi",
                "container c1: minimum cpu usage per Container is 50m, and no request is specified",
                "container c1: maximum memory usage per Container is 64Mi, and no limit is specified",
                "container c1: memory max limit to request ratio per Container is 2, but no request or no limit is specified",
            ]
        );
        let good = json!({"requests": {"cpu": "50m"}, "limits": {"memory": "60Mi"}});
        assert_eq!(
            check_pod(&refs(&items), &spec(&[good.clone(), good])),
            ["maximum memory usage per Pod is 100Mi, but limit is 120Mi"]
        );
        let claim = |size: &str| {
            let requests = serde_json::from_value(json!({"storage": size})).expect("amounts");
            check_claim(&refs(&items), &requests)
        };
        assert!(claim("1Gi").is_empty());
        let over = "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2048Mi";
        assert_eq!(claim("2Gi"), [over]);
    }
}
