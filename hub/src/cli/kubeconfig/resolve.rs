//! From a context to what it takes to reach its hub. What can't be honoured is refused by its name: a setting that decides
//! who is believed, or who is asking, is never passed over.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rustls::pki_types::ServerName;
use serde_json::Value;

use super::{Choice, Entry, Group, KubeconfigError, Section, entries::Fields};
use crate::cli::client::{Authorities, Connection, Credentials, KeyedCertificate, Server, Token};

const OF_CONTEXT: [&str; 4] = ["cluster", "user", "namespace", "extensions"];
/// Answers may be compressed or not; either is understood.
const OF_CLUSTER: [&str; 6] = [
    "server",
    "certificate-authority",
    "certificate-authority-data",
    "tls-server-name",
    "disable-compression",
    "extensions",
];
const OF_USER: [&str; 7] = [
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "token",
    "tokenFile",
    "extensions",
];
const CLUSTER_REFUSED: [(&str, &str); 2] = [
    (
        "insecure-skip-tls-verify",
        "a hub that isn't verified could be anybody; remove it, and get the hub's authority with `lichen login HUB`",
    ),
    (
        "proxy-url",
        "proxies are not supported; remove it, and reach the hub directly or through a tunnel",
    ),
];
const CREDENTIALS: &str =
    "is not supported; a hub takes client certificates and tokens: lichen login HUB --token TOKEN";
const IMPERSONATION: &str = "acting as somebody else is not supported; log in as who you are";
const USER_REFUSED: [(&str, &str); 8] = [
    ("exec", CREDENTIALS),
    ("auth-provider", CREDENTIALS),
    ("username", CREDENTIALS),
    ("password", CREDENTIALS),
    ("as", IMPERSONATION),
    ("as-uid", IMPERSONATION),
    ("as-groups", IMPERSONATION),
    ("as-user-extra", IMPERSONATION),
];
/// Fields that name a file whose content may stand in the kubeconfig as well.
const EMBEDDED: [&str; 3] = ["certificate-authority", "client-certificate", "client-key"];

/// What it takes to reach the hub of a context.
///
/// # Errors
/// A field can't be used.
pub fn resolve(
    group: &Group,
    context: &str,
    choice: &Choice,
) -> Result<Connection, KubeconfigError> {
    let Some(entry) = group.entry(Section::Contexts, context) else {
        let (name, names) = (context.to_owned(), Vec::new());
        return Err(KubeconfigError::NoContext { name, names, skipped: Vec::new() });
    };
    let fields = Fields::of(&entry).only(&OF_CONTEXT, &[])?;
    let Some(cluster) = fields.text("cluster")? else {
        return Err(entry.wrong("cluster", "is missing"));
    };
    let Some(cluster) = group.entry(Section::Clusters, cluster) else {
        return Err(entry.wrong("cluster", &format!("there is no cluster {cluster:?}")));
    };
    let user = match fields.text("user")? {
        None => None,
        Some(name) => Some(
            group
                .entry(Section::Users, name)
                .ok_or_else(|| entry.wrong("user", &format!("there is no user {name:?}")))?,
        ),
    };
    let credentials = match (&choice.token, user) {
        (Some(token), _) => Credentials::Token(token.clone()),
        (None, Some(user)) => credentials(&user)?,
        (None, None) => Credentials::Nobody,
    };
    let (server, server_name, authorities) = hub(&cluster, choice)?;
    Ok(Connection {
        server,
        server_name,
        authorities,
        credentials,
        origin: format!("context {context} of {}", entry.path.display()),
        namespace: fields.text("namespace")?.map(str::to_owned),
    })
}

type Hub = (Server, Option<ServerName<'static>>, Authorities);

fn hub(cluster: &Entry<'_>, choice: &Choice) -> Result<Hub, KubeconfigError> {
    let fields = Fields::of(cluster).only(&OF_CLUSTER, &CLUSTER_REFUSED)?;
    let server = match (&choice.server, fields.text("server")?) {
        (Some(server), _) => server.clone(),
        (None, Some(text)) => match text.parse::<Server>() {
            Ok(server) => server,
            Err(error) => return Err(cluster.wrong("server", &error.to_string())),
        },
        (None, None) => return Err(cluster.wrong("server", "is missing; write https://HOST:PORT")),
    };
    let name = match fields.text("tls-server-name")? {
        None => None,
        Some(name) => Some(ServerName::try_from(name.to_owned()).map_err(|_| {
            cluster.wrong("tls-server-name", "is neither a DNS name nor an IP address")
        })?),
    };
    let authority = "certificate-authority";
    let Some(pem) = fields.bytes(authority)? else {
        let cause = format!(
            "is missing, and a hub is believed for its own authority alone: lichen login {}",
            server.authority()
        );
        return Err(cluster.wrong("certificate-authority-data", &cause));
    };
    let authorities = Authorities::read(&pem);
    let authorities =
        authorities.map_err(|cause| cluster.wrong(&fields.said(authority), &cause))?;
    Ok((server, name, authorities))
}

/// As kubectl takes them: a token file before a token, and a certificate before both.
fn credentials(user: &Entry<'_>) -> Result<Credentials, KubeconfigError> {
    let fields = Fields::of(user).only(&OF_USER, &USER_REFUSED)?;
    let (certificate, key) = ("client-certificate", "client-key");
    match (fields.bytes(certificate)?, fields.bytes(key)?) {
        (Some(chain), Some(pem)) => {
            let read = KeyedCertificate::read(&chain, &pem);
            return read.map(Credentials::Certificate).map_err(|(of_key, cause)| {
                let field = fields.said(if of_key { key } else { certificate });
                user.wrong(&field, &cause)
            });
        }
        (Some(_), None) => return Err(user.wrong("client-key-data", "is missing")),
        (None, Some(_)) => return Err(user.wrong("client-certificate-data", "is missing")),
        (None, None) => {}
    }
    let token = match fields.file("tokenFile")? {
        Some(bytes) => Some(("tokenFile", String::from_utf8_lossy(&bytes).into_owned())),
        None => fields.text("token")?.map(|token| ("token", token.to_owned())),
    };
    match token {
        None => Ok(Credentials::Nobody),
        Some((field, text)) => match text.parse::<Token>() {
            Ok(token) => Ok(Credentials::Token(token)),
            Err(cause) => Err(user.wrong(field, &cause)),
        },
    }
}

/// The server of a cluster's entry, if it is a hub's.
#[must_use]
pub fn entry_server(cluster: &Value) -> Option<Server> {
    cluster["server"].as_str()?.parse().ok()
}

/// What an entry holds, for another file: paths as seen from anywhere, and with `embed` the content in place of paths.
///
/// # Errors
/// A file that it names can't be read.
pub fn portable(entry: &Entry<'_>, embed: bool) -> Result<Value, KubeconfigError> {
    let mut value = entry.value.clone();
    let Some(fields) = value.as_object_mut() else { return Ok(value) };
    let base = entry.path.parent().unwrap_or(Path::new("."));
    let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
    for name in EMBEDDED.into_iter().chain(["tokenFile"]) {
        let path = fields.get(name).and_then(Value::as_str).filter(|path| !path.is_empty());
        let Some(path) = path.map(|path| base.join(path)) else { continue };
        if !embed || name == "tokenFile" {
            fields.insert(name.to_owned(), path.display().to_string().into());
            continue;
        }
        fields.remove(name);
        if let Some(bytes) = Fields::of(entry).bytes(name)? {
            fields.insert(format!("{name}-data"), BASE64.encode(bytes).into());
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::cli::kubeconfig::{
        Document, Found, Place, Source,
        show::{Form, view},
    };

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            "(a|https://a|b:1|Y2E=|\\PC{0,4})".prop_map(Value::from),
        ];
        let names: Vec<&str> = OF_CONTEXT
            .iter()
            .chain(&OF_CLUSTER)
            .chain(&OF_USER)
            .copied()
            .chain(["exec", "x"])
            .collect();
        leaf.prop_recursive(3, 12, 3, move |inner| {
            let field = (proptest::sample::select(names.clone()), inner.clone());
            prop_oneof![
                proptest::collection::vec(inner, 0..3).prop_map(Value::from),
                proptest::collection::vec(field, 0..4).prop_map(|fields| {
                    fields
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect::<Value>()
                }),
            ]
        })
    }

    fn any_list(one: &'static str) -> impl Strategy<Value = Value> {
        let entry =
            ("[ab]", any_value()).prop_map(move |(name, value)| json!({"name": name, one: value}));
        let list = proptest::collection::vec(entry, 0..3).prop_map(Value::from);
        prop_oneof![4 => list, 1 => any_value()]
    }

    proptest! {
        #[test]
        fn no_kubeconfig_panics(
            clusters in any_list("cluster"),
            users in any_list("user"),
            contexts in any_list("context"),
            current in prop_oneof![Just(json!("a")), any_value()],
        ) {
            let text = json!({"clusters": clusters, "users": users, "contexts": contexts, "current-context": current});
            let path = PathBuf::from("/nowhere/kubeconfig");
            if let Ok(document) = Document::parse(&text.to_string(), &path) {
                let sources = vec![Source { path, document: document.clone() }];
                let group = Group { place: Place::Kubernetes, sources };
                for (name, _) in document.entries(Section::Contexts) {
                    let _ = resolve(&group, name, &Choice::default());
                }
                let found = Found { groups: vec![group], skipped: Vec::new() };
                let _ = view(&found, None, Form { raw: false, minify: true, flatten: true });
                let _ = view(&found, None, Form::default());
            }
        }
    }
}
