//! `rollout undo`: puts the template of an earlier revision in place of the present one.

use lichen_hub_core::api::apps::is_of_revision;
use ureq::http::Method;

use super::{
    history::unknown,
    is_paused, must_read, refused,
    revision::{Revision, declared, revisions},
};
use crate::cli::{
    Context, args::UndoArgs, client::ClientError, discovery::ObjectRef, error::CliError,
};

/// How often it is tried again when the workload changes at the same moment.
const ATTEMPTS: usize = 5;

pub(super) fn run(
    context: &mut Context,
    args: &UndoArgs,
    workload: &ObjectRef,
) -> Result<(), CliError> {
    let mut attempts = 1;
    loop {
        let mut value = must_read(context, workload)?;
        if is_paused(&value) {
            return Err(CliError::Failed(format!(
                "{label} is paused, so it can't go back; first run: lichen rollout resume {label}",
                label = workload.label()
            )));
        }
        let revisions = revisions(context, workload, &value)?;
        let target = choose(&revisions, args.to_revision, workload)?;
        if target.template == declared(&value["spec"]["template"]) {
            let said = format!(
                "{} unchanged: its template is that of revision {} already",
                workload.label(),
                target.number
            );
            return Ok(context.ui.line(&said)?);
        }
        // With the version that was read, so that no change of somebody else is lost.
        value["spec"]["template"] = target.template.clone();
        let mut annotations =
            value["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        annotations.retain(|name, _| !is_of_revision(name));
        annotations.extend(target.annotations.clone());
        value["metadata"]["annotations"] = annotations.into();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("status");
        }
        match context.client.call(Method::PUT, &workload.path(), Some(&value)) {
            Ok(_) => {
                let said =
                    format!("{} rolled back to revision {}", workload.label(), target.number);
                return Ok(context.ui.line(&said)?);
            }
            Err(error) if is_conflict(&error) && attempts < ATTEMPTS => attempts += 1,
            Err(error) => return Err(refused(error, workload)),
        }
    }
}

fn is_conflict(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused(refused) if refused.code == 409)
}

/// The revision with a number; with 0 the one before the newest.
fn choose<'a>(
    revisions: &'a [Revision],
    number: i64,
    workload: &ObjectRef,
) -> Result<&'a Revision, CliError> {
    if number > 0 {
        let found = revisions.iter().find(|revision| revision.number == number);
        return found.ok_or_else(|| unknown(workload, number));
    }
    let before = revisions.len().checked_sub(2).and_then(|index| revisions.get(index));
    before.ok_or_else(|| {
        CliError::Failed(format!("{} has no earlier revision to go back to", workload.label()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;
    use crate::cli::discovery::tests::sample;

    #[test]
    fn without_a_number_it_goes_back_by_one() {
        let workload = ObjectRef::new(&sample().find("deploy").expect("a kind"), "a", "web");
        let revision = |number| Revision {
            number,
            cause: None,
            annotations: Map::new(),
            template: Value::Null,
        };
        let revisions = [revision(1), revision(4), revision(5)];
        let check = |revisions: &[Revision], number: i64, expected: &str| {
            let said = match choose(revisions, number, &workload) {
                Ok(chosen) => chosen.number.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(said, expected);
        };
        check(&revisions, 0, "4");
        check(&revisions, 1, "1");
        check(
            &revisions,
            2,
            "deployment/web has no revision 2; see all with: lichen rollout history deployment/web",
        );
        check(&revisions[..1], 0, "deployment/web has no earlier revision to go back to");
    }
}
