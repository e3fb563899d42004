//! A request in the terms of rules, and the sentence that refuses it: Kubernetes' own, which tools and people know.

use alloc::{borrow::Cow, format, string::String};

use crate::{
    actor::Actor,
    api::{
        Key,
        authorization::{NonResourceAttributes, ResourceAttributes},
    },
};

/// What somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `create`…; of a path the method in lower case.
    pub verb: Cow<'static, str>,
    /// With what.
    pub target: Target,
}

/// With what somebody wants to do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// With objects.
    Resource(ResourceTarget),
    /// With a path that names no objects.
    Path(String),
}

/// Objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceTarget {
    /// Empty: the core group.
    pub group: Cow<'static, str>,
    /// `pods`.
    pub resource: Cow<'static, str>,
    /// `log`; empty for the objects themselves.
    pub subresource: Cow<'static, str>,
    /// Empty: in every namespace, or of the cluster.
    pub namespace: String,
    /// Empty: all of them, or one that has none yet.
    pub name: String,
}

impl Attributes {
    /// A verb on an object, or on all of its kind if the key has no name.
    #[must_use]
    pub fn on(verb: &'static str, key: &Key) -> Self {
        let names = key.kind.names();
        let target = ResourceTarget {
            group: names.group().into(),
            resource: names.plural.into(),
            subresource: Cow::default(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        Self { verb: verb.into(), target: Target::Resource(target) }
    }

    /// A verb on a path.
    #[must_use]
    pub fn path(verb: impl Into<Cow<'static, str>>, path: impl Into<String>) -> Self {
        Self { verb: verb.into(), target: Target::Path(path.into()) }
    }

    /// Why it is refused: `pods "web" is forbidden: User "x" cannot get resource "pods" in API group "" in the
    /// namespace "default"`.
    #[must_use]
    pub fn refusal(&self, actor: &Actor) -> String {
        let (who, verb) = (&actor.name, &self.verb);
        let resource = match &self.target {
            Target::Path(path) => {
                return format!("forbidden: User {who:?} cannot {verb} path {path:?}");
            }
            Target::Resource(resource) => resource,
        };
        let scope = match resource.namespace.as_str() {
            "" => String::from("at the cluster scope"),
            namespace => format!("in the namespace {namespace:?}"),
        };
        format!(
            "{} is forbidden: User {who:?} cannot {verb} resource {:?} in API group {:?} {scope}",
            resource.shown(),
            resource.combined(),
            resource.group,
        )
    }
}

impl ResourceTarget {
    /// `pods`, or `pods/log`.
    #[must_use]
    pub fn combined(&self) -> Cow<'_, str> {
        match self.subresource.as_ref() {
            "" => Cow::Borrowed(&self.resource),
            subresource => Cow::Owned(format!("{}/{subresource}", self.resource)),
        }
    }

    /// `deployments.apps "web"`.
    fn shown(&self) -> String {
        let mut text = String::from(self.resource.as_ref());
        if !self.group.is_empty() {
            text = format!("{text}.{}", self.group);
        }
        match self.name.as_str() {
            "" => text,
            name => format!("{text} {name:?}"),
        }
    }
}

impl From<&ResourceAttributes> for Attributes {
    fn from(asked: &ResourceAttributes) -> Self {
        let target = ResourceTarget {
            group: asked.group.clone().into(),
            resource: asked.resource.clone().into(),
            subresource: asked.subresource.clone().into(),
            namespace: asked.namespace.clone(),
            name: asked.name.clone(),
        };
        Self { verb: asked.verb.clone().into(), target: Target::Resource(target) }
    }
}

impl From<&NonResourceAttributes> for Attributes {
    fn from(asked: &NonResourceAttributes) -> Self {
        Self::path(asked.verb.clone(), asked.path.clone())
    }
}
