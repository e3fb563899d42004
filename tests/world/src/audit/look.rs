//! Checks after each step, through the API: what was accepted is there, what does not run says why, nothing grows.

use lichen_hub_core::{
    api::{ApiError, Key, Kind, Object},
    effect::Response,
    event::Request,
};

use crate::{
    World,
    declared::{Spec, Thing},
    manifests::{root, secret_value},
};

impl World {
    pub(crate) fn look_after_step(&mut self) {
        if let Some(what) = self.audit.pending_bound.take() {
            self.fail("bounds-hold", &what);
        }
        if let Some(what) = self.audit.wire.over(self.now) {
            self.fail("wire-budget", &what);
        }
        self.look_at_disks();
        self.look_at_the_door();
        if self.hubs[0].engine.is_some() {
            self.look_at_objects();
            self.look_at_pods();
            self.look_at_records();
        }
    }

    /// Every accepted object is there as it was accepted; where an answer was lost, the hub now says what is so.
    fn look_at_objects(&mut self) {
        for thing in self.declared.things() {
            let possible = self.declared.possible(&thing);
            let is = self.find(&thing, &possible);
            match is {
                // A device that is not there has no settings; it comes back without them.
                None if matches!(thing, Thing::Node(_)) => {}
                None => {
                    let what = format!("{thing:?} is none of {possible:?}");
                    return self.fail("accepted-is-kept", &what);
                }
                Some(is) if self.declared.has_doubt(&thing) => self.declared.settle(&thing, is),
                Some(_) => {}
            }
        }
    }

    /// Which of several specs a thing has at the hub.
    fn find(&mut self, thing: &Thing, possible: &[Option<Spec>]) -> Option<Option<Spec>> {
        if let Thing::Image(reference) = thing {
            let Some(Ok(Response::Images(images))) = self.read_hub(0, Request::ListImages) else {
                return None;
            };
            let is = images.iter().find(|image| image.reference == *reference).map(|i| i.root);
            return possible
                .iter()
                .find(|spec| match spec {
                    Some(Spec::Image(push)) => is == Some(root(reference, *push)),
                    _ => is.is_none(),
                })
                .cloned();
        }
        let object = self.get(thing);
        // The newest that fits: settings of a device that say less fit, too.
        possible.iter().rev().find(|spec| matches(thing, spec.as_ref(), object.as_deref())).cloned()
    }

    fn get(&mut self, thing: &Thing) -> Option<std::sync::Arc<Object>> {
        let (kind, namespace) = match thing {
            Thing::Deployment(_) => (Kind::Deployment, "default"),
            Thing::DaemonSet(_) => (Kind::DaemonSet, "default"),
            Thing::Job(_) => (Kind::Job, "default"),
            Thing::Config(_) => (Kind::ConfigMap, "default"),
            Thing::Secret(_) => (Kind::Secret, "default"),
            Thing::Node(_) => (Kind::Node, ""),
            Thing::Enrolment(_) => (Kind::Enrolment, ""),
            Thing::Image(_) => return None,
        };
        let request =
            Request::Get { kind, namespace: namespace.to_owned(), name: thing.name().to_owned() };
        match self.read_hub(0, request) {
            Some(Ok(Response::Object { object, .. })) => Some(object),
            _ => None,
        }
    }

    /// What does not run has a reason, for each copy and for its workload.
    fn look_at_pods(&mut self) {
        let mut silent = None;
        for object in self.list(Kind::Pod) {
            let Object::Pod(pod) = object.as_ref() else { continue };
            let status = &pod.status;
            let runs = status.container_statuses.iter().all(|c| c.ready);
            let states = status.container_statuses.iter().map(|c| &c.state);
            let waiting = states.filter_map(|state| state.waiting.as_ref());
            let said = !status.reason.is_empty()
                || waiting.clone().any(|waiting| !waiting.reason.is_empty());
            if !runs && !said {
                silent =
                    Some(format!("pod {} does not run and does not say why", pod.metadata.name));
            }
        }
        for kind in [Kind::Deployment, Kind::DaemonSet] {
            for object in self.list(kind) {
                let (name, wants, ready) = match object.as_ref() {
                    Object::Deployment(d) => {
                        (&d.metadata.name, d.replicas(), d.status.ready_replicas)
                    }
                    Object::DaemonSet(d) => {
                        let status = &d.status;
                        (&d.metadata.name, status.desired_number_scheduled, status.number_ready)
                    }
                    _ => continue,
                };
                if ready >= wants {
                    continue;
                }
                let key = Key::new(kind, "default", name);
                let request = Request::Explain { kind, namespace: key.namespace, name: key.name };
                let explained = match self.read_hub(0, request) {
                    Some(Ok(Response::Explanation(lines))) => {
                        lines.iter().any(|line| !line.good && !line.text.is_empty())
                    }
                    _ => false,
                };
                if !explained {
                    silent = Some(format!("{name}: {ready} of {wants} run and nothing says why"));
                }
            }
        }
        if let Some(what) = silent {
            self.fail("every-stop-has-a-reason", &what);
        }
    }

    pub(crate) fn list(&mut self, kind: Kind) -> Vec<std::sync::Arc<Object>> {
        match self.read_hub(0, Request::List { kind, namespace: None }) {
            Some(Ok(Response::List(listing))) => listing.objects,
            Some(Ok(_) | Err(ApiError::NotFound(_))) | None => Vec::new(),
            Some(Err(error)) => {
                self.fail("bounds-hold", &format!("a list was refused: {error}"));
                Vec::new()
            }
        }
    }

    /// Copies that are on their way out wait for their devices, and are few.
    fn look_at_records(&mut self) {
        const PER_DEVICE: usize = 40;
        let mut going: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        for record in self.audit.pods.values().filter(|r| r.deleting_ms.is_some()) {
            *going.entry(record.device.as_deref().unwrap_or("none")).or_default() += 1;
        }
        let over = going.into_iter().find(|(_, count)| *count > PER_DEVICE);
        if let Some((device, count)) = over {
            let what =
                format!("{count} copies of {device} are on their way out, at most {PER_DEVICE}");
            self.fail("bounds-hold", &what);
        }
    }
}

fn matches(thing: &Thing, spec: Option<&Spec>, object: Option<&Object>) -> bool {
    match (spec, object) {
        (None, None) => true,
        // A board that was forgotten may ask to be let in.
        (None, Some(Object::Enrolment(enrolment))) => enrolment.phase() == "Pending",
        (Some(Spec::Enrolment { revoked }), Some(Object::Enrolment(enrolment))) => {
            enrolment.spec.approved && enrolment.spec.revoked == *revoked
        }
        (Some(Spec::Workload(workload)), Some(Object::Deployment(d))) => {
            workload.replicas == Some(d.replicas())
                && workload.pod_template(thing.name()).as_ref() == Some(&d.spec.template)
        }
        (Some(Spec::Workload(workload)), Some(Object::DaemonSet(set))) => {
            workload.pod_template(thing.name()).as_ref() == Some(&set.spec.template)
        }
        (Some(Spec::Job(work)), Some(object @ Object::Job(_))) => work.is(object),
        (Some(Spec::Config(version)), Some(Object::ConfigMap(map))) => {
            map.data.values().any(|text| *text == format!("version {version}"))
        }
        (Some(Spec::Secret(version)), Some(Object::Secret(secret))) => {
            let value = secret_value(*version);
            secret.data.values().any(|data| data[..] == *value.as_bytes())
        }
        (spec, Some(Object::Node(node))) => {
            let settings = match spec {
                Some(Spec::Node(settings)) => settings.clone(),
                _ => crate::manifests::NodeSettings::default(),
            };
            let effects: Vec<&String> = node.spec.taints.iter().map(|t| &t.effect).collect();
            node.spec.unschedulable == settings.cordoned
                && effects == settings.taints.iter().collect::<Vec<_>>()
                && settings.labels.iter().all(|(k, v)| node.metadata.labels.get(k) == Some(v))
        }
        _ => false,
    }
}
