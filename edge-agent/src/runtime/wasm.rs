//! WebAssembly: the run spec for `wasm-run`, and the process that the shim supervises.

use firmware_compat::v1::owned::Artefacts;
use lichen_oci::expand::{expand, expand_env};
use lichen_shim::{Kind, LogLimits, Process, Spec};
use lichen_wasm_host::{Preopen, Run};

use super::{Job, PrepareError, Prepared, refuse, signal};
use crate::{
    state::{StateError, make_dir},
    volumes::{self, Placed, Source},
};

/// Name of the run spec in the run directory.
const SPEC: &str = "wasm.spec";

/// Makes a container of a Wasm Pod ready.
pub(super) fn prepare(job: &Job<'_>) -> Result<Prepared, PrepareError> {
    let Artefacts::Wasm { compiled, .. } = &job.container.artefacts else {
        return Err(refuse("the assignment has no compiled module for this Wasm pod"));
    };
    let artefact = job.launcher.content.artefact(&compiled.digest)?;
    let run = Run {
        artefact,
        preopens: preopens(job)?,
        memory_limit_bytes: Some(job.container.resources.memory_limit_bytes)
            .filter(|&bytes| bytes > 0),
        network: job.pod.host_network,
        ..words(job)?
    };
    make_dir(&job.attempt_dir).map_err(refuse)?;
    let spec = job.attempt_dir.join(SPEC);
    std::fs::write(&spec, run.to_bytes().map_err(refuse)?)
        .map_err(|source| refuse(StateError::Io { action: "write", path: spec.clone(), source }))?;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let program = Process {
        argv: vec![text(&job.launcher.wasm_program), "wasm-run".to_owned(), text(&spec)],
        env: Vec::new(),
        cwd: "/".into(),
    };
    let spec = Spec { kind: Kind::Process(program), log: LogLimits::default(), label: job.label() };
    Ok(Prepared { spec, stop_signal: signal::TERM })
}

/// The guest's arguments and environment.
fn words(job: &Job<'_>) -> Result<Run, PrepareError> {
    let container = job.container;
    let env: Vec<(String, String)> =
        container.env.iter().map(|var| (var.name.to_string(), var.value.to_string())).collect();
    let env = expand_env(&env).map_err(|error| refuse(format!("env is {error}")))?;
    let expand =
        |word: &str| expand(word, &env).map_err(|error| refuse(format!("args are {error}")));
    // A module has no entrypoint to replace: `command` is its name and first arguments.
    let mut args = Vec::new();
    if container.command.is_empty() {
        args.push(container.name.to_string());
    }
    for word in container.command.iter().chain(&container.args) {
        args.push(expand(word)?);
    }
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Ok(Run { args, env, ..Run::default() })
}

fn preopens(job: &Job<'_>) -> Result<Vec<Preopen>, PrepareError> {
    let placed = volumes::resolve(job.pod, &job.container.mounts, &job.dir.volumes());
    placed.map_err(refuse)?.into_iter().map(preopen).collect()
}

fn preopen(placed: Placed) -> Result<Preopen, PrepareError> {
    let Placed { source, inner, target, read_only } = placed;
    match source {
        Source::Own(host) | Source::Host(host) if host.join(&inner).is_dir() => {
            Ok(Preopen { host, inner, guest: target, read_only })
        }
        Source::Own(_) | Source::Host(_) => Err(refuse(format!(
            "mount at {target}: WebAssembly can be given directories, not single files; leave subPath out"
        ))),
    }
}
