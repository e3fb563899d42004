//! `lichen delete`: deletes objects, and waits until the devices have let go of their Pods.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lichen_hub_core::{
    api::{Key, Kind},
    effect::Action,
};
use serde_json::Value;
use ureq::http::Method;

use super::{
    Context,
    args::DeleteArgs,
    client::{ClientError, News, path_of},
    error::CliError,
    files,
    kinds::{self, DEFAULT_NAMESPACE},
    ui::Tone,
};

/// After so long it is said what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(3);

/// Runs the command.
///
/// # Errors
/// What can't be deleted, or is not gone in time.
pub fn run(context: &mut Context, args: &DeleteArgs) -> Result<(), CliError> {
    let namespace = args.namespace.namespace.as_deref();
    let keys: Vec<Key> = if args.files.files.is_empty() {
        kinds::objects(&args.words, namespace.unwrap_or(DEFAULT_NAMESPACE), "delete")?
    } else {
        let mut manifests = files::read_all(&args.files, namespace)?;
        files::sort(&mut manifests);
        // What depends goes first.
        manifests.iter().rev().map(crate::manifest::Manifest::key).collect()
    };
    let mut pods = Pods::default();
    let mut failed = Vec::new();
    for key in &keys {
        let before = if args.wait { pods_of(context, key)? } else { BTreeSet::new() };
        match context.client.call(Method::DELETE, &path_of(key), None) {
            Ok(_) => {
                pods.add(key, before);
                let deleted = context.ui.tinted("deleted", Tone::Warn);
                context.ui.line(&format!("{} {deleted}", kinds::label(key)))?;
            }
            Err(error) if error.is_not_found() && args.ignore_not_found => {}
            Err(error) if error.is_not_found() => failed.push(kinds::not_found(key)),
            Err(ClientError::Refused(refused)) => {
                let cause = format!("could not delete {}: {refused}", kinds::label(key));
                failed.push(CliError::Failed(cause));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !pods.uids.is_empty() {
        let patience = (args.timeout > 0).then(|| Duration::from_secs(args.timeout));
        wait(context, pods, patience)?;
    }
    let Some(last) = failed.pop() else { return Ok(()) };
    for error in failed {
        error.print(&mut context.ui);
    }
    Err(last)
}

/// Pods that are to go.
#[derive(Default)]
struct Pods {
    uids: BTreeSet<String>,
    /// All of one namespace; everywhere if there are several.
    namespace: Option<Option<String>>,
}

impl Pods {
    fn add(&mut self, key: &Key, uids: BTreeSet<String>) {
        if uids.is_empty() {
            return;
        }
        self.uids.extend(uids);
        let own =
            if key.kind == Kind::Namespace { key.name.clone() } else { key.namespace.clone() };
        self.namespace = Some(match self.namespace.take() {
            None => Some(own).filter(|own| !own.is_empty()),
            Some(known) => known.filter(|known| *known == own),
        });
    }
}

/// Uids of the Pods that go with an object.
fn pods_of(context: &Context, key: &Key) -> Result<BTreeSet<String>, CliError> {
    let namespace = match key.kind {
        Kind::Namespace => key.name.as_str(),
        Kind::Deployment | Kind::DaemonSet | Kind::Pod => key.namespace.as_str(),
        Kind::ConfigMap | Kind::Node | Kind::Event => return Ok(BTreeSet::new()),
    };
    let belongs = |pod: &Value| match key.kind {
        Kind::Namespace => true,
        Kind::Pod => pod["metadata"]["name"] == key.name.as_str(),
        _ => owned_by(pod, key),
    };
    let pods = context.client.list(Kind::Pod, Some(namespace), None)?.items;
    Ok(pods.iter().filter(|pod| belongs(pod)).filter_map(uid).collect())
}

/// Whether a Pod belongs to a workload.
pub(super) fn owned_by(pod: &Value, key: &Key) -> bool {
    let owners = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let is_owner =
        |owner: &Value| owner["kind"] == key.kind.as_str() && owner["name"] == key.name.as_str();
    pod["metadata"]["namespace"] == key.namespace.as_str() && owners.into_iter().any(is_owner)
}

fn uid(pod: &Value) -> Option<String> {
    pod["metadata"]["uid"].as_str().map(str::to_owned)
}

/// Follows the Pods until all are gone.
fn wait(context: &mut Context, pods: Pods, patience: Option<Duration>) -> Result<(), CliError> {
    let Context { client, ui } = context;
    let Pods { mut uids, namespace } = pods;
    let namespace = namespace.flatten();
    let begun = Instant::now();
    let mut said = false;
    // Twice: once until it should be said what is waited for, once until the end.
    let steps = [Some(SAY_AFTER.min(patience.unwrap_or(SAY_AFTER))), patience];
    for step in steps {
        let left = step.map(|step| step.saturating_sub(begun.elapsed()));
        let mut follow = client.follow(Kind::Pod, namespace.as_deref(), None, left);
        let mut places = BTreeSet::new();
        while let Some(news) = follow.next_news()? {
            match news {
                News::All(pods) => {
                    let here: BTreeSet<String> = pods.iter().filter_map(uid).collect();
                    uids.retain(|uid| here.contains(uid));
                    let ours =
                        pods.iter().filter(|pod| uid(pod).is_some_and(|uid| uids.contains(&uid)));
                    places = ours
                        .map(|pod| {
                            pod["spec"]["nodeName"].as_str().unwrap_or("no device").to_owned()
                        })
                        .collect();
                }
                News::Changed(Action::Deleted, pod) => {
                    uid(&pod).map(|uid| uids.remove(&uid));
                }
                News::Changed(..) => {}
            }
            if uids.is_empty() {
                return Ok(());
            }
            if !said && begun.elapsed() >= SAY_AFTER {
                said = true;
                ui.note(&format!(
                    "waiting for {} pods to end on {}; Ctrl-C stops the waiting, not the deletion",
                    uids.len(),
                    places.iter().cloned().collect::<Vec<_>>().join(", ")
                ));
            }
        }
    }
    Err(CliError::Failed(format!(
        "{} pods are not gone yet; they go when their devices have been told (see lichen get pods)",
        uids.len()
    )))
}
