//! The items of one key: which of those that are there a patch means by which of its own.
//!
//! Usually there is one of each. But a list may have several items of one key (a port as TCP and UDP, a variable that is
//! given twice), and kubectl's patch then names the key alone. What it means follows from how kubectl makes it: it pairs
//! the items before with those after in their order, sends what differs in each pair, then what is new, and one deletion
//! if some are left over; `$setElementOrder` has the key as often as there are to be items.

use lichen_hub_core::api::field::Field;
use serde_json::{Map, Value};

use super::{Directive, PatchError, directive, merge_map, table_of};

/// Merges the patch's items of one key into the list. `ordered`: how many there are to be; 0 if the patch does not say.
pub(super) fn merge(
    field: &'static Field,
    key: &'static str,
    wanted: &Value,
    merged: &mut Vec<Value>,
    patch: &[&Map<String, Value>],
    ordered: usize,
) -> Result<(), PatchError> {
    if ordered == 0 {
        return patch.iter().try_for_each(|item| merge_one(field, key, wanted, merged, item));
    }
    let mut deletes = false;
    let mut changes = Vec::new();
    for item in patch {
        match directive(item)? {
            Directive::Delete => deletes = true,
            Directive::Merge => changes.push(*item),
            // The list is replaced, and this item is in it.
            Directive::Replace => {}
        }
    }
    let mut there = places(merged, key, wanted);
    if deletes && there.len() > ordered {
        for place in there.split_off(ordered).into_iter().rev() {
            merged.remove(place);
        }
    }
    // A change that an item has already is of that item.
    let mut rest = Vec::new();
    for change in changes {
        let mut has = None;
        for (index, place) in there.iter().enumerate() {
            if changed(field, &merged[*place], change)? == merged[*place] {
                has = Some(index);
                break;
            }
        }
        match has {
            Some(index) => drop(there.remove(index)),
            None => rest.push(change),
        }
    }
    let count = places(merged, key, wanted).len();
    let new = rest.split_off(rest.len() - ordered.saturating_sub(count).min(rest.len()));
    if rest.len() == there.len() {
        for (place, change) in there.iter().zip(rest) {
            merged[*place] = changed(field, &merged[*place], change)?;
        }
    } else {
        for change in rest {
            let found = there.iter().position(|place| same_also(field, &merged[*place], change));
            let Some(found) = found.filter(|_| gives_also(field, change)) else {
                let value = wanted.clone();
                return Err(PatchError::Ambiguous { list: field.name.to_owned(), key, value });
            };
            let place = there.remove(found);
            merged[place] = changed(field, &merged[place], change)?;
        }
    }
    for change in new {
        merged.push(changed(field, &Value::Null, change)?);
    }
    Ok(())
}

/// Merges an item of a patch that says nothing of the order: it was written by hand, and means what its fields say.
fn merge_one(
    field: &'static Field,
    key: &'static str,
    wanted: &Value,
    merged: &mut Vec<Value>,
    item: &Map<String, Value>,
) -> Result<(), PatchError> {
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
    let named = there.iter().copied().find(|place| same_also(field, &merged[*place], item));
    // The only one of its key is meant, unless the patch names another.
    let only = there.first().copied().filter(|_| there.len() == 1 && !gives_also(field, item));
    match named.or(only) {
        Some(place) => merged[place] = changed(field, &merged[place], item)?,
        None => merged.push(changed(field, &Value::Null, item)?),
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
) -> Result<Value, PatchError> {
    let nothing = Map::new();
    let before = item.as_object().unwrap_or(&nothing);
    merge_map(before, change, table_of(Some(field))).map(Value::Object)
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
