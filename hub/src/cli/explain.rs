//! `lichen explain`: why an object is as it is, as a tree.

use lichen_hub_core::{
    api::{Key, Kind},
    effect::Line,
};

use super::{
    Context,
    args::NamedArgs,
    client::{ClientError, segment},
    error::CliError,
    kinds::{self, DEFAULT_NAMESPACE},
    ui::{Tone, plain},
};

/// Runs the command.
///
/// # Errors
/// There is no such object, or the hub can't be reached.
pub fn run(context: &mut Context, args: &NamedArgs) -> Result<(), CliError> {
    let namespace = args.namespace.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    for key in kinds::objects(&args.words, namespace, "explain")? {
        for line in lines(context, &key)? {
            context.ui.line(&shown(context, &line))?;
        }
    }
    Ok(())
}

/// What the hub says about an object.
///
/// # Errors
/// There is no such object, or the hub can't be reached.
pub fn lines(context: &Context, key: &Key) -> Result<Vec<Line>, CliError> {
    if !matches!(key.kind, Kind::Deployment | Kind::DaemonSet | Kind::Pod | Kind::Node) {
        return Err(CliError::Usage(format!(
            "explain takes a deployment, daemonset, pod or node, not a {}",
            kinds::singular(key.kind)
        )));
    }
    let namespace = if key.namespace.is_empty() { "-" } else { &key.namespace };
    let target = format!(
        "/lichen/v1/explain/{}/{}/{}",
        key.kind.plural(),
        segment(namespace),
        segment(&key.name)
    );
    let mut answer = context.client.get(&target).map_err(|error| match error.is_not_found() {
        true => kinds::not_found(key),
        false => error.into(),
    })?;
    serde_json::from_value(answer["lines"].take()).map_err(|error| {
        let cause = format!("it has no lines: {error}");
        ClientError::Answer { url: context.client.server().url(&target), cause }.into()
    })
}

/// One line, with its mark. Off a terminal the marks are ASCII.
pub(super) fn shown(context: &Context, line: &Line) -> String {
    let (mark, tone) = match (line.good, context.ui.terminal) {
        (true, true) => ("✓", Tone::Good),
        (false, true) => ("✗", Tone::Bad),
        (true, false) => ("+", Tone::Plain),
        (false, false) => ("-", Tone::Plain),
    };
    let margin = "  ".repeat(usize::from(line.depth));
    format!("{margin}{} {}", context.ui.tinted(mark, tone), plain(&line.text))
}
