//! `lichen explain`: why an object is as it is, as a tree. Which kinds have reasons is the hub's to say.

use lichen_hub_core::effect::Line;

use super::{
    Context,
    args::NamedArgs,
    client::{ClientError, segment},
    discovery::ObjectRef,
    error::CliError,
    ui::{Tone, plain},
};

/// Runs the command.
///
/// # Errors
/// There is no such object, or the hub can't be reached.
pub fn run(context: &mut Context, args: &NamedArgs) -> Result<(), CliError> {
    let namespace = context.namespace(&args.namespace);
    for object in context.objects(&args.words, &namespace, "explain")? {
        for line in lines(context, &object)? {
            context.ui.line(&shown(context, &line))?;
        }
    }
    Ok(())
}

/// What the hub says about an object.
///
/// # Errors
/// There is no such object, the hub has nothing to say of its kind, or can't be reached.
pub fn lines(context: &Context, object: &ObjectRef) -> Result<Vec<Line>, CliError> {
    let namespace = if object.namespace.is_empty() { "-" } else { &object.namespace };
    let target = format!(
        "/lichen/v1/explain/{}/{}/{}",
        segment(&object.resource.plural),
        segment(namespace),
        segment(&object.name)
    );
    let mut answer = context.client.get(&target).map_err(|error| match error.is_not_found() {
        true => object.not_found(),
        false => error.into(),
    })?;
    serde_json::from_value(answer["lines"].take()).map_err(|error| {
        let cause = format!("it has no lines: {error}");
        ClientError::Answer { url: context.client.url(&target), cause }.into()
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
