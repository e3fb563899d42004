//! The roles and bindings that there are, found by whom they concern: a decision looks at the bindings of one name and a
//! few groups, in one namespace and everywhere, however many others there are.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    sync::Arc,
    vec::Vec,
};

use super::{Attributes, Target, matching};
use crate::{
    actor::{Actor, service_account_name},
    api::{
        Key, Kind, Object,
        rbac::{
            PolicyRule, RoleRef, Subject,
            subject::{PROGRAM, USER, USERS},
        },
    },
};

/// Objects of a namespace, by name; those of an empty namespace are of the cluster.
type Placed = BTreeMap<String, BTreeMap<String, Arc<Object>>>;

/// The roles and bindings that there are. A namespace has Roles and RoleBindings, the cluster ClusterRoles and
/// ClusterRoleBindings, so that a name is enough.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    roles: Placed,
    bindings: Placed,
    /// The bindings of each.
    users: BTreeMap<String, Placed>,
    groups: BTreeMap<String, Placed>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Decision<'r> {
    /// It may be done.
    Allowed(Grant<'r>),
    /// No rule allows it.
    Denied,
}

/// Why something may be done.
#[derive(Clone, Debug)]
pub enum Grant<'r> {
    /// Whoever is in [`MASTERS`](crate::actor::MASTERS) may do everything.
    Master,
    /// A binding gives a role that allows it.
    Binding {
        /// The binding.
        binding: &'r Object,
        /// As whom.
        subject: &'r Subject,
    },
}

impl Rules {
    /// Whether objects of a kind are of interest here.
    #[must_use]
    pub fn concern(kind: Kind) -> bool {
        matches!(
            kind,
            Kind::Role | Kind::ClusterRole | Kind::RoleBinding | Kind::ClusterRoleBinding
        )
    }

    /// Takes an object in, in the place of an older one. Objects of other kinds are left alone.
    pub fn put(&mut self, object: &Arc<Object>) {
        let key = object.key();
        if !Self::concern(key.kind) || key.kind.namespaced() == key.namespace.is_empty() {
            return;
        }
        self.remove(&key);
        let Some((_, subjects)) = binding(object) else {
            return put(&mut self.roles, &key, object);
        };
        put(&mut self.bindings, &key, object);
        for who in subjects.iter().filter_map(|subject| Who::of(subject, &key.namespace)) {
            let (index, name) = self.index_of(who);
            put(index.entry(name).or_default(), &key, object);
        }
    }

    /// Forgets an object.
    pub fn remove(&mut self, key: &Key) {
        match key.kind {
            Kind::Role | Kind::ClusterRole => drop(remove(&mut self.roles, key)),
            Kind::RoleBinding | Kind::ClusterRoleBinding => self.remove_binding(key),
            _ => {}
        }
    }

    fn remove_binding(&mut self, key: &Key) {
        let Some(object) = remove(&mut self.bindings, key) else { return };
        let Some((_, subjects)) = binding(&object) else { return };
        for who in subjects.iter().filter_map(|subject| Who::of(subject, &key.namespace)) {
            let (index, name) = self.index_of(who);
            let Some(bound) = index.get_mut(&name) else { continue };
            remove(bound, key);
            if bound.is_empty() {
                index.remove(&name);
            }
        }
    }

    fn index_of(&mut self, who: Who) -> (&mut BTreeMap<String, Placed>, String) {
        match who {
            Who::User(name) => (&mut self.users, name),
            Who::Group(name) => (&mut self.groups, name),
        }
    }

    /// Whether somebody may do something.
    #[must_use]
    pub fn decide(&self, actor: &Actor, asked: &Attributes) -> Decision<'_> {
        if actor.is_master() {
            return Decision::Allowed(Grant::Master);
        }
        let namespace = match &asked.target {
            Target::Resource(target) => target.namespace.as_str(),
            // Roles in a namespace say nothing of paths.
            Target::Path(_) => "",
        };
        for (binding, _, rules) in self.of(actor, namespace) {
            if rules.iter().any(|rule| matching::allows(rule, asked))
                && let Some(subject) = as_whom(binding, actor)
            {
                return Decision::Allowed(Grant::Binding { binding, subject });
            }
        }
        Decision::Denied
    }

    /// Every rule that counts for somebody in a namespace, those that count everywhere included. Each role is there once.
    #[must_use]
    pub fn held(&self, actor: &Actor, namespace: &str) -> Vec<&PolicyRule> {
        let mut seen = BTreeSet::new();
        self.of(actor, namespace)
            .filter(|(binding, role, _)| {
                seen.insert((&binding.meta().namespace, &role.kind, &role.name))
            })
            .flat_map(|(_, _, rules)| rules)
            .collect()
    }

    /// The rules of the role that a binding in a namespace gives; `None` if there is no such role.
    #[must_use]
    pub fn of_role(&self, role: &RoleRef, namespace: &str) -> Option<&[PolicyRule]> {
        let place = if role.role_kind()?.namespaced() { namespace } else { "" };
        match self.roles.get(place)?.get(&role.name)?.as_ref() {
            Object::Role(role) if !place.is_empty() => Some(&role.rules),
            Object::ClusterRole(role) if place.is_empty() => Some(&role.rules),
            _ => None,
        }
    }

    /// The bindings of somebody that count in a namespace, with what they give: those that count everywhere first.
    fn of<'r, 'a>(
        &'r self,
        actor: &'a Actor,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'r Object, &'r RoleRef, &'r [PolicyRule])> {
        let local = Some(namespace).filter(|namespace| !namespace.is_empty());
        [Some(""), local].into_iter().flatten().flat_map(move |scope| {
            let groups = actor.groups.iter().filter_map(|group| self.groups.get(group));
            let all = self.users.get(&actor.name).into_iter().chain(groups);
            let bindings = all.filter_map(move |bound| bound.get(scope)).flat_map(BTreeMap::values);
            bindings.filter_map(move |object| {
                let (role, _) = binding(object)?;
                Some((object.as_ref(), role, self.of_role(role, scope)?))
            })
        })
    }
}

/// The subject of a binding that somebody is.
fn as_whom<'r>(object: &'r Object, actor: &Actor) -> Option<&'r Subject> {
    let (_, subjects) = binding(object)?;
    let namespace = &object.meta().namespace;
    subjects.iter().find(|subject| match Who::of(subject, namespace) {
        Some(Who::User(name)) => name == actor.name,
        Some(Who::Group(name)) => actor.groups.contains(&name),
        None => false,
    })
}

fn put(placed: &mut Placed, key: &Key, object: &Arc<Object>) {
    placed.entry(key.namespace.clone()).or_default().insert(key.name.clone(), object.clone());
}

/// Takes an object out, and leaves nothing empty behind.
fn remove(placed: &mut Placed, key: &Key) -> Option<Arc<Object>> {
    let there = placed.get_mut(&key.namespace)?;
    let object = there.remove(&key.name);
    if there.is_empty() {
        placed.remove(&key.namespace);
    }
    object
}

impl Decision<'_> {
    /// Whether it may be done.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// Why, as Kubernetes tells it; empty if it may not be done.
    #[must_use]
    pub fn reason(&self) -> String {
        let (object, subject) = match self {
            Self::Denied => return String::new(),
            Self::Allowed(Grant::Master) => {
                return format!("whoever is in {} may do everything", crate::actor::MASTERS);
            }
            Self::Allowed(Grant::Binding { binding, subject }) => (binding, subject),
        };
        let Some((role, _)) = binding(object) else { return String::new() };
        let binding = object.key();
        let name = match binding.namespace.as_str() {
            "" => binding.name.clone(),
            namespace => format!("{}/{namespace}", binding.name),
        };
        let who = match subject.kind.as_str() {
            PROGRAM => format!("{}/{}", subject.name, namespace_of(subject, &binding.namespace)),
            _ => subject.name.clone(),
        };
        format!(
            "RBAC: allowed by {} {name:?} of {} {:?} to {} {who:?}",
            binding.kind, role.kind, role.name, subject.kind
        )
    }
}

/// Whom a subject means.
enum Who {
    User(String),
    Group(String),
}

impl Who {
    /// `None` if it means nobody.
    fn of(subject: &Subject, namespace: &str) -> Option<Self> {
        match subject.kind.as_str() {
            USER => Some(Self::User(subject.name.clone())),
            USERS => Some(Self::Group(subject.name.clone())),
            PROGRAM => {
                let namespace = namespace_of(subject, namespace);
                let named = !namespace.is_empty();
                named.then(|| Self::User(service_account_name(namespace, &subject.name)))
            }
            _ => None,
        }
    }
}

/// The namespace of a ServiceAccount: that of its binding, if it names none.
fn namespace_of<'a>(subject: &'a Subject, of_binding: &'a str) -> &'a str {
    if subject.namespace.is_empty() { of_binding } else { &subject.namespace }
}

/// What a binding gives, and to whom; `None` for what is no binding.
fn binding(object: &Object) -> Option<(&RoleRef, &[Subject])> {
    match object {
        Object::RoleBinding(binding) => Some((&binding.role_ref, &binding.subjects)),
        Object::ClusterRoleBinding(binding) => Some((&binding.role_ref, &binding.subjects)),
        _ => None,
    }
}
