//! One kubeconfig as it stands: lists of named clusters, users and contexts. What is not known here, and every entry that is
//! not asked for, is kept.

use std::{fmt, path::Path};

use serde_json::{Map, Value, json};

use super::KubeconfigError;
use crate::{cli::yaml::to_yaml, manifest};

/// What says, in a cluster's entry, that the cluster is a hub of Lichen.
const MARK: &str = "lichen.dev/hub";
/// Most entries of a list.
const MAX_ENTRIES: usize = 4096;
/// The current context's field.
const CURRENT: &str = "current-context";

/// The lists of a kubeconfig.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Where hubs are, and whom to believe.
    Clusters,
    /// Who is asking.
    Users,
    /// Who is asking which hub.
    Contexts,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Clusters, Self::Contexts, Self::Users];

    /// The list's name.
    #[must_use]
    pub fn list(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Users => "users",
            Self::Contexts => "contexts",
        }
    }

    /// The name of what an entry holds.
    #[must_use]
    pub fn one(self) -> &'static str {
        match self {
            Self::Clusters => "cluster",
            Self::Users => "user",
            Self::Contexts => "context",
        }
    }
}

/// One kubeconfig.
#[derive(Clone, Default, PartialEq)]
pub struct Document(Map<String, Value>);

impl Document {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let fields = [
            ("apiVersion", json!("v1")),
            ("kind", json!("Config")),
            ("preferences", json!({})),
            (CURRENT, json!("")),
        ];
        let lists = Section::ALL.map(|section| (section.list(), json!([])));
        let all = fields.into_iter().chain(lists);
        Self(all.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Reads one; `path` is for messages.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str, path: &Path) -> Result<Self, KubeconfigError> {
        let shape = |cause: &str| KubeconfigError::shape(path, cause);
        if text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#')) {
            return Ok(Self::new());
        }
        let value = manifest::value(text).map_err(|cause| {
            // A value stands in quotes there, and it may be a key.
            let told = cause.split('"').next().unwrap_or_default();
            KubeconfigError::shape(path, told)
        })?;
        let Value::Object(fields) = value else { return Err(shape("it is no map")) };
        let is = |name: &str, wanted: &str| fields.get(name).is_none_or(|value| value == wanted);
        if !is("apiVersion", "v1") || !is("kind", "Config") {
            return Err(shape("it has not apiVersion: v1 and kind: Config"));
        }
        let document = Self(fields);
        for section in Section::ALL {
            document.check(section, path)?;
        }
        match document.0.get(CURRENT) {
            None | Some(Value::Null | Value::String(_)) => Ok(document),
            Some(_) => Err(shape("current-context is no text")),
        }
    }

    fn check(&self, section: Section, path: &Path) -> Result<(), KubeconfigError> {
        let (list, one) = (section.list(), section.one());
        let entries = match self.0.get(list) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(KubeconfigError::shape(path, format!("{list} is no list"))),
        };
        if entries.len() > MAX_ENTRIES {
            let cause = format!("{list} has more than {MAX_ENTRIES} entries");
            return Err(KubeconfigError::shape(path, cause));
        }
        let mut names = std::collections::BTreeSet::new();
        for entry in entries {
            let Some(name) = entry["name"].as_str() else {
                let cause = format!("an entry of {list} has no name");
                return Err(KubeconfigError::shape(path, cause));
            };
            // It is shown, and nothing shown may drive a terminal.
            if name.chars().any(char::is_control) {
                let cause = format!("an entry of {list} has control characters in its name");
                return Err(KubeconfigError::shape(path, cause));
            }
            if !entry[one].is_object() && !entry[one].is_null() {
                return Err(KubeconfigError::shape(
                    path,
                    format!("{list}[{name}].{one} is no map"),
                ));
            }
            if !names.insert(name) {
                let cause = format!("{list} has two entries named {name}");
                return Err(KubeconfigError::shape(path, cause));
            }
        }
        Ok(())
    }

    /// What an entry holds.
    #[must_use]
    pub fn get(&self, section: Section, name: &str) -> Option<&Value> {
        self.entries(section).find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// The entries of a list, in their order.
    pub fn entries(&self, section: Section) -> impl Iterator<Item = (&str, &Value)> {
        let list = self.0.get(section.list()).and_then(Value::as_array);
        let entries = list.map(Vec::as_slice).unwrap_or_default().iter();
        entries
            .map(move |entry| (entry["name"].as_str().unwrap_or_default(), &entry[section.one()]))
    }

    /// Puts an entry in the place of the one of that name, or behind the others.
    pub fn set(&mut self, section: Section, name: &str, value: Value) {
        let entry = json!({"name": name, section.one(): value});
        let list = self.0.entry(section.list()).or_insert_with(|| json!([]));
        if !list.is_array() {
            *list = json!([]);
        }
        let Value::Array(entries) = list else { return };
        match entries.iter_mut().find(|entry| entry["name"] == name) {
            Some(old) => *old = entry,
            None => entries.push(entry),
        }
    }

    /// Takes an entry out. True if it was there.
    pub fn remove(&mut self, section: Section, name: &str) -> bool {
        let Some(Value::Array(entries)) = self.0.get_mut(section.list()) else { return false };
        let before = entries.len();
        entries.retain(|entry| entry["name"] != name);
        entries.len() < before
    }

    /// The current context, if one is set.
    #[must_use]
    pub fn current(&self) -> Option<&str> {
        self.0.get(CURRENT).and_then(Value::as_str).filter(|name| !name.is_empty())
    }

    /// Sets the current context; empty for none.
    pub fn set_current(&mut self, name: &str) {
        self.0.insert(CURRENT.to_owned(), name.into());
    }

    /// Everything, as JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// Everything, as a file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        to_yaml(&self.to_value())
    }
}

impl fmt::Debug for Document {
    /// Names only: there are keys in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.entries(Section::Contexts).map(|(name, _)| name).collect();
        f.debug_tuple("Document").field(&names).finish()
    }
}

/// Marks a cluster's entry as a hub of Lichen. kubectl keeps it.
pub fn mark(cluster: &mut Map<String, Value>) {
    let mark = json!([{"name": MARK, "extension": {"provider": "lichen.dev"}}]);
    cluster.insert("extensions".to_owned(), mark);
}

/// Whether a cluster's entry is marked.
pub(super) fn is_marked(cluster: &Value) -> bool {
    cluster["extensions"].as_array().into_iter().flatten().any(|mark| mark["name"] == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document, String> {
        Document::parse(text, Path::new("f")).map_err(|error| error.to_string())
    }

    const SHARED: &str = "
apiVersion: v1
kind: Config
preferences: {colors: true}
future: {a: [1, two]}
clusters:
- name: prod
  cluster: {server: 'https://prod', proxy-url: 'socks5://x', later: 1}
  note: kept
users:
- name: me
  user: {exec: {command: aws}}
contexts: null
";

    #[test]
    fn what_is_not_asked_for_is_kept() {
        let mut document = parse(SHARED).expect("a kubeconfig");
        document.set(Section::Clusters, "hub", json!({"server": "https://hub"}));
        document.set(Section::Contexts, "hub", json!({"cluster": "hub"}));
        document.set(Section::Clusters, "hub", json!({"server": "https://hub:1"}));
        document.set_current("hub");
        let again = parse(&document.to_text()).expect("a kubeconfig");
        assert_eq!(again, document);
        let value = again.to_value();
        assert_eq!(value["future"], json!({"a": [1, "two"]}));
        assert_eq!(value["clusters"][0]["note"], "kept");
        assert_eq!(value["clusters"][0]["cluster"]["later"], 1);
        assert_eq!(
            value["clusters"][1],
            json!({"name": "hub", "cluster": {"server": "https://hub:1"}})
        );
        assert_eq!(value["users"][0]["user"]["exec"]["command"], "aws");
        assert_eq!(
            (again.current(), value["clusters"].as_array().map(Vec::len)),
            (Some("hub"), Some(2))
        );
        assert!(
            document.remove(Section::Clusters, "hub") && !document.remove(Section::Users, "hub")
        );
        assert_eq!(document.get(Section::Clusters, "hub"), None);
    }

    #[test]
    fn what_is_no_kubeconfig_is_told_with_its_place_and_without_its_content() {
        for (text, cause) in [
            ("- geheim", "f is no kubeconfig: it is no map"),
            ("kind: Secret", "it has not apiVersion: v1 and kind: Config"),
            ("apiVersion: v2", "it has not apiVersion: v1"),
            ("users: geheim", "users is no list"),
            ("users: [geheim]", "an entry of users has no name"),
            ("users: [{name: 7}]", "an entry of users has no name"),
            (
                "users: [{name: \"a\\e[31m\"}]",
                "an entry of users has control characters in its name",
            ),
            ("users: [{name: a, user: geheim}]", "users[a].user is no map"),
            ("users: [{name: a}, {name: a}]", "users has two entries named a"),
            ("current-context: [geheim]", "current-context is no text"),
            ("a: [", "line 2, column 1"),
            ("a: !!int geheim", "line 1, column 4"),
        ] {
            let said = parse(text).expect_err(text);
            assert!(said.contains(cause) && !said.contains("geheim"), "{text}: {said}");
        }
        assert_eq!(parse("# nothing\n\n"), Ok(Document::new()));
        assert!(parse("users: [{name: a}]").is_ok());
    }

    #[test]
    fn nothing_of_a_kubeconfig_is_shown_by_accident() {
        let document = parse("users: [{name: a, user: {token: geheim}}]").expect("a kubeconfig");
        assert_eq!(format!("{document:?}"), "Document([])");
    }

    #[test]
    fn a_hub_is_told_from_any_other_cluster() {
        let mut cluster = Map::new();
        assert!(!is_marked(&json!({})) && !is_marked(&json!({"extensions": [{"name": "x"}]})));
        mark(&mut cluster);
        assert!(is_marked(&Value::Object(cluster)));
    }
}
