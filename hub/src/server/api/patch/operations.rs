//! JSON patch, RFC 6902: a list of steps, all of them or none.

use json_patch::{Patch, PatchOperation, jsonptr::Pointer, patch_unsafe};
use serde_json::Value;

use super::super::body::MAX_BODY_BYTES;

/// Steps of one patch: Kubernetes' own bound.
const MAX_OPERATIONS: usize = 10_000;

/// The value with every step done, in order.
pub(super) fn apply(current: &Value, patch: &Value) -> Result<Value, String> {
    if patch.as_array().is_none_or(|steps| steps.len() > MAX_OPERATIONS) {
        return Err(format!("a JSON patch is a list of at most {MAX_OPERATIONS} operations"));
    }
    let Patch(steps) = serde_json::from_value(patch.clone()).map_err(|error| error.to_string())?;
    let mut patched = current.clone();
    // Copies of copies would double the object with every step.
    let mut room = MAX_BODY_BYTES;
    for step in &steps {
        if let PatchOperation::Copy(copy) = step {
            let size = size_of(&patched, &copy.from);
            room = room.checked_sub(size).ok_or("its copies would make the object too large")?;
        }
        patch_unsafe(&mut patched, std::slice::from_ref(step)).map_err(|error| {
            format!("{} of {:?}: {}", name(step), step.path().as_str(), error.kind)
        })?;
    }
    Ok(patched)
}

fn name(step: &PatchOperation) -> &'static str {
    match step {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    }
}

/// Bytes of what a pointer leads to, as JSON.
fn size_of(value: &Value, at: &Pointer) -> usize {
    at.resolve(value).map_or(0, |found| found.to_string().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(target: Value, patch: Value, expected: Result<Value, &str>) {
        let patched = apply(&target, &patch);
        assert_eq!(patched.as_ref().map_err(String::as_str), expected.as_ref().map_err(|e| *e));
    }

    #[test]
    fn the_examples_of_the_standard_hold() {
        let step =
            |op: &str, path: &str, value: Value| json!({"op": op, "path": path, "value": value});
        let web = || json!({"spec": {"replicas": 1}, "items": ["a", "c"]});
        check(web(), json!([]), Ok(web()));
        check(
            web(),
            json!([
                step("test", "/spec/replicas", json!(1)),
                step("replace", "/spec/replicas", json!(3)),
                step("add", "/items/1", json!("b")),
                step("add", "/items/-", json!("d"))
            ]),
            Ok(json!({"spec": {"replicas": 3}, "items": ["a", "b", "c", "d"]})),
        );
        check(
            web(),
            json!([{"op": "copy", "from": "/spec", "path": "/old"}, {"op": "remove", "path": "/spec"},
                {"op": "move", "from": "/items", "path": "/old/items"}]),
            Ok(json!({"old": {"replicas": 1, "items": ["a", "c"]}})),
        );
    }

    #[test]
    fn what_can_not_be_done_is_named() {
        let web = || json!({"spec": {"replicas": 1}});
        check(
            web(),
            json!([{"op": "test", "path": "/spec/replicas", "value": 2}]),
            Err("test of \"/spec/replicas\": value did not match"),
        );
        check(
            web(),
            json!([{"op": "replace", "path": "/metadata/annotations", "value": {}}]),
            Err("replace of \"/metadata/annotations\": path is invalid"),
        );
        check(
            web(),
            json!({"spec": {}}),
            Err("a JSON patch is a list of at most 10000 operations"),
        );
        check(
            web(),
            json!([{"op": "lift", "path": "/spec"}]),
            Err(
                "unknown variant `lift`, expected one of `add`, `remove`, `replace`, `move`, `copy`, `test`",
            ),
        );
        // Each step would double the object.
        let copies: Vec<Value> = (0..64)
            .map(|step| json!({"op": "copy", "from": "", "path": format!("/{step}")}))
            .collect();
        check(web(), Value::Array(copies), Err("its copies would make the object too large"));
    }
}
