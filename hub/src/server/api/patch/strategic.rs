//! Kubernetes' strategic merge patch, for the kinds that Lichen has: as JSON merge patch, but lists whose items have a
//! key ([`Field::merge`]) are merged item by item, and directives (`$patch`, `$retainKeys`, `$setElementOrder/…`) steer
//! it. What a list's items are told apart by is said by the table of the kind; [`pairing`] merges the items of one key.

mod pairing;

use std::{cmp::Ordering, collections::HashMap};

use lichen_hub_core::api::field::{Field, Message, Shape};
use serde_json::{Map, Value};

/// Most items of a list that is merged item by item, before and after. The largest list that Lichen takes is the 256
/// variables of a container; without a bound a body of 3 MiB would keep the engine's thread busy for minutes.
const MAX_ITEMS: usize = 1024;
/// Most items of all such lists of a patch, with each merging of one. Enough for every variable of ten containers.
const MAX_WORK: usize = 8192;

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVE: &str = "$deleteFromPrimitiveList/";

/// Why a patch makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatchError {
    /// A patch is an object.
    #[error("a patch must be a JSON object")]
    NoObject,
    /// A directive that is not one.
    #[error("{0} must be \"merge\", \"replace\" or \"delete\", not {1}")]
    Directive(&'static str, Value),
    /// A directive with a value of the wrong type.
    #[error("{0} must be a list")]
    NoList(String),
    /// A list that would take too long to merge.
    #[error("{list} has {count} items; at most {MAX_ITEMS} are merged")]
    TooMany {
        /// The list.
        list: String,
        /// Its items, those of the patch included.
        count: usize,
    },
    /// Many lists that would take too long to merge.
    #[error(
        "the patch merges lists of more than {MAX_WORK} items in all; send the whole object (PUT, or `kubectl replace`)"
    )]
    TooMuch,
    /// An item that can't be matched.
    #[error("an item of {list} lacks its key {key}")]
    NoKey {
        /// The list.
        list: String,
        /// The key of its items.
        key: &'static str,
    },
    /// Several items have one key, and the patch does not say which of them it means.
    #[error(
        "{list} has several items with {key} {value}, and the patch does not say which of them it changes; send the \
         whole object (PUT, or `kubectl replace`)"
    )]
    Ambiguous {
        /// The list.
        list: String,
        /// The key of its items.
        key: &'static str,
        /// What they have there.
        value: Value,
    },
    /// Lists of plain values are replaced whole.
    #[error("{0}: no list of plain values is merged here; send the whole list")]
    Primitive(String),
}

/// The target, an object with these fields, with the patch applied.
pub(super) fn merge(
    target: &Value,
    patch: &Value,
    table: &'static Message,
) -> Result<Value, PatchError> {
    let patch = patch.as_object().ok_or(PatchError::NoObject)?;
    let nothing = Map::new();
    let target = target.as_object().unwrap_or(&nothing);
    merge_map(target, patch, Some(table), &mut Budget(MAX_WORK)).map(Value::Object)
}

/// What a patch may still take.
struct Budget(usize);

impl Budget {
    fn spend(&mut self, items: usize) -> Result<(), PatchError> {
        self.0 = self.0.checked_sub(items).ok_or(PatchError::TooMuch)?;
        Ok(())
    }
}

/// Merges two maps. Without a table nothing is known of their lists: they are replaced.
fn merge_map(
    target: &Map<String, Value>,
    patch: &Map<String, Value>,
    table: Option<&'static Message>,
    budget: &mut Budget,
) -> Result<Map<String, Value>, PatchError> {
    let mut merged = match directive(patch)? {
        Directive::Merge => target.clone(),
        Directive::Replace => Map::new(),
        Directive::Delete => return Ok(Map::new()),
    };
    if let Some(retained) = patch.get(RETAIN) {
        let retained = retained.as_array().ok_or_else(|| PatchError::NoList(RETAIN.to_owned()))?;
        merged.retain(|name, _| retained.iter().any(|kept| kept == name.as_str()));
    }
    let field_of = |name: &str| table.and_then(|table| table.field(name));
    for (name, value) in patch {
        if name == PATCH || name == RETAIN || name.starts_with(ORDER) {
            continue;
        }
        if let Some(list) = name.strip_prefix(DELETE_PRIMITIVE) {
            return Err(PatchError::Primitive(list.to_owned()));
        }
        let order = patch.get(&format!("{ORDER}{name}"));
        match merge_value(field_of(name), merged.get(name), value, order, budget)? {
            Some(value) => merged.insert(name.clone(), value),
            None => merged.remove(name),
        };
    }
    // An order may be given for a list that the patch does not change otherwise.
    for (name, order) in patch {
        let Some(name) = name.strip_prefix(ORDER) else { continue };
        if !patch.contains_key(name)
            && let Some(Value::Array(items)) = merged.get(name)
            && let Some(key) = field_of(name).and_then(|field| field.merge)
            && items.len() <= MAX_ITEMS
        {
            budget.spend(items.len())?;
            let sorted = sort(items.clone(), items, key, order_list(name, order)?);
            merged.insert(name.to_owned(), Value::Array(sorted));
        }
    }
    Ok(merged)
}

/// The new value of a field; `None` removes it.
fn merge_value(
    field: Option<&'static Field>,
    before: Option<&Value>,
    patch: &Value,
    order: Option<&Value>,
    budget: &mut Budget,
) -> Result<Option<Value>, PatchError> {
    Ok(match patch {
        Value::Null => None,
        Value::Object(patch) => {
            // A field that is to go is left as an empty map by Kubernetes too.
            let nothing = Map::new();
            let before = before.and_then(Value::as_object).unwrap_or(&nothing);
            Some(Value::Object(merge_map(before, patch, table_of(field), budget)?))
        }
        Value::Array(patch) => {
            let before = before.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let merged = match field.and_then(|field| Some((field, field.merge?))) {
                Some((field, key)) => merge_list(field, key, before, patch, order, budget)?,
                None => patch.clone(),
            };
            Some(Value::Array(merged))
        }
        plain => Some(plain.clone()),
    })
}

/// What is known of the object, or the items, in a field.
fn table_of(field: Option<&'static Field>) -> Option<&'static Message> {
    match field?.shape {
        Shape::Object(table) | Shape::Inline(table) => Some(table),
        _ => None,
    }
}

fn merge_list(
    field: &'static Field,
    key: &'static str,
    before: &[Value],
    patch: &[Value],
    order: Option<&Value>,
    budget: &mut Budget,
) -> Result<Vec<Value>, PatchError> {
    let count = before.len() + patch.len();
    if count > MAX_ITEMS {
        return Err(PatchError::TooMany { list: field.name.to_owned(), count });
    }
    budget.spend(count)?;
    let order = order.map(|order| order_list(field.name, order)).transpose()?;
    let mut ordered = HashMap::<&Value, usize>::new();
    for item in order.into_iter().flatten() {
        *ordered.entry(item.get(key).unwrap_or(&Value::Null)).or_default() += 1;
    }
    let items: Vec<&Map<String, Value>> =
        patch.iter().map(Value::as_object).collect::<Option<_>>().ok_or(PatchError::NoObject)?;
    let mut replace = false;
    let mut of_key = HashMap::<&Value, Vec<&Map<String, Value>>>::new();
    for item in &items {
        of_key.entry(item.get(key).unwrap_or(&Value::Null)).or_default().push(item);
        replace |= matches!(directive(item)?, Directive::Replace);
    }
    let mut merged = if replace { Vec::new() } else { before.to_vec() };
    for item in &items {
        if let Directive::Replace = directive(item)? {
            // Alone it is the directive for the list; with other fields it is an item too.
            if item.len() > 1 {
                let item = merge_map(&Map::new(), item, table_of(Some(field)), budget)?;
                merged.push(Value::Object(item));
            }
            continue;
        }
        let wanted = item.get(key).filter(|wanted| !wanted.is_null());
        let wanted =
            wanted.ok_or_else(|| PatchError::NoKey { list: field.name.to_owned(), key })?;
        // Once for all items of a key.
        let Some(same) = of_key.remove(wanted) else { continue };
        let ordered = ordered.get(wanted).copied().unwrap_or_default();
        pairing::merge((field, key, wanted), &mut merged, &same, ordered, budget)?;
    }
    Ok(match order {
        Some(order) => sort(merged, before, key, order),
        None => merged,
    })
}

/// Puts the items that the order names into that order. The others keep their place before or behind the items that
/// they stood before or behind.
fn sort(merged: Vec<Value>, before: &[Value], key: &str, order: &[Value]) -> Vec<Value> {
    let (ranks, places) = (first_places(order, key), first_places(before, key));
    let rank = |item: &Value| ranks.get(&item.get(key)).copied();
    let stood = |item: &Value| places.get(&item.get(key)).copied();
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| rank(item).is_some());
    named.sort_by_key(rank);
    let mut sorted = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let other_first = match (named.peek(), others.peek()) {
            (None, None) => return sorted,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (Some(named), Some(other)) => match (stood(named), stood(other)) {
                (Some(named), Some(other)) => other.cmp(&named) == Ordering::Less,
                _ => false,
            },
        };
        sorted.extend(if other_first { others.next() } else { named.next() });
    }
}

/// Where each key stands first in a list.
fn first_places<'a>(list: &'a [Value], key: &str) -> HashMap<Option<&'a Value>, usize> {
    let mut places = HashMap::new();
    for (place, item) in list.iter().enumerate() {
        places.entry(item.get(key)).or_insert(place);
    }
    places
}

fn order_list<'a>(name: &str, order: &'a Value) -> Result<&'a [Value], PatchError> {
    let list = order.as_array().ok_or_else(|| PatchError::NoList(format!("{ORDER}{name}")))?;
    match list.len() {
        count if count > MAX_ITEMS => {
            Err(PatchError::TooMany { list: format!("{ORDER}{name}"), count })
        }
        _ => Ok(list),
    }
}

#[derive(Clone, Copy)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

fn directive(patch: &Map<String, Value>) -> Result<Directive, PatchError> {
    match patch.get(PATCH) {
        None => Ok(Directive::Merge),
        Some(value) => match value.as_str() {
            Some("merge") => Ok(Directive::Merge),
            Some("replace") => Ok(Directive::Replace),
            Some("delete") => Ok(Directive::Delete),
            _ => Err(PatchError::Directive(PATCH, value.clone())),
        },
    }
}

#[cfg(test)]
mod tests;
