//! `v1` Secret: data that only those may read who are allowed to. Encrypted in the hub's store, sealed to each device that
//! needs it, and printed nowhere.

use alloc::{borrow::ToOwned, collections::BTreeMap, format, string::String};
use core::fmt;

use serde::{Deserialize, Serialize};

use super::config_map::{MAX_BYTES, check_key};
use crate::{
    api::{
        cell,
        field::{self, Message, Shape, field, flag, object, text_map},
        meta::{OBJECT_META, ObjectMeta, nullable},
        resource::{Column, Names, Resource, Selectable},
        validate::Errors,
    },
    hidden::Hidden,
};

/// The type of a Secret that names none.
const OPAQUE: &str = "Opaque";
/// Whose token a Secret of this type holds.
const SERVICE_ACCOUNT: &str = "kubernetes.io/service-account.name";

/// Data by key.
pub type Data = BTreeMap<String, Hidden>;

/// Data that only those may read who are allowed to.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", rename_all = "camelCase")]
pub struct Secret {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Bytes by key; base64 in JSON.
    #[serde(skip_serializing_if = "Data::is_empty")]
    pub data: Data,
    /// What it is for. It says which keys there must be, and never changes.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether its data stays as it is for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
}

/// A Secret as it may be written: with text by key, which becomes data wherever it is read, and is never shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    metadata: ObjectMeta,
    #[serde(default, deserialize_with = "nullable")]
    data: Data,
    #[serde(default, deserialize_with = "text")]
    string_data: Data,
    #[serde(rename = "type", default, deserialize_with = "nullable")]
    kind: String,
    #[serde(default)]
    immutable: Option<bool>,
}

impl From<Written> for Secret {
    fn from(written: Written) -> Self {
        let Written { metadata, mut data, mut string_data, kind, immutable } = written;
        data.append(&mut string_data);
        Self { metadata, data, kind, immutable }
    }
}

impl Resource for Secret {
    const NAMES: Names = Names {
        kind: "Secret",
        plural: "secrets",
        singular: "secret",
        apply_order: 20,
        confidential: true,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "Secret",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            field("data", 2, Shape::Map(&Shape::Data)),
            field::text("type", 3),
            text_map("stringData", 4),
            flag("immutable", 5).optional(),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::text("Type", "What it is for.", |o, _| o.kind.as_str().into()),
        Column::number("Data", "How many keys it holds.", |o, _| o.data.len().into()),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::wide("Labels", "Its labels.", |o, _| cell::pairs(&o.metadata.labels)),
    ];
    const SELECTABLE: &'static [Selectable<Self>] = &[Selectable::new("type", |o| &o.kind)];

    fn default_fields(&mut self) {
        if self.kind.is_empty() {
            OPAQUE.clone_into(&mut self.kind);
        }
    }

    fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        for key in self.data.keys() {
            check_key("data", key, errors);
        }
        if self.data.values().map(|value| value.len()).sum::<usize>() > MAX_BYTES {
            errors.add("data", "is over 1 MiB in all");
        }
        self.check_type(errors);
        if let Some(old) = old {
            self.check_change(old, errors);
        }
    }
}

impl Secret {
    /// Kubernetes' rules for the types that it knows. Any other type is the operator's own.
    fn check_type(&self, errors: &mut Errors) {
        let kind = self.kind.as_str();
        let mut need = |key: &str, is_good: bool, what: &str| {
            if !is_good {
                errors.add(format!("data[{key}]"), format!("{what}: the type is {kind}"));
            }
        };
        let has = |key: &str| self.data.contains_key(key);
        let is_json = |key: &str| {
            let value = self.data.get(key);
            value
                .is_some_and(|value| serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok())
        };
        match kind {
            "kubernetes.io/tls" => {
                need("tls.crt", has("tls.crt"), "is missing");
                need("tls.key", has("tls.key"), "is missing");
            }
            "kubernetes.io/dockerconfigjson" => {
                let key = ".dockerconfigjson";
                need(key, is_json(key), "must be there and be JSON");
            }
            "kubernetes.io/dockercfg" => {
                need(".dockercfg", is_json(".dockercfg"), "must be there and be JSON");
            }
            "kubernetes.io/basic-auth" => {
                let has_one = has("username") || has("password");
                need("username", has_one, "or data[password] must be there");
            }
            "kubernetes.io/ssh-auth" => {
                let key = self.data.get("ssh-privatekey");
                let is_there = key.is_some_and(|key| !key.is_empty());
                need("ssh-privatekey", is_there, "must be there and not be empty");
            }
            "kubernetes.io/service-account-token" => {
                let account = self.metadata.annotations.get(SERVICE_ACCOUNT);
                if account.is_none_or(String::is_empty) {
                    errors.add(
                        format!("metadata.annotations[{SERVICE_ACCOUNT}]"),
                        format!("must name a ServiceAccount: the type is {kind}"),
                    );
                }
            }
            _ => {}
        }
    }

    fn check_change(&self, old: &Self, errors: &mut Errors) {
        if self.kind != old.kind {
            errors.add("type", format!("can't be changed: it is {}", old.kind));
        }
        if old.immutable != Some(true) {
            return;
        }
        let why = "can't be changed: the Secret is immutable; delete it and create another";
        if self.immutable != Some(true) {
            errors.add("immutable", why);
        }
        if self.data != old.data {
            errors.add("data", why);
        }
    }
}

impl fmt::Debug for Secret {
    /// Without annotations, too: `kubectl apply` writes all that it was given into one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        f.debug_struct("Secret")
            .field("name", &format_args!("{namespace}/{name}"))
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

/// Reads text as it is, not as base64.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Data, D::Error> {
    let texts = Option::<BTreeMap<String, String>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(texts.into_iter().map(|(key, text)| (key, Hidden::from(text.into_bytes()))).collect())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use serde_json::{Value, json};

    use super::*;

    fn secret(json: &Value) -> Secret {
        let mut whole = json!({"metadata": {"name": "db", "namespace": "default"}});
        for (name, value) in json.as_object().expect("fields") {
            whole[name] = value.clone();
        }
        let mut secret: Secret = serde_json::from_value(whole).expect("a Secret");
        secret.default_fields();
        secret
    }

    fn found(secret: &Secret, old: Option<&Secret>) -> Vec<String> {
        let mut errors = Errors::default();
        secret.validate(old, &mut errors);
        errors.0.iter().map(|error| error.field.clone()).collect()
    }

    #[test]
    fn text_becomes_data_and_is_not_shown_again() {
        let secret = secret(&json!({
            "data": {"a": "b2xk", "b": "a2VwdA=="},
            "stringData": {"a": "new"},
        }));
        let shown = serde_json::to_value(&secret).expect("JSON");
        assert_eq!(shown["data"], json!({"a": "bmV3", "b": "a2VwdA=="}));
        assert_eq!(shown["type"], "Opaque");
        assert_eq!(shown.get("stringData"), None);
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let annotations = json!({"last": "hunter2"});
        let secret = secret(&json!({
            "metadata": {"name": "db", "annotations": annotations},
            "stringData": {"password": "hunter2"},
        }));
        let printed = format!("{secret:?} {:?}", crate::api::Object::Secret(secret.clone()));
        assert!(printed.contains("password"), "{printed}");
        assert!(!printed.contains("hunter2") && !printed.contains("aHVudGVyMg"), "{printed}");
    }

    #[test]
    fn each_type_has_the_keys_that_kubernetes_asks_for() {
        let cases = [
            ("Opaque", json!({}), "{}", ""),
            ("example.com/own", json!({}), "{}", ""),
            (
                "kubernetes.io/tls",
                json!({"tls.crt": "", "tls.key": ""}),
                "{}",
                "data[tls.crt] data[tls.key]",
            ),
            (
                "kubernetes.io/dockerconfigjson",
                json!({".dockerconfigjson": "{}"}),
                "no JSON",
                "data[.dockerconfigjson]",
            ),
            ("kubernetes.io/dockercfg", json!({".dockercfg": "{}"}), "no JSON", "data[.dockercfg]"),
            ("kubernetes.io/basic-auth", json!({"password": "x"}), "{}", "data[username]"),
            (
                "kubernetes.io/ssh-auth",
                json!({"ssh-privatekey": "x"}),
                "{}",
                "data[ssh-privatekey]",
            ),
        ];
        for (kind, good, bad, expected) in cases {
            let good = secret(&json!({"type": kind, "stringData": good}));
            assert_eq!(found(&good, None), Vec::<String>::new(), "{kind}");
            let key = good.data.keys().next().cloned().unwrap_or_default();
            let bad = match bad {
                "{}" => secret(&json!({"type": kind})),
                text => secret(&json!({"type": kind, "stringData": {key: text}})),
            };
            assert_eq!(found(&bad, None).join(" "), expected, "{kind}");
        }
        let kind = "kubernetes.io/service-account-token";
        let place = format!("metadata.annotations[{SERVICE_ACCOUNT}]");
        assert_eq!(found(&secret(&json!({"type": kind})), None), [place]);
        let annotations = json!({SERVICE_ACCOUNT: "ci"});
        let meta = json!({"name": "ci", "annotations": annotations});
        assert!(found(&secret(&json!({"type": kind, "metadata": meta})), None).is_empty());
    }

    #[test]
    fn keys_and_size_are_bounded() {
        let long = "x".repeat(254);
        for key in ["", ".", "..", "..a", "a/b", "a b", long.as_str()] {
            assert_eq!(found(&secret(&json!({"stringData": {key: "x"}})), None), ["data"], "{key}");
        }
        let big = "x".repeat(MAX_BYTES);
        assert!(found(&secret(&json!({"stringData": {"a": big}})), None).is_empty());
        assert_eq!(found(&secret(&json!({"stringData": {"a": big, "b": "x"}})), None), ["data"]);
    }

    #[test]
    fn the_type_stays_and_so_does_what_is_immutable() {
        let of = |kind: &str, text: &str, immutable: Option<bool>| {
            secret(&json!({"type": kind, "stringData": {"a": text}, "immutable": immutable}))
        };
        let old = of("Opaque", "1", None);
        assert_eq!(found(&of("example.com/own", "1", None), Some(&old)), ["type"]);
        assert!(found(&of("Opaque", "2", Some(true)), Some(&old)).is_empty());
        let fixed = of("Opaque", "1", Some(true));
        assert!(found(&of("Opaque", "1", Some(true)), Some(&fixed)).is_empty());
        assert_eq!(found(&of("Opaque", "2", Some(true)), Some(&fixed)), ["data"]);
        assert_eq!(found(&of("Opaque", "1", Some(false)), Some(&fixed)), ["immutable"]);
        assert_eq!(found(&of("Opaque", "2", None), Some(&fixed)), ["immutable", "data"]);
    }
}
