//! WebAssembly: the run spec for `wasm-run`, and the process that the shim supervises.

use firmware_compat::v1::owned::Artefacts;
use lichen_oci::expand::{expand, expand_env};
use lichen_shim::{Kind, LogLimits, Private, Process, Spec};
use lichen_wasm_host::{Preopen, Run, STANDARD_INPUT};

use super::{
    Job, PrepareError, Prepared, Ready,
    environment::{self, Environment},
    refuse, signal,
};
use crate::{
    state::{StateError, make_dir},
    volumes::{self, Placed, Source},
};

/// Name of the run spec in the run directory, unless it is on no disk.
const SPEC: &str = "wasm.spec";

/// Makes a container of a Wasm Pod ready.
pub(super) fn prepare(job: &Job<'_>) -> Result<Prepared, PrepareError> {
    let Artefacts::Wasm { compiled, .. } = &job.container.artefacts else {
        return Err(refuse("the assignment has no compiled module for this Wasm pod"));
    };
    let artefact = job.launcher.content.artefact(&compiled.digest)?;
    let environment = environment::of(job)?;
    let run = Run {
        artefact,
        preopens: preopens(job)?,
        memory_limit_bytes: Some(job.container.resources.memory_limit_bytes)
            .filter(|&bytes| bytes > 0),
        network: job.pod.host_network,
        ..words(job, &environment)?
    };
    make_dir(&job.attempt_dir).map_err(refuse)?;
    let bytes = run.to_bytes().map_err(refuse)?;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let (spec, private) = match environment.private {
        true => (STANDARD_INPUT.to_owned(), Some(Private::new(&bytes).map_err(refuse)?)),
        false => {
            let path = job.attempt_dir.join(SPEC);
            std::fs::write(&path, bytes).map_err(|source| {
                refuse(StateError::Io { action: "write", path: path.clone(), source })
            })?;
            (text(&path), None)
        }
    };
    let program = Process {
        argv: vec![text(&job.launcher.wasm_program), "wasm-run".to_owned(), spec],
        env: Vec::new(),
        cwd: "/".into(),
        private: environment.private,
    };
    let spec = Spec { kind: Kind::Process(program), log: LogLimits::default(), label: job.label() };
    Ok(Prepared { ready: Ready { spec, private }, stop_signal: signal::TERM })
}

/// The guest's arguments and environment.
fn words(job: &Job<'_>, environment: &Environment) -> Result<Run, PrepareError> {
    let container = job.container;
    let env =
        expand_env(&environment.variables).map_err(|error| refuse(format!("env is {error}")))?;
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
