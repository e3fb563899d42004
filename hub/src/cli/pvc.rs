//! `lichen pvc`: where the data of claims is: the device, the directory there, and the Pods that use it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Context,
    args::PvcArgs,
    client::segment,
    error::CliError,
    table::{Cell, Table},
    ui::Tone,
};

/// Stands for what is not known, or not there.
const NOTHING: &str = "-";

/// Runs the command.
///
/// # Errors
/// The hub can't be reached, or refuses; or there is no such claim.
pub fn run(context: &mut Context, args: &PvcArgs) -> Result<(), CliError> {
    let namespace = context.namespace(&args.namespace);
    let within = |plural: &str| match args.all_namespaces {
        true => format!("/api/v1/{plural}"),
        false => format!("/api/v1/namespaces/{}/{plural}", segment(&namespace)),
    };
    let claims = context.client.get(&within("persistentvolumeclaims"))?;
    let pods = context.client.get(&within("pods"))?;
    // Whoever may only look into a namespace is not told where on the device.
    let volumes = context.client.get("/api/v1/persistentvolumes").unwrap_or_default();
    let paths = paths(&volumes);
    let users = users(&pods);
    let mut table = Table::new(&headings(args.all_namespaces));
    let mut is_empty = true;
    for claim in items(&claims) {
        if args.name.as_deref().is_some_and(|name| name != text(&claim["metadata"]["name"])) {
            continue;
        }
        is_empty = false;
        table.add(row(claim, &paths, &users, args.all_namespaces));
    }
    if is_empty {
        return match &args.name {
            Some(name) => Err(CliError::Failed(format!(
                "there is no claim {name:?} in namespace {namespace}; see all with: lichen pvc -A"
            ))),
            None => {
                context.ui.note("there are no claims here");
                Ok(())
            }
        };
    }
    for line in table.lines(&context.ui) {
        context.ui.line(&line)?;
    }
    Ok(())
}

fn headings(with_namespace: bool) -> Vec<&'static str> {
    let all = ["NAMESPACE", "NAME", "STATUS", "SIZE", "NODE", "PATH", "PODS"];
    all.into_iter().skip(usize::from(!with_namespace)).collect()
}

fn row(
    claim: &Value,
    paths: &BTreeMap<&str, &str>,
    users: &BTreeMap<(&str, &str), Vec<&str>>,
    with_namespace: bool,
) -> Vec<Cell> {
    let meta = &claim["metadata"];
    let (namespace, name) = (text(&meta["namespace"]), text(&meta["name"]));
    let (status, tone) = match text(&claim["status"]["phase"]) {
        _ if !meta["deletionTimestamp"].is_null() => ("Terminating", Tone::Warn),
        "Bound" => ("Bound", Tone::Good),
        other => (other, Tone::Warn),
    };
    let device = text(&meta["annotations"]["volume.kubernetes.io/selected-node"]);
    let path = paths.get(text(&claim["spec"]["volumeName"])).copied().unwrap_or_default();
    let pods = users.get(&(namespace, name)).map(|pods| pods.join(",")).unwrap_or_default();
    let or_nothing = |text: &str| Cell::from(if text.is_empty() { NOTHING } else { text });
    let cells = [
        Cell::from(namespace),
        Cell::from(name),
        Cell::toned(status, tone),
        or_nothing(text(&claim["spec"]["resources"]["requests"]["storage"])),
        or_nothing(device),
        or_nothing(path),
        or_nothing(&pods),
    ];
    cells.into_iter().skip(usize::from(!with_namespace)).collect()
}

/// Directories by the names of volumes.
fn paths(volumes: &Value) -> BTreeMap<&str, &str> {
    items(volumes)
        .map(|volume| (text(&volume["metadata"]["name"]), text(&volume["spec"]["local"]["path"])))
        .collect()
}

/// Pods by namespace and name of the claims that they mount.
fn users(pods: &Value) -> BTreeMap<(&str, &str), Vec<&str>> {
    let mut users: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for pod in items(pods) {
        let meta = &pod["metadata"];
        for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
            if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
                let of = users.entry((text(&meta["namespace"]), claim)).or_default();
                of.push(text(&meta["name"]));
            }
        }
    }
    users
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_shown_with_its_directory_and_its_pods() {
        let claim = json!({"metadata": {"namespace": "shop", "name": "data",
            "annotations": {"volume.kubernetes.io/selected-node": "pi-1"}},
            "spec": {"volumeName": "pvc-1", "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Bound"}});
        let volumes = json!({"items": [{"metadata": {"name": "pvc-1"}, "spec": {"local": {"path": "/c/1"}}}]});
        let pods = json!({"items": [{"metadata": {"namespace": "shop", "name": "web-1"}, "spec": {
            "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}}]});
        let row = row(&claim, &paths(&volumes), &users(&pods), true);
        let wanted = ["shop", "data", "Bound", "1Gi", "pi-1", "/c/1", "web-1"];
        assert_eq!(row[0], Cell::from(wanted[0]));
        assert_eq!(row[2], Cell::toned("Bound", Tone::Good));
        for place in [1, 3, 4, 5, 6] {
            assert_eq!(row[place], Cell::from(wanted[place]));
        }
        let nobody = BTreeMap::new();
        let pending = json!({"metadata": {"name": "a", "deletionTimestamp": "x"}});
        let row = super::row(&pending, &BTreeMap::new(), &nobody, false);
        assert_eq!(row[1], Cell::toned("Terminating", Tone::Warn));
        assert!(row[2..].iter().all(|cell| *cell == Cell::from(NOTHING)));
    }
}
