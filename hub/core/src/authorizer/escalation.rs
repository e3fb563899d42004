//! Nobody gives away what they do not have: whoever writes a role must hold all that it allows, and whoever binds a role
//! must hold all that the role allows, where it is to count. The verbs `escalate` on roles and `bind` on a role lift
//! this, as in Kubernetes, and members of [`MASTERS`](crate::actor::MASTERS) are not asked.

use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};

use super::{
    Attributes, Rules, Target,
    matching::{covers_path, covers_resource, has},
};
use crate::{
    actor::Actor,
    api::{
        ApiError, Key, Object,
        rbac::{PolicyRule, RoleRef},
    },
};

/// Rules of whoever grants that are held against those that they grant. A check is some comparisons of each with each,
/// in the engine's thread, where all others wait.
const MAX_HELD: usize = 2_000;
/// Missing permissions that an answer names.
const MAX_NAMED: usize = 5;

/// Whether somebody may store a role or a binding with this content. Of other objects there is nothing to say.
///
/// # Errors
/// It would give away what they do not have; the text names some of it.
pub fn check_grant(rules: &Rules, actor: &Actor, object: &Object) -> Result<(), ApiError> {
    if actor.is_master() {
        return Ok(());
    }
    let key = object.key();
    let Some(grant) = Grant::of(rules, object) else { return Ok(()) };
    if rules.decide(actor, &grant.lifted).is_allowed() {
        return Ok(());
    }
    // Whoever binds a role that is not there would have whatever it will be.
    let Some(wanted) = grant.wanted else { return Err(ApiError::NotFound(grant.role)) };
    let held = rules.held(actor, &key.namespace);
    if held.len() > MAX_HELD {
        return Err(ApiError::Forbidden(format!(
            "{} is forbidden: user {:?} holds {} rules, more than the {MAX_HELD} that are compared with those to be \
             granted; ask for the verb {} on them, or somebody with fewer rules",
            shown(&key),
            actor.name,
            held.len(),
            grant.lifted.verb,
        )));
    }
    let mut missing = Vec::new();
    for rule in wanted {
        Grid::of(rule).missing(&held, &mut missing);
        if missing.len() > MAX_NAMED {
            break;
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let more = if missing.len() > MAX_NAMED { "; and more" } else { "" };
    missing.truncate(MAX_NAMED);
    Err(ApiError::Forbidden(format!(
        "{} is forbidden: user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held: {}{more}",
        shown(&key),
        actor.name,
        actor.groups,
        missing.join("; "),
    )))
}

/// Whether all that a rule allows is allowed by others, each combination by one of them alone.
pub(super) fn covers(held: &[&PolicyRule], rule: &PolicyRule) -> bool {
    let mut missing = Vec::new();
    Grid::of(rule).missing(held, &mut missing);
    missing.is_empty()
}

/// What would be given away.
struct Grant<'a> {
    /// The role in question.
    role: Key,
    /// All that it allows; `None` if it is not there.
    wanted: Option<&'a [PolicyRule]>,
    /// The request that lifts the check.
    lifted: Attributes,
}

impl<'a> Grant<'a> {
    fn of(rules: &'a Rules, object: &'a Object) -> Option<Self> {
        let key = object.key();
        match object {
            Object::Role(role) => Some(Self::written(key, &role.rules)),
            Object::ClusterRole(role) => Some(Self::written(key, &role.rules)),
            Object::RoleBinding(binding) => Self::bound(rules, &binding.role_ref, &key.namespace),
            Object::ClusterRoleBinding(binding) => Self::bound(rules, &binding.role_ref, ""),
            _ => None,
        }
    }

    fn written(role: Key, rules: &'a [PolicyRule]) -> Self {
        let lifted = Attributes::on("escalate", &role);
        Self { role, wanted: Some(rules), lifted }
    }

    /// `None` for what refers to no role, and so gives nothing: it can't be stored.
    fn bound(rules: &'a Rules, role: &RoleRef, namespace: &str) -> Option<Self> {
        let key = Key::new(role.role_kind()?, namespace, &role.name);
        let mut lifted = Attributes::on("bind", &key);
        // A ClusterRole is bound in the binding's namespace, and the verb may be given there.
        if let Target::Resource(target) = &mut lifted.target {
            namespace.clone_into(&mut target.namespace);
        }
        Some(Self { role: key, wanted: rules.of_role(role, namespace), lifted })
    }
}

fn shown(key: &Key) -> String {
    let names = key.kind.names();
    format!("{}.{} {:?}", names.plural, names.group(), key.name)
}

/// A rule as the grid of all that it allows one by one: verb by group by resource by name, or verb by path.
struct Grid<'a> {
    rule: &'a PolicyRule,
    /// The sides; of a rule without names, that side is 1.
    sides: [usize; 4],
}

impl<'a> Grid<'a> {
    fn of(rule: &'a PolicyRule) -> Self {
        let sides = match rule.non_resource_urls.len() {
            0 => [
                rule.verbs.len(),
                rule.api_groups.len(),
                rule.resources.len(),
                rule.resource_names.len().max(1),
            ],
            paths => [rule.verbs.len(), paths, 1, 1],
        };
        Self { rule, sides }
    }

    /// Names what none of the held rules covers. Each combination must be covered by one rule alone.
    fn missing(&self, held: &[&PolicyRule], missing: &mut Vec<String>) {
        let total = self.sides.iter().product();
        let mut covered = vec![false; total];
        let mut left = total;
        for by in held {
            if left == 0 {
                return;
            }
            let Some(sides) = self.covered_by(by) else { continue };
            for place in places(&sides, self.sides) {
                if !core::mem::replace(&mut covered[place], true) {
                    left -= 1;
                }
            }
        }
        let open = covered.iter().enumerate().filter(|(_, covered)| !**covered);
        missing.extend(open.take(MAX_NAMED + 1).map(|(place, _)| self.name(place)));
    }

    /// Which parts of each side a rule covers; `None` if it covers nothing.
    fn covered_by(&self, by: &PolicyRule) -> Option<[Vec<usize>; 4]> {
        let rule = self.rule;
        let verbs = covered(&rule.verbs, |verb| has(&by.verbs, verb))?;
        if !rule.non_resource_urls.is_empty() {
            let covers =
                |path: &str| by.non_resource_urls.iter().any(|known| covers_path(known, path));
            let paths = covered(&rule.non_resource_urls, covers)?;
            return Some([verbs, paths, vec![0], vec![0]]);
        }
        let groups = covered(&rule.api_groups, |group| has(&by.api_groups, group))?;
        let resources =
            covered(&rule.resources, |resource| covers_resource(&by.resources, resource))?;
        let names = match (by.resource_names.is_empty(), rule.resource_names.is_empty()) {
            (true, _) => (0..self.sides[3]).collect(),
            (false, true) => return None,
            (false, false) => {
                covered(&rule.resource_names, |name| by.resource_names.iter().any(|n| n == name))?
            }
        };
        Some([verbs, groups, resources, names])
    }

    /// One combination: `get pods in API group "apps"`.
    fn name(&self, place: usize) -> String {
        let rule = self.rule;
        let [_, groups, resources, names] = self.sides;
        let (rest, name) = (place / names, place % names);
        let (rest, resource) = (rest / resources, rest % resources);
        let (verb, group) = (rest / groups, rest % groups);
        let at = |list: &'a [String], index: usize| list.get(index).map_or("", String::as_str);
        let verb = at(&rule.verbs, verb);
        if !rule.non_resource_urls.is_empty() {
            return format!("{verb} path {:?}", at(&rule.non_resource_urls, group));
        }
        let named = match rule.resource_names.get(name) {
            Some(name) => format!(" {name:?}"),
            None => String::new(),
        };
        let (resource, group) = (at(&rule.resources, resource), at(&rule.api_groups, group));
        format!("{verb} {resource}{named} in API group {group:?}")
    }
}

/// Where in a list the covered words are; `None` if none is.
fn covered(list: &[String], covers: impl Fn(&str) -> bool) -> Option<Vec<usize>> {
    let places = list.iter().enumerate().filter(|(_, word)| covers(word));
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    Some(places).filter(|places| !places.is_empty())
}

/// The places in the grid of all combinations of parts of its sides.
fn places(parts: &[Vec<usize>; 4], sides: [usize; 4]) -> impl Iterator<Item = usize> {
    let [a, b, c, d] = parts;
    a.iter().flat_map(move |a| {
        b.iter().flat_map(move |b| {
            c.iter().flat_map(move |c| {
                d.iter().map(move |d| ((a * sides[1] + b) * sides[2] + c) * sides[3] + d)
            })
        })
    })
}
