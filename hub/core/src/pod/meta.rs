//! What a Pod is called by beside its name: labels, annotations, hostname, and what its containers are told of its number.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};

use firmware_compat::v1::owned::{self as wire, Text};

use super::Pod;
use crate::api::{
    Kind,
    apps::{
        TEMPLATE_HASH_LABEL,
        stateful_set::{self, POD_INDEX_LABEL, POD_NAME_LABEL},
    },
    batch::job::COMPLETION_INDEX,
    core::pod::{EnvVar, PodSpec},
    meta::Map,
};

/// The variable that tells a container of an Indexed Job which completion it is to do.
pub const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// The variable that tells the number, unless the container has one of this name.
pub(super) fn index_variable(
    index: Option<u32>,
    environment: &[wire::Variable],
) -> Option<wire::Variable> {
    let value = wire::Value::Text(Text::cut(&index?.to_string()));
    let is_set = environment.iter().any(|variable| variable.name.as_str() == INDEX_VARIABLE);
    (!is_set).then(|| wire::Variable { name: Text::cut(INDEX_VARIABLE), value })
}

impl Pod {
    /// Its labels: of its template, and its number.
    #[must_use]
    pub fn labels(&self) -> Map {
        let mut labels = self.revision.template.metadata.labels.clone();
        labels.extend(self.number());
        // Only workloads that replace Pods by newer ones tell them apart by it.
        if matches!(self.owner.kind, Kind::Deployment | Kind::DaemonSet | Kind::StatefulSet) {
            labels.insert(TEMPLATE_HASH_LABEL.to_owned(), self.revision.hash.clone());
        }
        if self.owner.kind == Kind::StatefulSet {
            labels.insert(POD_NAME_LABEL.to_owned(), self.name.clone());
            let ordinal = stateful_set::ordinal(&self.owner.name, &self.name);
            labels.extend(ordinal.map(|n| (POD_INDEX_LABEL.to_owned(), n.to_string())));
        }
        labels
    }

    /// Its annotations: of its template, and its number.
    #[must_use]
    pub fn annotations(&self) -> Map {
        let mut annotations = self.revision.template.metadata.annotations.clone();
        annotations.extend(self.number());
        annotations
    }

    /// Label and annotation that tell its number, where it has one.
    fn number(&self) -> Option<(String, String)> {
        self.index.map(|index| (COMPLETION_INDEX.to_owned(), index.to_string()))
    }

    /// Has the API show the variable that tells its number, where it has one.
    pub(crate) fn show_index(&self, spec: &mut PodSpec) {
        let Some(index) = self.index else { return };
        for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
            if container.env.iter().all(|variable| variable.name != INDEX_VARIABLE) {
                let (name, value) = (INDEX_VARIABLE.to_owned(), index.to_string());
                container.env.push(EnvVar { name, value, ..EnvVar::default() });
            }
        }
    }

    /// What its containers see as their host's name, before it is cut to a DNS label: its name, and in an Indexed Job the
    /// Job's name and its number, which a Pod that takes its place has too.
    #[must_use]
    pub fn host(&self) -> String {
        match self.index {
            Some(index) => format!("{}-{index}", self.owner.name),
            None => self.name.clone(),
        }
    }
}
