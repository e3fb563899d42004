//! WebAssembly: the run spec for `wasm-run`, and the process that the shim supervises.

use firmware_compat::{
    id::PodId,
    v1::owned::{Artefacts, VolumeSource},
};
use lichen_oci::expand::expand;
use lichen_shim::{Group, Kind, Limits, LogLimits, Private, Process, Spec};
use lichen_wasm_host::{Preopen, Run, STANDARD_INPUT};

use super::{
    Job, PrepareError, Prepared, Ready,
    environment::{self, Environment},
    failed, refuse, security, signal,
};
use crate::{
    sandbox,
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
    // A module names no user: its host's number is the one that counts.
    let user = user(job);
    security::check_root(job, &user.map_or_else(String::new, |(uid, _)| uid.to_string()))?;
    // It is mapped as code.
    let artefact = job.launcher.content.verified(&compiled.digest)?;
    let environment = environment::of(job)?;
    let run = Run {
        artefact,
        preopens: preopens(job, &environment)?,
        memory_limit_bytes: Some(job.container.resources.memory_limit_bytes)
            .filter(|&bytes| bytes > 0),
        network: job.pod.host_network,
        user,
        groups: job.pod.security.groups.iter().copied().chain(job.pod.security.fs_group).collect(),
        ..words(job, &environment)?
    };
    make_dir(&job.attempt_dir).map_err(failed)?;
    let bytes = run.to_bytes().map_err(refuse)?;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let (spec, private) = match environment.private {
        true => (STANDARD_INPUT.to_owned(), Some(Private::new(&bytes).map_err(refuse)?)),
        false => {
            let path = job.attempt_dir.join(SPEC);
            std::fs::write(&path, bytes).map_err(|source| {
                failed(StateError::Io { action: "write", path: path.clone(), source })
            })?;
            (text(&path), None)
        }
    };
    let program = Process {
        argv: vec![text(&job.launcher.wasm_program), "wasm-run".to_owned(), spec],
        env: Vec::new(),
        cwd: "/".into(),
        private: environment.private,
        group: Some(group(job)),
    };
    let spec = Spec { kind: Kind::Process(program), log: LogLimits::default(), label: job.label() };
    Ok(Prepared { ready: Ready { spec, private }, stop_signal: signal::TERM })
}

/// As whom the host of a guest runs: a user of its Pod's own, which has nothing else on the device. One that is given a path
/// of the device stays root, without any privilege: such a path is root's as a rule. What the manifest says counts before.
fn user(job: &Job<'_>) -> Option<(u32, u32)> {
    let asked = &job.container.security;
    if let Some(user) = asked.user {
        return Some((user, asked.group.unwrap_or(user)));
    }
    let is_of_device = |name: &str| {
        let volume = job.pod.volumes.iter().find(|volume| *volume.name == *name);
        volume.is_some_and(|volume| matches!(volume.source, VolumeSource::HostPath { .. }))
    };
    if job.container.mounts.iter().any(|mount| is_of_device(&mount.volume)) {
        return None;
    }
    let PodId([.., a, b, c]) = job.pod.id;
    let user = FIRST_USER + u32::from_be_bytes([0, a, b, c]);
    Some((user, asked.group.unwrap_or(user)))
}

/// Users from here on are those of Wasm Pods: above those that people and services have, and below 2^31.
const FIRST_USER: u32 = 0x4c00_0000;

/// The container's cgroup. Its limits hold for the host with its guest: what the host itself needs counts.
fn group(job: &Job<'_>) -> Group {
    /// Memory that a host needs before its guest has any.
    const LEAST_MEMORY: u64 = 16 << 20;
    /// Threads: one that runs the guest, and those that wait for files and names.
    const PIDS: u64 = 1024;
    let asked = &job.container.resources;
    let memory_bytes = match asked.memory_limit_bytes {
        0 => 0,
        limit => limit.max(LEAST_MEMORY),
    };
    let limits = Limits {
        cpu_request_milli: asked.cpu_request_milli.into(),
        cpu_limit_milli: asked.cpu_limit_milli.into(),
        memory_bytes,
        pids: PIDS,
    };
    let pod = sandbox::cgroup(job.launcher.agent, job.pod.id);
    Group { path: format!("{pod}/{}", job.id), limits }
}

/// The guest's arguments and environment.
fn words(job: &Job<'_>, environment: &Environment) -> Result<Run, PrepareError> {
    let container = job.container;
    let env = environment.expanded()?;
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

fn preopens(job: &Job<'_>, environment: &Environment) -> Result<Vec<Preopen>, PrepareError> {
    let (mounts, variables) = (&job.container.mounts, environment.expanded()?);
    let claims = &job.launcher.claims;
    let placed = volumes::resolve(job.pod, mounts, &job.dir.volumes(), &variables, claims);
    placed.map_err(failed)?.into_iter().map(preopen).collect()
}

fn preopen(placed: Placed) -> Result<Preopen, PrepareError> {
    let Placed { source, inner, target, read_only, .. } = placed;
    match source {
        Source::Own(host) | Source::Host(host) if host.join(&inner).is_dir() => {
            Ok(Preopen { host, inner, guest: target, read_only })
        }
        Source::Own(_) | Source::Host(_) => Err(refuse(format!(
            "mount at {target}: WebAssembly can be given directories, not single files; leave subPath out"
        ))),
    }
}
