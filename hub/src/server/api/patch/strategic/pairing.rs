//! The items of one key: which of those that are there a patch means by which of its own.
//!
//! Usually there is one of each. But a list may have several items of one key (a port as TCP and UDP, a variable that is
//! given twice), and kubectl's patch then names the key alone. What it means follows from how kubectl makes it (as
//! observed with kubectl 1.32): it sorts both lists by key, which puts items of one key in reverse; pairs the items before
//! with those after; sends what differs in each pair, then what is new; and if some are left over, one deletion, into
//! which it merges what differs. `$setElementOrder` has the key as often as there are to be items.

use lichen_hub_core::api::field::Field;
use serde_json::{Map, Value};

use super::{Budget, Directive, PATCH, PatchError, directive, merge_map, table_of};

/// The field, the key of its items, and what the items at hand have there.
pub(super) type Of<'a> = (&'static Field, &'static str, &'a Value);

/// Merges the patch's items of one key into the list. `ordered`: how many there are to be; 0 if the patch does not say.
pub(super) fn merge(
    of: Of<'_>,
    merged: &mut Vec<Value>,
    patch: &[&Map<String, Value>],
    ordered: usize,
    budget: &mut Budget,
) -> Result<(), PatchError> {
    let (field, key, wanted) = of;
    let there = places(merged, key, wanted);
    if there.is_empty() {
        return add_all(field, merged, patch, budget);
    }
    if ordered == 0 {
        return patch.iter().try_for_each(|item| merge_one(of, merged, item, budget));
    }
    let mut items: Vec<Value> = there.iter().rev().map(|place| merged[*place].clone()).collect();
    let mut changes = Vec::new();
    for item in patch {
        match directive(item)? {
            Directive::Delete => {
                items.truncate(ordered);
                let mut change = Map::clone(item);
                change.remove(PATCH);
                if change.len() > 1 && !items.is_empty() {
                    changes.push(change);
                }
            }
            Directive::Merge => changes.push(Map::clone(item)),
            // The list is replaced, and this item is in it.
            Directive::Replace => {}
        }
    }
    apply(of, &mut items, changes, ordered, budget)?;
    let first = there.first().copied().unwrap_or(merged.len());
    for place in there.into_iter().rev() {
        merged.remove(place);
    }
    merged.splice(first..first, items.into_iter().rev());
    Ok(())
}

/// Adds items of a key that is not there: they stand in the patch as they are to stand in the list.
fn add_all(
    field: &'static Field,
    merged: &mut Vec<Value>,
    patch: &[&Map<String, Value>],
    budget: &mut Budget,
) -> Result<(), PatchError> {
    for item in patch {
        if let Directive::Merge = directive(item)? {
            merged.push(changed(field, &Value::Null, item, budget)?);
        }
    }
    Ok(())
}

/// Changes items of one key, in kubectl's order, and adds what is new.
fn apply(
    of: Of<'_>,
    items: &mut Vec<Value>,
    mut changes: Vec<Map<String, Value>>,
    ordered: usize,
    budget: &mut Budget,
) -> Result<(), PatchError> {
    let (field, key, wanted) = of;
    let mut open: Vec<usize> = (0..items.len()).collect();
    if changes.len() != ordered.max(items.len()) {
        // Not all of them change. A change that an item has already is of that item.
        let mut rest = Vec::new();
        for change in changes {
            let mut has = None;
            for (index, place) in open.iter().enumerate() {
                if changed(field, &items[*place], &change, budget)? == items[*place] {
                    has = Some(index);
                    break;
                }
            }
            match has {
                Some(index) => drop(open.remove(index)),
                None => rest.push(change),
            }
        }
        changes = rest;
    }
    let new = ordered.saturating_sub(items.len()).min(changes.len());
    let new = changes.split_off(changes.len() - new);
    let all = changes.len() == open.len();
    for change in changes {
        let found = match all {
            true => Some(0),
            false => open
                .iter()
                .position(|place| same_also(field, &items[*place], &change))
                .filter(|_| gives_also(field, &change)),
        };
        let Some(found) = found else {
            let value = wanted.clone();
            return Err(PatchError::Ambiguous { list: field.name.to_owned(), key, value });
        };
        let place = open.remove(found);
        items[place] = changed(field, &items[place], &change, budget)?;
    }
    for change in new {
        items.push(changed(field, &Value::Null, &change, budget)?);
    }
    Ok(())
}

/// Merges an item of a patch that says nothing of the order: it was written by hand, and means what its fields say.
fn merge_one(
    of: Of<'_>,
    merged: &mut Vec<Value>,
    item: &Map<String, Value>,
    budget: &mut Budget,
) -> Result<(), PatchError> {
    let (field, key, wanted) = of;
    let there = places(merged, key, wanted);
    if let Directive::Replace = directive(item)? {
        return Ok(());
    }
    if let Directive::Delete = directive(item)? {
        let all = !gives_also(field, item);
        for place in there.into_iter().rev() {
            if all || same_also(field, &merged[place], item) {
                merged.remove(place);
            }
        }
        return Ok(());
    }
    let mut results = Vec::new();
    for place in &there {
        let result = changed(field, &merged[*place], item, budget)?;
        if result == merged[*place] {
            return Ok(());
        }
        results.push(result);
    }
    let named = there.iter().position(|place| same_also(field, &merged[*place], item));
    // The only one of its key is meant, unless the patch names another.
    let only = (there.len() == 1 && !gives_also(field, item)).then_some(0);
    match named.or(only) {
        Some(found) => merged[there[found]] = results.swap_remove(found),
        None => merged.push(changed(field, &Value::Null, item, budget)?),
    }
    Ok(())
}

fn places(merged: &[Value], key: &str, wanted: &Value) -> Vec<usize> {
    let with_key = merged.iter().enumerate().filter(|(_, item)| item.get(key) == Some(wanted));
    with_key.map(|(place, _)| place).collect()
}

fn changed(
    field: &'static Field,
    item: &Value,
    change: &Map<String, Value>,
    budget: &mut Budget,
) -> Result<Value, PatchError> {
    budget.spend(1)?;
    let nothing = Map::new();
    let before = item.as_object().unwrap_or(&nothing);
    merge_map(before, change, table_of(Some(field)), budget).map(Value::Object)
}

/// Whether an item and a change agree in the second field that tells items apart.
fn same_also(field: &'static Field, item: &Value, change: &Map<String, Value>) -> bool {
    let Some((name, default)) = field.merge_also else { return true };
    let value = |given: Option<&Value>| given.cloned().unwrap_or_else(|| default.into());
    value(item.get(name)) == value(change.get(name))
}

/// Whether a change names the second field that tells items apart.
fn gives_also(field: &'static Field, change: &Map<String, Value>) -> bool {
    field.merge_also.is_some_and(|(name, _)| change.get(name).is_some_and(|value| !value.is_null()))
}
