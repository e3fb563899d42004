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

/// Bindings of somebody, by the namespace in which they count; those of an empty name count everywhere.
type Bound = BTreeMap<String, BTreeSet<Key>>;

/// The roles and bindings that there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Roles and bindings, of both kinds each.
    objects: BTreeMap<Key, Arc<Object>>,
    users: BTreeMap<String, Bound>,
    groups: BTreeMap<String, Bound>,
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
        /// Names the binding.
        binding: &'r Key,
        /// The role.
        role: &'r RoleRef,
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
        if !Self::concern(key.kind) {
            return;
        }
        self.remove(&key);
        if let Some((_, subjects)) = binding(object) {
            for who in subjects.iter().filter_map(|subject| Who::of(subject, &key.namespace)) {
                let bound = self.bound_mut(&who).entry(key.namespace.clone()).or_default();
                bound.insert(key.clone());
            }
        }
        self.objects.insert(key, object.clone());
    }

    /// Forgets an object.
    pub fn remove(&mut self, key: &Key) {
        let Some(object) = self.objects.remove(key) else { return };
        let Some((_, subjects)) = binding(&object) else { return };
        for who in subjects.iter().filter_map(|subject| Who::of(subject, &key.namespace)) {
            let bound = self.bound_mut(&who);
            if let Some(keys) = bound.get_mut(&key.namespace) {
                keys.remove(key);
                if keys.is_empty() {
                    bound.remove(&key.namespace);
                }
            }
            if bound.is_empty() {
                match who {
                    Who::User(name) => self.users.remove(&name),
                    Who::Group(name) => self.groups.remove(&name),
                };
            }
        }
    }

    fn bound_mut(&mut self, who: &Who) -> &mut Bound {
        match who {
            Who::User(name) => self.users.entry(name.clone()).or_default(),
            Who::Group(name) => self.groups.entry(name.clone()).or_default(),
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
        for (key, role, rules) in self.of(actor, namespace) {
            if rules.iter().any(|rule| matching::allows(rule, asked)) {
                return match self.as_whom(key, actor) {
                    Some(subject) => {
                        Decision::Allowed(Grant::Binding { binding: key, role, subject })
                    }
                    None => Decision::Denied,
                };
            }
        }
        Decision::Denied
    }

    /// Every rule that counts for somebody in a namespace, those that count everywhere included. Each role is there once.
    #[must_use]
    pub fn held(&self, actor: &Actor, namespace: &str) -> Vec<&PolicyRule> {
        let mut seen = BTreeSet::new();
        self.of(actor, namespace)
            .filter(|(key, role, _)| seen.insert((key.namespace.as_str(), &role.kind, &role.name)))
            .flat_map(|(_, _, rules)| rules)
            .collect()
    }

    /// The rules of the role that a binding in a namespace gives; `None` if there is no such role.
    #[must_use]
    pub fn of_role(&self, role: &RoleRef, namespace: &str) -> Option<&[PolicyRule]> {
        let key = Key::new(role.role_kind()?, namespace, &role.name);
        match self.objects.get(&key)?.as_ref() {
            Object::Role(role) => Some(&role.rules),
            Object::ClusterRole(role) => Some(&role.rules),
            _ => None,
        }
    }

    /// The bindings of somebody that count in a namespace, with what they give: those that count everywhere first.
    fn of<'r>(
        &'r self,
        actor: &Actor,
        namespace: &str,
    ) -> impl Iterator<Item = (&'r Key, &'r RoleRef, &'r [PolicyRule])> {
        let groups = actor.groups.iter().filter_map(|group| self.groups.get(group));
        let who: Vec<&Bound> = self.users.get(&actor.name).into_iter().chain(groups).collect();
        let local = Some(namespace).filter(|namespace| !namespace.is_empty());
        let keys: Vec<&'r BTreeSet<Key>> = [Some(""), local]
            .into_iter()
            .flatten()
            .flat_map(|scope| who.iter().filter_map(move |bound| bound.get(scope)))
            .collect();
        keys.into_iter().flatten().filter_map(|key| {
            let (role, _) = binding(self.objects.get(key)?)?;
            Some((key, role, self.of_role(role, &key.namespace)?))
        })
    }

    /// The subject of a binding that somebody is.
    fn as_whom(&self, key: &Key, actor: &Actor) -> Option<&Subject> {
        let (_, subjects) = binding(self.objects.get(key)?)?;
        subjects.iter().find(|subject| match Who::of(subject, &key.namespace) {
            Some(Who::User(name)) => name == actor.name,
            Some(Who::Group(name)) => actor.groups.contains(&name),
            None => false,
        })
    }
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
        let (binding, role, subject) = match self {
            Self::Denied => return String::new(),
            Self::Allowed(Grant::Master) => {
                return format!("whoever is in {} may do everything", crate::actor::MASTERS);
            }
            Self::Allowed(Grant::Binding { binding, role, subject }) => (binding, role, subject),
        };
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
