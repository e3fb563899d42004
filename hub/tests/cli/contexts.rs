//! `lichen config`, in kubectl's own words, over the kubeconfigs of several places.

use std::{fs, path::PathBuf};

use lichen_hub::cli::kubeconfig::Places;

use super::support::{Said, lichen};

/// A directory with kubeconfigs.
struct Desk {
    dir: tempfile::TempDir,
    places: Places,
}

const OWN: &str = "
current-context: barn
clusters:
- {name: barn, cluster: {server: 'https://barn', certificate-authority: ca.pem}}
- {name: field, cluster: {server: 'https://field', certificate-authority-data: Y2E=}}
users:
- {name: ann, user: {token: geheim}}
- {name: bob, user: {client-certificate-data: Yg==, client-key-data: Z2VoZWlt, later: {deep: [geheim, 7]}}}
contexts:
- {name: barn, context: {cluster: barn, user: ann, namespace: shop}}
- {name: field, context: {cluster: field, user: ann}}
- {name: bobs, context: {cluster: field, user: bob}}
";
const HUB: &str = "
current-context: lichen
clusters: [{name: lichen, cluster: {server: 'https://127.0.0.1:1', extensions: [{name: lichen.dev/hub}]}}]
users: [{name: admin, user: {client-key-data: Z2VoZWlt}}]
contexts: [{name: lichen, context: {cluster: lichen, user: admin}}]
";

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        for (name, text) in [("own", OWN), ("hub", HUB), ("ca.pem", "CA")] {
            fs::write(path(name), text).expect("written");
        }
        let places =
            Places { own: Some(path("own")), hubs: vec![path("hub")], ..Places::default() };
        Self { places, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, line: &str) -> Said {
        let mut said = lichen(&self.places, &format!("config {line}"));
        let dir = format!("{}/", self.dir.path().display());
        (said.out, said.err) = (said.out.replace(&dir, ""), said.err.replace(&dir, ""));
        said
    }
}

#[test]
fn contexts_of_all_places_are_shown_and_chosen() {
    let desk = Desk::new();
    let expected = "\
CURRENT   NAME     CLUSTER   AUTHINFO   NAMESPACE
*         barn     barn      ann        shop
          field    field     ann
          bobs     field     bob
          lichen   lichen    admin\n";
    assert_eq!(desk.config("get-contexts").well(), expected);
    assert_eq!(desk.config("get-contexts -o name").well(), "barn\nfield\nbobs\nlichen\n");
    let wide = desk.config("get-contexts -o wide --context field").well();
    assert!(
        wide.contains(
            "\n*         field    field     ann                    https://field         own\n"
        ),
        "{wide}"
    );
    assert_eq!(desk.config("current-context").well(), "barn\n");
    assert_eq!(desk.config("use-context bobs").well(), "Switched to context \"bobs\".\n");
    assert_eq!(desk.config("current-context").well(), "bobs\n");
    // The hub's own file is not ours to change.
    desk.config("use-context lichen").well();
    assert_eq!(desk.config("current-context").well(), "lichen\n");
    assert_eq!(fs::read_to_string(desk.path("hub")).expect("there"), HUB);
    let err = desk.config("use-context gone").failed();
    assert_eq!(err, "error: there is no context \"gone\"; there are barn, field, bobs, lichen\n");
    assert_eq!(desk.config("current-context --context field").well(), "field\n");
}

#[test]
fn a_view_hides_secrets_unless_they_are_wanted() {
    let desk = Desk::new();
    let said = desk.config("view");
    assert_eq!(said.err, "from own, hub\n");
    let view = said.well();
    for part in [
        "certificate-authority: ca.pem\n",
        "certificate-authority-data: DATA+OMITTED\n",
        "token: REDACTED\n",
        "client-key-data: DATA+OMITTED\n",
        "      deep:\n      - REDACTED\n      - REDACTED\n",
        "current-context: barn\n",
        "server: https://127.0.0.1:1\n",
    ] {
        assert!(view.contains(part), "{part}: {view}");
    }
    assert!(!view.contains("geheim") && !view.contains("Z2VoZWlt"), "{view}");
    let raw = desk.config("view --raw -o json").well();
    let raw: serde_json::Value = serde_json::from_str(&raw).expect("JSON");
    let users = raw["users"].as_array().expect("users");
    let ann = users.iter().find(|user| user["name"] == "ann").expect("ann");
    assert_eq!(ann["user"]["token"], "geheim");
}

#[test]
fn one_context_alone_fits_any_other_program() {
    let desk = Desk::new();
    let one = desk.config("view --raw --minify --flatten").well();
    let expected = "\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Q0E=
    server: https://barn
  name: barn
contexts:
- context:
    cluster: barn
    namespace: shop
    user: ann
  name: barn
current-context: barn
kind: Config
preferences: {}
users:
- name: ann
  user:
    token: geheim
";
    assert_eq!(one, expected);
    let other = desk.config("view --minify --context lichen").well();
    assert!(other.contains("current-context: lichen\n") && !other.contains("barn"), "{other}");
    let err = desk.config("view --minify --context gone").failed();
    assert!(err.contains("there is no context \"gone\""), "{err}");
}

#[test]
fn a_context_goes_with_what_nothing_else_needs() {
    let desk = Desk::new();
    assert_eq!(desk.config("delete-context bobs").well(), "deleted context bobs from own\n");
    let said = desk.config("delete-context barn");
    assert!(said.err.contains("it was the current one; choose another"), "{said:?}");
    said.well();
    let left = fs::read_to_string(desk.path("own")).expect("there");
    for (part, is_left) in [
        ("name: field", true),
        ("token: geheim", true),
        ("barn", false),
        ("client-key-data", false),
    ] {
        assert_eq!(left.contains(part), is_left, "{part}: {left}");
    }
    // What comes after decides now.
    assert_eq!(desk.config("current-context").well(), "lichen\n");
    let err = desk.config("delete-context lichen").failed();
    assert!(err.contains("is of the hub on this machine, which writes hub itself"), "{err}");
}

#[test]
fn kubectls_own_choice_is_left_alone() {
    let mut desk = Desk::new();
    let kube = OWN.replace(
        "cluster: {server: 'https://field',",
        "cluster: {extensions: [{name: lichen.dev/hub}], server: 'https://field',",
    );
    fs::write(
        desk.path("kube"),
        kube.replace("name: field", "name: far").replace("cluster: field", "cluster: far"),
    )
    .expect("written");
    desk.places.kubernetes = vec![desk.path("kube")];
    // kubectl is at another cluster, which is none of ours: what is ours in its file can be chosen without its notice.
    assert_eq!(desk.config("get-contexts -o name").well(), "far\nbobs\nbarn\nfield\nlichen\n");
    let before = fs::read_to_string(desk.path("kube")).expect("there");
    desk.config("use-context far").well();
    assert_eq!(desk.config("current-context").well(), "far\n");
    assert_eq!(fs::read_to_string(desk.path("kube")).expect("there"), before);
    // When it is at one of ours, that goes before, and is what is changed.
    fs::write(desk.path("kube"), before.replace("current-context: barn", "current-context: bobs"))
        .expect("written");
    let said = desk.config("use-context barn");
    assert!(said.err.contains("kube goes before, and says bobs"), "{said:?}");
    desk.config("use-context far").well();
    assert!(fs::read_to_string(desk.path("kube")).expect("there").contains("current-context: far"));
}

#[test]
fn without_any_it_is_said_how_to_get_one() {
    let nowhere = Places::default();
    let said = lichen(&nowhere, "config get-contexts");
    assert!(
        said.err.contains("no hub is known here") && said.err.contains("lichen login HUB"),
        "{said:?}"
    );
    assert_eq!(said.well(), "");
    assert!(lichen(&nowhere, "config current-context").failed().contains("no hub is known here"));
    assert!(lichen(&nowhere, "config view").well().contains("contexts: []\n"));
}

#[test]
fn objects_are_where_the_context_says() {
    let hub = super::support::Hub::start();
    let admin = fs::read_to_string(hub.kubeconfig()).expect("there");
    let own =
        admin.replace("    user: lichen-admin", "    user: lichen-admin\n    namespace: shop");
    let own = PathBuf::from(hub.file("own", &own));
    let places = Places { own: Some(own), ..Places::default() };
    let file = hub.file("a.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}");
    assert_eq!(
        lichen(&places, &format!("apply -f {file}")).well(),
        "namespace/shop created\nconfigmap/a created\n"
    );
    assert_eq!(lichen(&places, "get cm -o name").well(), "configmap/a\n");
    assert_eq!(hub.lichen("get cm -n shop -o name").well(), "configmap/a\n");
    assert_eq!(lichen(&places, "get cm -n default -o name").well(), "");
    let said = lichen(&places, "get pods");
    assert_eq!(said.err, "no pods in namespace shop (-A looks in all)\n");
    assert_eq!(lichen(&places, "delete cm a").well(), "configmap/a deleted\n");
}
