//! How much the Pods of a template matter, as the classes say that there are.

use alloc::string::ToString;

use super::State;
use crate::api::{
    Key, Kind, Object, PriorityClass, core::pod::PodSpec, scheduling::priority_class::NEVER,
};

/// How much Pods matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Priority {
    /// The more, the more they matter.
    pub value: i32,
    /// Whether they take the place of those that matter less.
    pub preempts: bool,
}

impl State {
    /// How much the Pods of a template matter. Whose class is gone is as one that names none.
    #[must_use]
    pub fn priority(&self, spec: &PodSpec) -> Priority {
        let named = spec.priority_class_name.as_deref().filter(|name| !name.is_empty());
        let of = |class: &PriorityClass| Priority {
            value: class.value,
            preempts: class.preemption_policy.as_deref() != Some(NEVER),
        };
        let class = match named.and_then(|name| self.priority_class(name)) {
            Some(class) => Some(class),
            // Of two defaults the lower one counts, as Kubernetes has it.
            None => self.priority_classes().filter(|c| c.global_default).min_by_key(|c| c.value),
        };
        class.map_or(Priority { value: 0, preempts: true }, of)
    }

    /// The class that a template names and that is not there.
    #[must_use]
    pub fn missing_priority_class<'a>(&self, spec: &'a PodSpec) -> Option<&'a str> {
        let named = spec.priority_class_name.as_deref().filter(|name| !name.is_empty())?;
        self.priority_class(named).is_none().then_some(named)
    }

    fn priority_class(&self, name: &str) -> Option<&PriorityClass> {
        let key =
            Key { kind: Kind::PriorityClass, namespace: "".to_string(), name: name.to_string() };
        match self.objects.get(&key).map(|stored| stored.object.as_ref()) {
            Some(Object::PriorityClass(class)) => Some(class),
            Some(_) | None => None,
        }
    }

    fn priority_classes(&self) -> impl Iterator<Item = &PriorityClass> {
        let all = self.objects.of_kind(Kind::PriorityClass);
        all.filter_map(|(_, stored)| match stored.object.as_ref() {
            Object::PriorityClass(class) => Some(class),
            _ => None,
        })
    }
}
