//! The environment of a container: variables as the assignment has them, those of Secrets opened,
//! and what only the device knows.

use std::collections::BTreeMap;

use firmware_compat::v1::owned::Value;
use lichen_oci::expand::expand_env;

use super::{Job, PrepareError, refuse, refuse_as};
use crate::facts;

/// Kubernetes' word for a container that can't be started for want of a value.
const CONFIG_ERROR: &str = "CreateContainerConfigError";

/// Variables in the order of the assignment, values before `$(NAME)` is expanded.
#[derive(Default)]
pub(super) struct Environment {
    pub(super) variables: Vec<(String, String)>,
    /// Whether one of them is from a Secret: then it is to be on no disk, and nor is anything that may repeat it.
    pub(super) private: bool,
}

impl Environment {
    /// Its variables with every `$(NAME)` expanded.
    pub(super) fn expanded(&self) -> Result<BTreeMap<&str, String>, PrepareError> {
        expand_env(&self.variables).map_err(|error| refuse(format!("env is {error}")))
    }
}

/// The environment of a container.
pub(super) fn of(job: &Job<'_>) -> Result<Environment, PrepareError> {
    let mut environment = Environment::default();
    for variable in &job.container.env {
        let value = match &variable.value {
            Value::Text(text) => text.to_string(),
            Value::Secret { secret, key } => {
                environment.private = true;
                let opened = job.launcher.secrets.open(job.pod, *secret);
                let text = opened.and_then(|opened| opened.text(key));
                // It is taken as it is: nothing in it is expanded.
                text.map_err(|error| refuse_as(CONFIG_ERROR, error))?.replace('$', "$$")
            }
            Value::Fact(fact) => {
                facts::text(*fact, job.pod.host_network, &job.launcher.run).replace('$', "$$")
            }
            Value::Unavailable(why) => return Err(refuse_as(CONFIG_ERROR, &**why)),
        };
        environment.variables.push((variable.name.to_string(), value));
    }
    Ok(environment)
}
