//! What a kind has to say of itself. Everything else reads it from here: the registry, discovery, decoding, patches,
//! tables, selectors, the command line.

mod column;

use alloc::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};

pub use self::column::{Column, ColumnNames, Selectable};
pub(super) use self::column::{cells, columns, is_selected, selectable};
use super::{core::pod::PodTemplate, field::Message, selector::LabelSelector, validate::Errors};

/// A kind of object. Its JSON is the object without `apiVersion` and `kind`, which [`Object`](super::Object) adds.
pub trait Resource: Serialize + DeserializeOwned + Clone + PartialEq + 'static {
    /// What it is called, and what can be done with it.
    const NAMES: Names;
    /// What it may hold.
    const FIELDS: &'static Message;
    /// For workloads: where their template is.
    const TEMPLATE: &'static str = "spec.template";
    /// Its rows in `get`.
    const COLUMNS: &'static [Column<Self>];
    /// The fields that it can be selected by, beside name and namespace.
    const SELECTABLE: &'static [Selectable<Self>] = &[];

    /// Fills in what the operator left open and readers expect.
    fn default_fields(&mut self) {}

    /// Finds what is wrong with what an operator wrote, beside metadata and the template. `old` is the object that it
    /// replaces.
    fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        let _ = (old, errors);
    }

    /// Takes over from the old object what an operator can't write: its status.
    fn prepare_for_update(&mut self, old: &Self) {
        let _ = old;
    }

    /// Drops what an operator can't write from a new object: its status.
    fn prepare_for_create(&mut self) {}

    /// Writes what depends on the uid that a new object was just given.
    fn set_uid(&mut self, uid: &str) {
        let _ = uid;
    }

    /// For workloads: what their Pods are made from, and which restart policies it may have.
    fn template(&self) -> Option<(Cow<'_, PodTemplate>, RestartRule)> {
        None
    }

    /// For workloads that want Pods by number: how many.
    fn replicas(&self) -> u32 {
        0
    }

    /// For workloads: the labels of their Pods.
    fn selector(&self) -> Option<&LabelSelector> {
        None
    }
}

/// What a kind is called, and what can be done with it.
#[derive(Debug)]
pub struct Names {
    /// `v1`, or group and version: `apps/v1`.
    pub api_version: &'static str,
    /// As manifests write it.
    pub kind: &'static str,
    /// In REST paths.
    pub plural: &'static str,
    /// One of them, on the command line.
    pub singular: &'static str,
    /// Shorter, on the command line.
    pub short: &'static [&'static str],
    /// Whether its objects live in a namespace.
    pub namespaced: bool,
    /// Groups of kinds on the command line: `all`.
    pub categories: &'static [&'static str],
    /// What an operator may do.
    pub verbs: &'static [Verb],
    /// What its objects have beneath them.
    pub subresources: &'static [Subresource],
    /// Where its objects are kept.
    pub home: Home,
    /// Whether Pods end when one of its objects is deleted.
    pub runs_pods: bool,
    /// Whether an object that was deleted may stay for a while.
    pub lingers: bool,
    /// Whether what its objects hold is not for everybody: it is encrypted in the store, and told in no message.
    pub confidential: bool,
    /// Who makes its objects, where operators don't.
    pub made_by: &'static str,
    /// Its place when a manifest of many kinds is applied: smaller first; deleted in reverse.
    pub apply_order: u8,
    /// What its objects may be called.
    pub naming: Naming,
    /// Longest name, in bytes.
    pub longest_name: usize,
    /// Most objects of it that a hub takes from operators.
    pub most: usize,
}

impl Names {
    /// A kind of the core group that operators write, in a namespace. What differs is said on top of it.
    pub const CORE: Self = Self {
        api_version: "v1",
        kind: "",
        plural: "",
        singular: "",
        short: &[],
        namespaced: true,
        categories: &[],
        verbs: &Verb::ALL,
        subresources: &[],
        home: Home::Objects,
        runs_pods: false,
        lingers: false,
        confidential: false,
        made_by: "",
        apply_order: 50,
        naming: Naming::Subdomain,
        longest_name: 253,
        most: 10_000,
    };

    /// A workload of the group `apps`.
    pub const WORKLOAD: Self = Self {
        api_version: "apps/v1",
        categories: &["all"],
        runs_pods: true,
        apply_order: 80,
        // Room for a hash and a suffix in the names of its Pods.
        longest_name: 200,
        ..Self::CORE
    };

    /// The API group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &'static str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The version in its group.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.api_version.split_once('/').map_or(self.api_version, |(_, version)| version)
    }

    /// Whether an operator may do this.
    #[must_use]
    pub fn allows(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    /// Whether a word names it: its plural, its singular or a short name.
    #[must_use]
    pub fn answers_to(&self, word: &str) -> bool {
        word == self.plural || word == self.singular || self.short.contains(&word)
    }
}

/// What objects may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// A DNS subdomain (RFC 1123).
    Subdomain,
    /// Whatever fits into one segment of a path: `system:discovery`.
    Segment,
    /// Nothing: a question is answered and gone.
    Nameless,
}

/// What can be done with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// POST.
    Create,
    /// DELETE.
    Delete,
    /// GET of one.
    Get,
    /// GET of all.
    List,
    /// PATCH.
    Patch,
    /// PUT.
    Update,
    /// GET with `watch`.
    Watch,
}

impl Verb {
    /// Everything.
    pub const ALL: [Self; 7] =
        [Self::Create, Self::Delete, Self::Get, Self::List, Self::Patch, Self::Update, Self::Watch];
    /// Only asking.
    pub const ASK: [Self; 1] = [Self::Create];
    /// Only looking.
    pub const READ: [Self; 3] = [Self::Get, Self::List, Self::Watch];

    /// As discovery names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// Something beneath an object: `pods/log`.
#[derive(Debug)]
pub struct Subresource {
    /// The last part of its path.
    pub name: &'static str,
    /// Group and version of what it holds.
    pub api_version: &'static str,
    /// The kind of what it holds.
    pub kind: &'static str,
    /// What can be done with it.
    pub verbs: &'static [Verb],
}

/// A Pod's log.
pub const LOG: Subresource =
    Subresource { name: "log", api_version: "v1", kind: "Pod", verbs: &[Verb::Get] };

/// A token of a ServiceAccount.
pub const TOKEN: Subresource = Subresource {
    name: "token",
    api_version: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    verbs: &Verb::ASK,
};

/// How many Pods a workload wants.
pub const SCALE: Subresource = Subresource {
    name: "scale",
    api_version: "autoscaling/v1",
    kind: "Scale",
    verbs: &[Verb::Get, Verb::Patch, Verb::Update],
};

/// Where objects are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// With what operators wrote.
    Objects,
    /// With the devices.
    Devices,
    /// With the Pods.
    Pods,
    /// With the saved revisions of workloads.
    Revisions,
    /// With what happened.
    Events,
    /// Nowhere: it is a question, which is answered when it is created.
    Nowhere,
}

/// Which restart policies a workload's template may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartRule {
    /// `Always` alone: the workload keeps its Pods running.
    Always,
    /// `OnFailure` or `Never`: the workload's Pods end.
    Ends,
    /// Any of them.
    Any,
}
