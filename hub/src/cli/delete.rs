//! `lichen delete`: deletes objects, and waits until the devices have let go of their Pods.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;
use ureq::http::Method;

use super::{
    Context,
    args::DeleteArgs,
    client::{ClientError, Form, Item, News, Selectors},
    discovery::ObjectRef,
    error::CliError,
    files,
    ui::Tone,
    workload,
};

/// After so long it is said what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(3);

/// Runs the command.
///
/// # Errors
/// What can't be deleted, or is not gone in time.
pub fn run(context: &mut Context, args: &DeleteArgs) -> Result<(), CliError> {
    let usual = context.namespace(&args.namespace);
    let objects: Vec<ObjectRef> = if args.files.files.is_empty() {
        context.objects(&args.words, &usual, "delete")?
    } else {
        let mut manifests = files::read_all(&args.files, &args.namespace, &usual)?;
        files::sort(&mut manifests);
        // What depends goes first.
        manifests.iter().rev().map(|manifest| ObjectRef::known(&manifest.key())).collect()
    };
    let mut pods = Pods::default();
    let mut failed = Vec::new();
    for object in &objects {
        let before = if args.wait { pods_of(context, object)? } else { BTreeSet::new() };
        match context.client.call(Method::DELETE, &object.path(), None) {
            Ok(_) => {
                pods.add(object, before);
                let deleted = context.ui.tinted("deleted", Tone::Warn);
                context.ui.line(&format!("{} {deleted}", object.label()))?;
            }
            Err(error) if error.is_not_found() && args.ignore_not_found => {}
            Err(error) if error.is_not_found() => failed.push(object.not_found()),
            Err(ClientError::Refused(refused)) => {
                let cause = format!("could not delete {}: {refused}", object.label());
                failed.push(CliError::Failed(cause));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !pods.uids.is_empty() {
        let patience = (!args.timeout.is_zero()).then_some(args.timeout);
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
    fn add(&mut self, object: &ObjectRef, uids: BTreeSet<String>) {
        if uids.is_empty() {
            return;
        }
        self.uids.extend(uids);
        let own = if is_namespace(object) { &object.name } else { &object.namespace }.clone();
        self.namespace = Some(match self.namespace.take() {
            None => Some(own).filter(|own| !own.is_empty()),
            Some(known) => known.filter(|known| *known == own),
        });
    }
}

fn is_namespace(object: &ObjectRef) -> bool {
    object.resource.kind == "Namespace"
}

/// Uids of the Pods that go with an object: itself, those of a namespace, or those of a workload.
fn pods_of(context: &Context, object: &ObjectRef) -> Result<BTreeSet<String>, CliError> {
    let found = match object.resource.kind.as_str() {
        "Namespace" => {
            let pods = context.discovery()?.find("pods")?;
            let namespace = Some(object.name.as_str());
            let listing =
                context.client.list(&pods, namespace, &Selectors::default(), Form::Objects)?;
            listing.items.into_iter().map(|item| item.object).collect()
        }
        "Pod" => context.client.read(object)?.into_iter().collect(),
        // Whatever has a template has Pods.
        _ => match context.client.read(object)? {
            Some(value) if value["spec"]["template"].is_object() => {
                workload::pods_of(context, object)?
            }
            _ => Vec::new(),
        },
    };
    Ok(found.iter().filter_map(uid).collect())
}

fn uid(pod: &Value) -> Option<String> {
    pod["metadata"]["uid"].as_str().map(str::to_owned)
}

fn item_uid(pod: &Item) -> Option<String> {
    uid(&pod.object)
}

/// Follows the Pods until all are gone.
fn wait(context: &mut Context, pods: Pods, patience: Option<Duration>) -> Result<(), CliError> {
    let resource = context.discovery()?.find("pods")?;
    let Context { client, ui, .. } = context;
    let Pods { mut uids, namespace } = pods;
    let namespace = namespace.flatten();
    let begun = Instant::now();
    let mut said = false;
    // Twice: once until it should be said what is waited for, once until the end.
    let steps = [Some(SAY_AFTER.min(patience.unwrap_or(SAY_AFTER))), patience];
    for step in steps {
        let left = step.map(|step| step.saturating_sub(begun.elapsed()));
        let mut follow = client.follow(
            &resource,
            namespace.as_deref(),
            Selectors::default(),
            Form::Objects,
            left,
        );
        let mut places = BTreeSet::new();
        while let Some(news) = follow.next_news()? {
            match news {
                News::All(pods) => {
                    let here: BTreeSet<String> = pods.iter().filter_map(item_uid).collect();
                    uids.retain(|uid| here.contains(uid));
                    let is_ours =
                        |pod: &&Item| item_uid(pod).is_some_and(|uid| uids.contains(&uid));
                    let place = |pod: &Item| {
                        pod.object["spec"]["nodeName"].as_str().unwrap_or("no device").to_owned()
                    };
                    places = pods.iter().filter(is_ours).map(place).collect();
                }
                News::Deleted(pod) => {
                    item_uid(&pod).map(|uid| uids.remove(&uid));
                }
                News::Changed(_) => {}
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
