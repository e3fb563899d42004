//! OCI containers: image, bundle, and the runtime that the probe found.

use firmware_compat::v1::owned::{Artefacts, Packing, Resources};
use lichen_oci::{
    Digest,
    bundle::RunDir,
    config::{
        ContainerSpec, Mount, MountSource, Propagation, Resources as OciResources, Security,
        runtime_config,
    },
    image::{Compression, Image, MAX_DOCUMENT_BYTES, Manifest, read_image},
    runtime::{CGROUP_PARENT, Findings, Found},
    user::UserFiles,
};
use lichen_shim::{Container, Kind, LogLimits, Overlay, Private, Spec, SubPath};

use super::{
    Job, PrepareError, Prepared, Ready,
    environment::{self, Environment},
    failed, refuse, refuse_as, security, signal,
};
use crate::{
    sandbox,
    state::{make_dir, read_bounded},
    supervise::last_word,
    volumes::{self, Placed, Source},
};

/// Where bundle and overlay are, in the run directory.
pub(super) const DIR: &str = "container";

/// What the probe found for containers.
pub type Containers = Findings;

/// Makes a container ready.
pub(super) fn prepare(job: &Job<'_>, containers: &Containers) -> Result<Prepared, PrepareError> {
    let Some(runtime) = containers.best() else {
        return Err(refuse_as("NoRuntime", containers.why_none()));
    };
    let image = image(job)?;
    for layer in &image.layers {
        job.launcher.content.unpack(layer, job.depth)?;
    }
    let lowers = job.launcher.content.layers().lowers(&image);
    make_dir(&job.attempt_dir).map_err(failed)?;
    let run = RunDir::new(job.attempt_dir.join(DIR));
    run.create().map_err(failed)?;
    let environment = environment::of(job)?;
    let mounts = &job.container.mounts;
    let (variables, claims) = (environment.expanded()?, &job.launcher.claims);
    let placed = volumes::resolve(job.pod, mounts, &job.dir.volumes(), &variables, claims);
    let placed = placed.map_err(failed)?;
    let security = security::security(job, &placed);
    let (mut mounts, sub_paths) = self::mounts(placed, &run);
    mounts.push(last_word(job).map_err(refuse)?);
    let is_private = environment.private;
    let spec = container_spec(job, &image, &lowers, mounts, environment)?;
    let spec = ContainerSpec { security, ..spec };
    let config = runtime_config(&spec, &image.config, &runtime.host()).map_err(refuse)?;
    let private = match is_private {
        true => Some(Private::new(config.to_string().as_bytes()).map_err(refuse)?),
        false => {
            run.write_config(&config).map_err(failed)?;
            None
        }
    };
    let overlay = run.overlay(lowers);
    let spec = shim_spec(job, runtime, &run, overlay, sub_paths, is_private);
    Ok(Prepared { ready: Ready { spec, private }, stop_signal: stop_signal(&image) })
}

fn shim_spec(
    job: &Job<'_>,
    runtime: &Found,
    run: &RunDir,
    overlay: lichen_oci::bundle::Overlay,
    sub_paths: Vec<SubPath>,
    private: bool,
) -> Spec {
    let overlay = Overlay {
        lower: overlay.lower,
        upper: overlay.upper,
        work: overlay.work,
        target: overlay.target,
    };
    let container = Container {
        runtime: runtime.path.clone(),
        runtime_args: runtime.args.clone(),
        id: container_id(job),
        bundle: run.bundle(),
        overlay: Some(overlay),
        cgroup: cgroup(job, runtime),
        private_cgroup2: runtime.private_cgroup2,
        sub_paths,
        private,
    };
    Spec { kind: Kind::Container(container), log: LogLimits::default(), label: job.label() }
}

/// Names the container to the runtime: unique on the machine.
fn container_id(job: &Job<'_>) -> String {
    let agent = job.launcher.agent.to_string();
    format!("lichen-{}-{}-{}", &agent[..8], job.pod.id, job.id)
}

/// The container's cgroup below the parent of all, in its Pod's.
fn group(job: &Job<'_>) -> String {
    format!("{}/{}", sandbox::group_name(job.launcher.agent, job.pod.id), job.id)
}

/// The cgroup that the runtime makes, if it makes one: without limits it chooses the name.
fn cgroup(job: &Job<'_>, runtime: &Found) -> Option<String> {
    match (runtime.limits_enforced, runtime.private_cgroup2) {
        (true, _) => Some(format!("{}/{}", CGROUP_PARENT.trim_start_matches('/'), group(job))),
        (false, false) => Some(container_id(job)),
        (false, true) => None,
    }
}

/// Reads the image's config; its layers are those of the assignment.
fn image(job: &Job<'_>) -> Result<Image, PrepareError> {
    let Artefacts::Image { config, layers } = &job.container.artefacts else {
        return Err(refuse("the assignment has no image for this container"));
    };
    let path = job.launcher.content.verified(&config.digest)?;
    let bytes = read_bounded(&path, MAX_DOCUMENT_BYTES as u64 + 1).map_err(refuse)?;
    let layers = layers.iter().map(|layer| {
        let compression = match layer.packing {
            Packing::Tar => Compression::None,
            Packing::TarGzip => Compression::Gzip,
            Packing::TarZstd => Compression::Zstd,
        };
        (Digest::from_bytes(layer.blob.digest.0), compression, layer.blob.size)
    });
    let manifest = Manifest {
        config: Digest::from_bytes(config.digest.0),
        config_size: config.size,
        layers: layers.collect(),
    };
    read_image(&manifest, &bytes.unwrap_or_default()).map_err(refuse)
}

fn container_spec(
    job: &Job<'_>,
    image: &Image,
    lowers: &[std::path::PathBuf],
    mounts: Vec<Mount>,
    environment: Environment,
) -> Result<ContainerSpec, PrepareError> {
    let (pod, container) = (job.pod, job.container);
    let shared = sandbox::names(pod, job.dir).map_err(failed)?;
    let user = security::user(job, &image.config.user, &UserFiles::read(lowers))?;
    let text = |words: &[firmware_compat::v1::owned::Text<_>]| {
        words.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    Ok(ContainerSpec {
        id: container_id(job),
        cgroup: group(job),
        hostname: shared.hostname,
        command: text(&container.command),
        args: text(&container.args),
        env: environment.variables,
        working_dir: Some(container.working_dir.to_string()).filter(|dir| !dir.is_empty()),
        user,
        read_only_root: container.security.read_only_root,
        allow_privilege_escalation: !container.security.no_new_privileges,
        network: shared.network,
        ipc: shared.ipc,
        processes: shared.processes,
        security: Security::default(),
        resources: resources(&container.resources),
        oom_score_adj: None,
        mounts,
        etc: shared.etc,
    })
}

fn resources(asked: &Resources) -> OciResources {
    let given = |value: u64| Some(value).filter(|&value| value > 0);
    OciResources {
        cpu_request_milli: given(asked.cpu_request_milli.into()),
        cpu_limit_milli: given(asked.cpu_limit_milli.into()),
        memory_limit_bytes: given(asked.memory_limit_bytes),
        pids_limit: None,
    }
}

/// The file for the container's last word.
fn last_word(job: &Job<'_>) -> std::io::Result<Mount> {
    let file = last_word::make(&job.attempt_dir)?;
    let target = match job.container.supervision.message_path.as_str() {
        "" => last_word::USUAL_PATH.to_owned(),
        path => path.to_owned(),
    };
    Ok(Mount {
        source: MountSource::Volume(file),
        target,
        read_only: false,
        propagation: Propagation::default(),
    })
}

/// The mounts for the runtime. Of a volume of which a part is mounted it is told a place in the run directory, where the
/// shim shows that part.
fn mounts(placed: Vec<Placed>, run: &RunDir) -> (Vec<Mount>, Vec<SubPath>) {
    let (mut mounts, mut sub_paths) = (Vec::new(), Vec::new());
    for Placed { source, inner, target, read_only, propagation } in placed {
        let (kind, volume): (fn(_) -> _, _) = match source {
            Source::Own(volume) => (MountSource::Volume, volume),
            Source::Host(volume) => (MountSource::HostPath, volume),
        };
        let source = match inner.as_os_str().is_empty() {
            true => kind(volume),
            false => {
                let target = run.sub_path(sub_paths.len());
                sub_paths.push(SubPath { volume, inner, target: target.clone() });
                kind(target)
            }
        };
        let propagation = security::propagation(propagation);
        mounts.push(Mount { source, target, read_only, propagation });
    }
    (mounts, sub_paths)
}

fn stop_signal(image: &Image) -> i32 {
    let text = image.config.stop_signal.as_deref();
    match text.map(signal::parse) {
        Some(Some(number)) => number,
        Some(None) => {
            tracing::info!(signal = text, "the image's stop signal is not known: using SIGTERM");
            signal::TERM
        }
        None => signal::TERM,
    }
}
