//! Which logs are meant: containers of Pods, by what the Pods themselves say.

use std::fmt;

use serde_json::Value;

use crate::cli::{
    Context, args::LogsArgs, discovery::ObjectRef, error::CliError, ui::plain, workload,
};

/// Logs that are shown at once.
const MAX_SOURCES: usize = 64;
/// The annotation by which a Pod says whose log is meant if nobody says.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The log of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The Pod.
    pub pod: ObjectRef,
    /// The container.
    pub container: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(&format!("{}/{}", self.pod.label(), self.container)))
    }
}

/// The logs that are asked for.
///
/// # Errors
/// There is no such Pod or container, or the hub can't be reached.
pub fn sources(
    context: &mut Context,
    args: &LogsArgs,
    subject: &ObjectRef,
) -> Result<Vec<Source>, CliError> {
    let pods = pods(context, subject)?;
    let resource = context.discovery()?.find("pods")?;
    let mut sources = Vec::new();
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let object = ObjectRef::new(&resource, &subject.namespace, name);
        let (chosen, note) = choose(pod, args.container.as_deref(), args.all_containers)
            .map_err(|known| no_container(&object, args, &known))?;
        if let Some(note) = note.filter(|_| sources.is_empty()) {
            context.ui.note(&plain(&note));
        }
        let of_pod = |container: String| Source { pod: object.clone(), container };
        sources.extend(chosen.into_iter().map(of_pod));
    }
    if sources.len() > MAX_SOURCES {
        let said = format!("there are {} logs; the first {MAX_SOURCES} are shown", sources.len());
        context.ui.warn(&said);
        sources.truncate(MAX_SOURCES);
    }
    Ok(sources)
}

fn no_container(pod: &ObjectRef, args: &LogsArgs, known: &[String]) -> CliError {
    let wanted = args.container.as_deref().unwrap_or_default();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    CliError::Failed(format!("{} has no container {wanted:?}; it has {known}", pod.label()))
}

/// The Pods, themselves or of a workload.
fn pods(context: &Context, subject: &ObjectRef) -> Result<Vec<Value>, CliError> {
    let object = context.must_read(subject)?;
    if subject.resource.kind == "Pod" {
        return Ok(vec![object]);
    }
    if !object["spec"]["template"].is_object() {
        return Err(CliError::Usage(format!(
            "a {} has no log; name a pod, or a workload as KIND/NAME",
            subject.resource.singular
        )));
    }
    let pods = workload::pods_of(context, subject)?;
    if pods.is_empty() {
        return Err(CliError::Failed(format!(
            "{label} has no pods yet; see why with: lichen explain {label}",
            label = subject.label()
        )));
    }
    Ok(pods)
}

/// Containers by what was said, and what to tell if nothing was.
///
/// # Errors
/// The wanted one is not there; those that are.
fn choose(
    pod: &Value,
    wanted: Option<&str>,
    all: bool,
) -> Result<(Vec<String>, Option<String>), Vec<String>> {
    let init = names(&pod["spec"]["initContainers"]);
    let main = names(&pod["spec"]["containers"]);
    let every: Vec<String> = init.into_iter().chain(main.iter().cloned()).collect();
    if all {
        return Ok((every, None));
    }
    if let Some(wanted) = wanted {
        let known = every.iter().any(|name| name == wanted);
        return if known { Ok((vec![wanted.to_owned()], None)) } else { Err(every) };
    }
    let named = pod["metadata"]["annotations"][DEFAULT_CONTAINER].as_str();
    let named = named.filter(|named| every.iter().any(|name| name == named)).map(str::to_owned);
    let Some(chosen) = named.clone().or_else(|| main.first().cloned()) else { return Err(every) };
    let note = (every.len() > 1 && named.is_none()).then(|| {
        format!(
            "showing container {chosen} of: {}; choose with -c or --all-containers",
            every.join(", ")
        )
    });
    Ok((vec![chosen], note))
}

fn names(containers: &Value) -> Vec<String> {
    let containers = containers.as_array().into_iter().flatten();
    containers.filter_map(|one| one["name"].as_str()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pod: &Value, wanted: Option<&str>, all: bool, expected: &str) {
        let said = match choose(pod, wanted, all) {
            Ok((chosen, None)) => chosen.join(" "),
            Ok((chosen, Some(note))) => format!("{} ({note})", chosen.join(" ")),
            Err(known) => format!("not among {}", known.join(", ")),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn the_container_is_the_one_that_is_meant() {
        let pod = json!({"spec": {"initContainers": [{"name": "setup"}],
            "containers": [{"name": "web"}, {"name": "proxy"}]}});
        check(
            &pod,
            None,
            false,
            "web (showing container web of: setup, web, proxy; choose with -c or --all-containers)",
        );
        check(&pod, Some("setup"), false, "setup");
        check(&pod, Some("db"), false, "not among setup, web, proxy");
        check(&pod, None, true, "setup web proxy");
        let mut marked = pod.clone();
        marked["metadata"]["annotations"][DEFAULT_CONTAINER] = "proxy".into();
        check(&marked, None, false, "proxy");
        check(&json!({"spec": {"containers": [{"name": "main"}]}}), None, false, "main");
        check(&json!({}), None, false, "not among ");
    }
}
