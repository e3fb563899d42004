//! A new context with its hub and its user, which all have one name; and how it gets among those that are there.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, json};

use crate::cli::{
    client::{Introduction, Server, Token},
    kubeconfig::{Document, KubeconfigError, Section, mark},
};

/// Characters in a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;

/// A context that is to be.
pub(super) struct NewContext {
    /// Its name.
    pub(super) name: String,
    /// Where its objects are.
    pub(super) namespace: Option<String>,
    cluster: Value,
    user: Value,
}

impl NewContext {
    pub(super) fn new(
        name: String,
        cluster: Value,
        user: Value,
        namespace: Option<String>,
    ) -> Self {
        let mut cluster = match cluster {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        mark(&mut cluster);
        Self { name, cluster: cluster.into(), user, namespace }
    }

    pub(super) fn of_hub(
        name: String,
        server: &Server,
        introduction: &Introduction,
        token: &Token,
    ) -> Self {
        let authority = pem("CERTIFICATE", &introduction.authority);
        let mut cluster = json!({
            "server": server.to_string(),
            "certificate-authority-data": BASE64.encode(authority),
        });
        if let Some(name) = introduction.server_name {
            cluster["tls-server-name"] = name.into();
        }
        Self::new(name, cluster, json!({"token": token.secret()}), None)
    }

    /// Puts it into a kubeconfig, as the current context. A namespace that was chosen before stays.
    pub(super) fn put_into(
        &self,
        document: &mut Document,
        path: &Path,
    ) -> Result<(), KubeconfigError> {
        let Self { name, cluster, user, namespace } = self;
        if let Some(section) = self.taken(document) {
            let field = format!("{}[{name}]", section.list());
            let cause = format!(
                "is there already, for something else; name the new context with --context NAME, or remove the old one: \
                 lichen config delete-context {name}"
            );
            return Err(KubeconfigError::Field { path: path.to_owned(), field, cause });
        }
        let mut context = json!({"cluster": name, "user": name});
        let old = document.get(Section::Contexts, name).map(|old| old["namespace"].clone());
        match (namespace, old) {
            (Some(namespace), _) => context["namespace"] = namespace.as_str().into(),
            (None, Some(old)) if old.is_string() => context["namespace"] = old,
            (None, _) => {}
        }
        document.set(Section::Clusters, name, cluster.clone());
        document.set(Section::Users, name, user.clone());
        document.set(Section::Contexts, name, context);
        document.set_current(name);
        Ok(())
    }

    /// What has the name already, and is not the same hub's.
    fn taken(&self, document: &Document) -> Option<Section> {
        let name = self.name.as_str();
        let old = |section| document.get(section, name);
        let Some(context) = old(Section::Contexts) else {
            return [Section::Clusters, Section::Users]
                .into_iter()
                .find(|section| old(*section).is_some());
        };
        let is_ours = context["cluster"] == name && context["user"] == name;
        let server = old(Section::Clusters).map(|cluster| &cluster["server"]);
        let is_same = server == Some(&self.cluster["server"]);
        (!is_ours || !is_same).then_some(Section::Contexts)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let base64 = BASE64.encode(der);
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(PEM_LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, server: &str, namespace: Option<&str>) -> NewContext {
        let cluster = json!({"server": server});
        NewContext::new(
            name.to_owned(),
            cluster,
            json!({"token": "t"}),
            namespace.map(str::to_owned),
        )
    }

    fn put(document: &mut Document, new: &NewContext) -> Result<(), String> {
        new.put_into(document, Path::new("f")).map_err(|error| error.to_string())
    }

    #[test]
    fn logging_in_again_replaces_and_keeps_the_namespace() {
        let mut document = Document::new();
        put(&mut document, &new("a", "https://a", Some("shop"))).expect("put");
        put(&mut document, &new("b", "https://b", None)).expect("put");
        put(&mut document, &new("a", "https://a", None)).expect("put");
        assert_eq!(document.current(), Some("a"));
        let context = document.get(Section::Contexts, "a").expect("there");
        assert_eq!(*context, json!({"cluster": "a", "user": "a", "namespace": "shop"}));
        assert_eq!(document.entries(Section::Contexts).count(), 2);
    }

    #[test]
    fn what_belongs_to_something_else_is_not_overwritten() {
        let mut document = Document::new();
        put(&mut document, &new("a", "https://a", None)).expect("put");
        document.set(Section::Users, "mine", json!({"token": "other"}));
        document.set(Section::Contexts, "odd", json!({"cluster": "a", "user": "mine"}));
        let before = document.clone();
        for (name, what) in
            [("a", "contexts[a]"), ("mine", "users[mine]"), ("odd", "contexts[odd]")]
        {
            let said = put(&mut document, &new(name, "https://other", None)).expect_err(name);
            assert!(said.starts_with(&format!("f: {what}: is there already")), "{said}");
            assert!(said.contains("--context NAME"), "{said}");
        }
        assert_eq!(document, before);
    }

    #[test]
    fn pem_is_broken_into_lines() {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        for length in [0, 1, 47, 48, 49, 500] {
            let der = vec![7; length];
            let text = pem("CERTIFICATE", &der);
            assert!(text.lines().all(|line| line.len() <= PEM_LINE));
            let read = CertificateDer::from_pem_slice(text.as_bytes()).expect("PEM");
            assert_eq!(read.as_ref(), der.as_slice());
        }
    }
}
