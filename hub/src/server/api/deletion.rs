//! The options of a deletion: in its body or as parameters of its query, which mean the same.

use lichen_hub_core::registry::options::DeleteOptions;
use serde_json::Value;

use super::{query::Query, status::Refusal};

/// Reads them. What Lichen does not know of a deletion is refused by name, since it would be missed.
pub(super) fn options(body: &Value, query: &Query) -> Result<DeleteOptions, Refusal> {
    let given = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
    for name in ["preconditions", "dryRun", "ignoreStoreReadErrorWithClusterBreakingPotential"] {
        if given(name) || query.text(name).is_some() {
            return Err(Refusal::bad_request(format!(
                "Lichen does not support {name} of a deletion; leave it out"
            )));
        }
    }
    let number = |name: &str| match body.get(name).filter(|value| !value.is_null()) {
        Some(value) => value.as_u64().map(Some).ok_or_else(|| wrong(name, "a whole number", value)),
        None => query.number(name),
    };
    let text = |name: &str| match body.get(name).filter(|value| !value.is_null()) {
        Some(value) => value
            .as_str()
            .map(|text| Some(text.to_owned()))
            .ok_or_else(|| wrong(name, "a text", value)),
        None => Ok(query.text(name).map(str::to_owned)),
    };
    let orphan = match body.get("orphanDependents").filter(|value| !value.is_null()) {
        Some(value) => {
            Some(value.as_bool().ok_or_else(|| wrong("orphanDependents", "true or false", value))?)
        }
        None => query.text("orphanDependents").map(|_| query.flag("orphanDependents")),
    };
    Ok(DeleteOptions {
        propagation_policy: text("propagationPolicy")?,
        orphan_dependents: orphan,
        grace_period_seconds: number("gracePeriodSeconds")?,
    })
}

fn wrong(name: &str, expected: &str, value: &Value) -> Refusal {
    Refusal::bad_request(format!("{name} of a deletion must be {expected}, not {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(body: Value, query: &str, expected: &str) {
        let said = match options(&body, &Query::parse(Some(query))) {
            Ok(options) => format!("{options:?}"),
            Err(refusal) => refusal.message().to_owned(),
        };
        assert!(said.contains(expected), "{body} {query}: {said}");
    }

    #[test]
    fn body_and_query_mean_the_same() {
        for (name, text, json) in [
            ("propagationPolicy", "Orphan", json!("Orphan")),
            ("gracePeriodSeconds", "0", json!(0)),
            ("orphanDependents", "true", json!(true)),
            ("preconditions", "x", json!({})),
            ("dryRun", "All", json!(["All"])),
        ] {
            let in_query = options(&Value::Null, &Query::parse(Some(&format!("{name}={text}"))));
            let in_body = options(&json!({name: json}), &Query::parse(None));
            assert_eq!(in_query.ok(), in_body.ok(), "{name}");
        }
        check(json!({"gracePeriodSeconds": -1}), "", "must be a whole number, not -1");
        check(json!({}), "gracePeriodSeconds=x", "must be a whole number");
        check(json!({"propagationPolicy": 1}), "", "must be a text, not 1");
        check(Value::Null, "dryRun=All", "does not support dryRun of a deletion");
    }
}
