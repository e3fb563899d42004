//! As whom a container runs and what it may do: what the assignment says, made the runtime's.

use firmware_compat::{
    capabilities,
    v1::owned::{ContainerSecurity, MountPropagation},
};
use lichen_oci::{
    config::{Capabilities, Propagation, Security},
    devices::Device,
    user::{UserError, UserFiles, UserIds, look_up},
};

use super::{Job, PrepareError, refuse, refuse_as};
use crate::volumes::{Placed, Source};

/// Kubernetes' word for a container that can't be started as its manifest is.
const CONFIG_ERROR: &str = "CreateContainerConfigError";

/// Who runs. `image`: whom the image names, found in `files`.
pub(super) fn user(job: &Job<'_>, image: &str, files: &UserFiles) -> Result<UserIds, PrepareError> {
    check_root(job, image)?;
    let found = ids(&job.container.security, image, files).map_err(refuse)?;
    Ok(with_groups(job, found))
}

/// Adds the groups of the Pod.
pub(super) fn with_groups(job: &Job<'_>, mut found: UserIds) -> UserIds {
    let pod = &job.pod.security;
    if pod.only_these_groups {
        found.more_gids.clear();
    }
    found.more_gids.extend(pod.groups.iter().copied().chain(pod.fs_group));
    found.more_gids.sort_unstable();
    found.more_gids.dedup();
    found
}

/// Refuses root where it is not wanted, in the kubelet's words (`pkg/kubelet/kuberuntime/security_context.go`). It goes by
/// numbers: a name in the image says nothing that the image could not change.
pub(super) fn check_root(job: &Job<'_>, image: &str) -> Result<(), PrepareError> {
    let own = &job.container.security;
    if !own.non_root {
        return Ok(());
    }
    let (pod, name) = (job.pod, &job.container.name);
    let of = format!("(pod: \"{}_{}({})\", container: {name})", pod.name, pod.namespace, pod.id);
    let named = image.split(':').next().unwrap_or_default();
    let cause = match (own.user, named) {
        (Some(0), _) => format!("container's runAsUser breaks non-root policy {of}"),
        (Some(_), _) => return Ok(()),
        (None, "") => format!("container has runAsNonRoot and image will run as root {of}"),
        (None, named) => match named.parse::<u32>() {
            Ok(0) => format!("container has runAsNonRoot and image will run as root {of}"),
            Ok(_) => return Ok(()),
            Err(_) => format!(
                "container has runAsNonRoot and image has non-numeric user ({named}), cannot verify user is non-root {of}"
            ),
        },
    };
    Err(refuse_as(CONFIG_ERROR, cause))
}

fn ids(own: &ContainerSecurity, image: &str, files: &UserFiles) -> Result<UserIds, UserError> {
    let (named, its_group) = image.split_once(':').unwrap_or((image, ""));
    let number = own.user.map(|uid| uid.to_string());
    let user = number.as_deref().unwrap_or(named);
    match own.group {
        // The group stands in the place of the user's own; those that list the user stay.
        Some(gid) => Ok(UserIds { gid, ..look_up(user, files)? }),
        // Whom the manifest names has not the group that the image gives another.
        None if number.is_some() || its_group.is_empty() => look_up(user, files),
        None => look_up(image, files),
    }
}

/// What it may do. `placed`: its mounts, with the devices that they show.
pub(super) fn security(job: &Job<'_>, placed: &[Placed]) -> Security {
    let own = &job.container.security;
    let sysctls = job.pod.security.sysctls.iter();
    Security {
        privileged: own.privileged,
        added: set(own.added_capabilities),
        dropped: set(own.dropped_capabilities),
        seccomp_unconfined: own.seccomp_unconfined,
        unmasked_proc: own.unmasked_proc,
        sysctls: sysctls.map(|set| (set.name.to_string(), set.value.to_string())).collect(),
        devices: devices(placed),
    }
}

fn set(bits: u64) -> Capabilities {
    Capabilities { all: bits & capabilities::ALL != 0, names: capabilities::names(bits).collect() }
}

/// The devices that mounts show, each once, with the most that one of the mounts allows.
fn devices(placed: &[Placed]) -> Vec<lichen_oci::devices::Allowed> {
    let mut allowed = Vec::new();
    for Placed { source, inner, read_only, .. } in placed {
        let Source::Host(path) = source else { continue };
        // A join with nothing would end in a slash, which no file has.
        let all = inner.as_os_str().is_empty();
        let shown = Device::shown_by(&if all { path.clone() } else { path.join(inner) });
        allowed.extend(shown.iter().map(|device| device.allowed(!read_only)));
    }
    // The one that may write is the last of those of one device, and stays.
    allowed.sort_unstable();
    allowed.reverse();
    allowed.dedup_by_key(|device| (device.block, device.major, device.minor));
    allowed
}

/// The runtime's word for which mounts are seen.
pub(super) fn propagation(wanted: MountPropagation) -> Propagation {
    match wanted {
        MountPropagation::None => Propagation::Private,
        MountPropagation::HostToContainer => Propagation::Slave,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> UserFiles {
        UserFiles {
            passwd: "app:x:1000:100::/:\nother:x:1001:101::/:\n".into(),
            group: "users:x:100:\nvideo:x:44:app\ndialout:x:20:other\n".into(),
        }
    }

    #[test]
    fn the_manifests_user_and_group_count_before_the_images() {
        let ids = |user, group, image: &str| {
            let own = ContainerSecurity { user, group, ..ContainerSecurity::default() };
            ids(&own, image, &files()).map(|ids| (ids.uid, ids.gid, ids.more_gids))
        };
        assert_eq!(ids(None, None, "app"), Ok((1000, 100, vec![44])));
        assert_eq!(ids(None, None, "app:dialout"), Ok((1000, 20, vec![])));
        // The image's group is another user's.
        assert_eq!(ids(Some(1001), None, "app:video"), Ok((1001, 101, vec![20])));
        assert_eq!(ids(Some(7), None, "app"), Ok((7, 0, vec![])));
        assert_eq!(ids(Some(1000), Some(3000), ""), Ok((1000, 3000, vec![44])));
        assert_eq!(ids(None, Some(3000), "app:video"), Ok((1000, 3000, vec![44])));
        assert!(ids(None, None, "nobody").is_err());
        assert_eq!(ids(Some(7), None, "nobody"), Ok((7, 0, vec![])));
    }

    #[test]
    fn a_device_that_two_mounts_show_may_be_written_if_one_of_them_says_so() {
        let placed = |path: &str, read_only| Placed {
            source: Source::Host(path.into()),
            inner: Default::default(),
            target: "/x".into(),
            read_only,
            propagation: MountPropagation::None,
        };
        let allowed = devices(&[placed("/dev/null", true), placed("/dev/null", false)]);
        assert_eq!(allowed.len(), 1);
        assert!(allowed[0].write);
        let allowed = devices(&[placed("/dev/null", true), placed("/dev/zero", true)]);
        assert_eq!(allowed.iter().filter(|device| !device.write).count(), 2);
        let own = Placed { source: Source::Own("/dev".into()), ..placed("", false) };
        assert_eq!(devices(&[own, placed("/proc", false)]), []);
    }
}
