//! `rollout history`: the revisions that can be gone back to, or what one of them declares.

use super::{must_read, revision::revisions};
use crate::cli::{
    Context,
    args::HistoryArgs,
    discovery::ObjectRef,
    error::CliError,
    table::{Cell, Table},
    ui::Tone,
    yaml::to_yaml,
};

pub(super) fn run(
    context: &mut Context,
    args: &HistoryArgs,
    workload: &ObjectRef,
) -> Result<(), CliError> {
    let value = must_read(context, workload)?;
    let revisions = revisions(context, workload, &value)?;
    if let Some(number) = args.revision {
        let found = revisions.iter().find(|revision| revision.number == number);
        let found = found.ok_or_else(|| unknown(workload, number))?;
        context.ui.line(&format!("{} with revision {number}", workload.label()))?;
        return Ok(context.ui.write(to_yaml(&found.template).as_bytes())?);
    }
    context.ui.line(&workload.label())?;
    let mut table = Table::new(&["REVISION", "CHANGE-CAUSE"]);
    for revision in &revisions {
        let cause = match &revision.cause {
            Some(cause) => cause.into(),
            None => Cell::toned("<none>", Tone::Dim),
        };
        table.add(vec![revision.number.to_string().into(), cause]);
    }
    for line in table.lines(&context.ui) {
        context.ui.line(&line)?;
    }
    Ok(())
}

/// What is said of a revision that isn't there.
pub(super) fn unknown(workload: &ObjectRef, number: i64) -> CliError {
    CliError::Failed(format!(
        "{label} has no revision {number}; see all with: lichen rollout history {label}",
        label = workload.label()
    ))
}
