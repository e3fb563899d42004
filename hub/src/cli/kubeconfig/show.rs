//! Kubeconfigs for people and for other programs: all of them as one, without secrets, or only what one context needs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Document, Found, Group, KubeconfigError, Section, portable};

/// What stands where bytes are left out, as in kubectl.
const OMITTED: &str = "DATA+OMITTED";
/// What stands where a secret is left out, as in kubectl.
const REDACTED: &str = "REDACTED";
/// Fields of a user that are no secret: what is not among them is left out.
const PLAIN: [&str; 5] = ["client-certificate", "client-key", "tokenFile", "username", "as"];

/// What is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Form {
    /// With secrets.
    pub raw: bool,
    /// Only what the current context needs.
    pub minify: bool,
    /// With the content of files in place of their paths.
    pub flatten: bool,
}

/// Everything that was found as one kubeconfig, with `wanted` as its current context if it is given.
///
/// # Errors
/// The one context that is wanted is not there, or a file that an entry names can't be read.
pub fn view(found: &Found, wanted: Option<&str>, form: Form) -> Result<Document, KubeconfigError> {
    let mut document = Document::new();
    if form.minify {
        let (group, name) = found.context(wanted)?;
        add(&mut document, group, &BTreeSet::from([name.as_str()]), form)?;
        document.set_current(&name);
        return Ok(document);
    }
    // The first of one name counts, so that it is put in last.
    for group in found.groups.iter().rev() {
        let contexts = group.contexts().map(|context| context.name).collect();
        if !group.place.is_shared() {
            for section in Section::ALL {
                add_all(&mut document, group, section, form)?;
            }
        }
        add(&mut document, group, &contexts, form)?;
    }
    document.set_current(wanted.or(found.current().map(|(_, name)| name)).unwrap_or_default());
    Ok(document)
}

/// Puts contexts with their clusters and users in.
fn add(
    document: &mut Document,
    group: &Group,
    contexts: &BTreeSet<&str>,
    form: Form,
) -> Result<(), KubeconfigError> {
    for name in contexts {
        let Some(context) = group.entry(Section::Contexts, name) else { continue };
        document.set(
            Section::Contexts,
            name,
            shown(&portable(&context, false)?, Section::Contexts, form),
        );
        for section in [Section::Clusters, Section::Users] {
            let name = context.value[section.one()].as_str().unwrap_or_default();
            if let Some(entry) = group.entry(section, name) {
                document.set(section, name, shown(&portable(&entry, form.flatten)?, section, form));
            }
        }
    }
    Ok(())
}

fn add_all(
    document: &mut Document,
    group: &Group,
    section: Section,
    form: Form,
) -> Result<(), KubeconfigError> {
    for entry in group.entries(section) {
        document.set(section, entry.name, shown(&portable(&entry, form.flatten)?, section, form));
    }
    Ok(())
}

/// An entry without its secrets, unless they are wanted.
fn shown(value: &Value, section: Section, form: Form) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    if form.raw {
        return value.clone();
    }
    let field = |(name, value): (&String, &Value)| {
        let shown = match section {
            _ if name.ends_with("-data") => OMITTED.into(),
            Section::Users if !PLAIN.contains(&name.as_str()) => redacted(value),
            _ => value.clone(),
        };
        (name.clone(), shown)
    };
    Value::Object(fields.iter().map(field).collect())
}

/// Every text in a value left out.
fn redacted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), redacted(value)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(redacted).collect()),
        Value::Null | Value::Bool(_) => value.clone(),
        Value::String(_) | Value::Number(_) => REDACTED.into(),
    }
}
