//! As whom containers run and what they may do, as root, with each OCI runtime that the machine has.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use firmware_compat::{
    capabilities,
    v1::owned::{
        File, HostPathKind, Mount, MountPropagation, Pod, Sysctl, Text, Volume, VolumeSource,
    },
};
use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat},
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
};
use support::{
    hub::Hub,
    image::{image_of, with_scratch},
    machine::{each_container, wait},
    world::{ID, WAIT, World, kill_9, namespace},
};

/// `/dev/fuse`, which no container has by itself.
const FUSE: (u32, u32) = (10, 229);

/// Runs one container to `WAIT` and holds what it says before against what is expected.
async fn says(world: &mut World, pod: Pod, expected: &str) {
    // Ids of commands rise, and each log takes two.
    static COMMAND: AtomicU64 = AtomicU64::new(1);
    let command = COMMAND.fetch_add(200, Relaxed);
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    world.until_log(command, "main", &format!("{expected}\nready\n")).await;
    world.until_gone().await;
}

fn script(words: &str) -> String {
    format!("{words}; {WAIT}")
}

/// Gives each container of a Pod one more volume.
fn with_volume(mut pod: Pod, name: &str, source: VolumeSource, path: &str, read_only: bool) -> Pod {
    let volume = Volume { name: name.try_into().unwrap(), source };
    pod.volumes.push(volume).unwrap();
    each_container(&mut pod, |container| {
        let mount = Mount {
            volume: name.try_into().unwrap(),
            path: path.try_into().unwrap(),
            sub_path: Text::default(),
            read_only,
            expand: false,
            propagation: MountPropagation::None,
        };
        container.mounts.push(mount).unwrap();
    });
    pod
}

fn host(path: &Path, kind: HostPathKind) -> VolumeSource {
    VolumeSource::HostPath { path: path.to_str().unwrap().try_into().unwrap(), kind }
}

async fn runs_as_whom_the_manifest_says_with_its_volumes(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let key = File {
        path: "key".try_into().unwrap(),
        mode: 0o600,
        data: b"value\n".to_vec().try_into().unwrap(),
    };
    let settings = world.hub.config(vec![key]);
    let words = "echo $(busybox id -u) $(busybox id -g) $(busybox id -G); \
                 : > /scratch/new; busybox stat -c '%u %g' /scratch/new; busybox cat /settings/key";
    let mut pod = with_scratch(world.pod(&[], &[("main", &script(words))]), false);
    pod = with_volume(pod, "settings", settings, "/settings", true);
    pod.security.groups = vec![4000].try_into().unwrap();
    pod.security.fs_group = Some(5000);
    each_container(&mut pod, |own| {
        own.security.user = Some(1234);
        own.security.group = Some(3000);
        own.security.non_root = true;
    });
    says(&mut world, pod, "1234 3000 3000 4000 5000\n1234 5000\nvalue").await;
}

async fn root_is_refused_where_it_is_not_wanted(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    for (number, (image, user, cause)) in [
        ("", None, "container has runAsNonRoot and image will run as root (pod: \"web-1_default("),
        (
            "app",
            None,
            "container has runAsNonRoot and image has non-numeric user (app), cannot verify",
        ),
        ("app", Some(0), "container's runAsUser breaks non-root policy (pod: \"web-1_default("),
    ]
    .into_iter()
    .enumerate()
    {
        let mut pod = world.pod(&[], &[("main", WAIT)]);
        pod.identity.0[0] = number as u8;
        let image = image_of(&world.hub.http, image);
        each_container(&mut pod, |own| {
            own.security.user = user;
            own.security.non_root = true;
            own.artefacts = image.clone();
        });
        world.assign(vec![pod]);
        let is_refused = |hub: &Hub| {
            hub.pods.get(&ID).is_some_and(|pod| {
                pod.reason.as_str() == "CreateContainerConfigError" && pod.message.contains(cause)
            })
        };
        world.hub.until(cause, is_refused).await;
        world.until_gone().await;
    }
}

/// In a state directory that nobody else may enter, whatever files are made with.
async fn users_of_images_run_under_a_strict_umask(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    assert_eq!(fs::metadata(&world.device.state).unwrap().mode() & 0o777, 0o700);
    world.device.kill();
    world.device.umask = 0o077;
    world.start();
    let words = "echo $(busybox id -u) $(busybox id -g); busybox cat /etc/motd /settings/key; \
                 busybox grep -c localhost /etc/hosts; busybox stat -c %a / /etc/resolv.conf; : > /scratch/new";
    for user in ["app", "1000", "1000:100"] {
        let settings = world.hub.config(vec![File {
            path: "key".try_into().unwrap(),
            mode: 0o644,
            data: b"value\n".to_vec().try_into().unwrap(),
        }]);
        let image = image_of(&world.hub.http, user);
        let mut pod = with_scratch(world.pod(&[], &[("main", &script(words))]), false);
        pod = with_volume(pod, "settings", settings, "/settings", true);
        each_container(&mut pod, |own| own.artefacts = image.clone());
        says(&mut world, pod, "1000 100\nhello from the layer\nvalue\n2\n755\n644").await;
    }
}

async fn a_restricted_container_has_no_rights(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let words = "busybox grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | busybox tr '\\t' ' '; \
                 (: > /stain) 2>/dev/null || echo read-only";
    let mut pod = world.pod(&[], &[("main", &script(words))]);
    each_container(&mut pod, |own| {
        own.security.read_only_root = true;
        own.security.no_new_privileges = true;
        own.security.dropped_capabilities = capabilities::ALL;
        own.security.added_capabilities = capabilities::bit("NET_BIND_SERVICE").unwrap();
    });
    let expected = "NoNewPrivs: 1\nSeccomp: 2\nread-only";
    let expected = format!("CapBnd: 0000000000000400\n{expected}");
    // The kernel has them in this order.
    says(&mut world, pod, &expected).await;
}

async fn a_privileged_container_has_all_of_them(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let words = "busybox grep Seccomp: /proc/self/status | busybox tr '\\t' ' '; busybox mkdir /m; \
                 busybox mount -t tmpfs none /m && echo mounted; \
                 busybox test -w /proc/sys/kernel/printk && echo writable; \
                 busybox grep -c ' /sys sysfs ro' /proc/mounts; (: < /dev/fuse) && echo open; \
                 busybox grep CapEff /proc/self/status | busybox tr '\\t' ' '";
    let mut pod = world.pod(&[], &[("main", &script(words))]);
    each_container(&mut pod, |own| own.security.privileged = true);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let all = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    let expected = format!("Seccomp: 0\nmounted\nwritable\n0\nopen\nCapEff: {all}");
    says(&mut world, pod, &expected).await;
}

async fn a_safe_sysctl_is_the_pods_alone(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let name = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let own = fs::read_to_string(name).unwrap();
    let mut pod = world.pod(&[], &[("main", &script(&format!("busybox cat {name}")))]);
    let sysctl = Sysctl {
        name: "net.ipv4.ip_unprivileged_port_start".try_into().unwrap(),
        value: "77".try_into().unwrap(),
    };
    pod.security.sysctls = vec![sysctl].try_into().unwrap();
    says(&mut world, pod, "77").await;
    assert_eq!(fs::read_to_string(name).unwrap(), own);
}

async fn the_devices_processes_and_ipc_are_seen_and_nothing_is_left(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let words = script("busybox sleep 1000 & echo $(busybox sh -c 'echo $PPID')");
    let mut pod = world.pod(&[], &[("main", &words)]);
    (pod.security.host_pid, pod.security.host_ipc) = (true, true);
    world.assign(vec![pod]);
    let main = world.hub.until_running(ID).await;
    for kind in ["pid", "ipc"] {
        assert_eq!(namespace(main.pid, kind), namespace(std::process::id(), kind), "{kind}");
    }
    world.until_log(1, "main", &format!("{}\nready\n", main.pid)).await;
    let is_child = |stat: &str| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.split(' ').nth(1) == Some(&main.pid.to_string()))
    };
    let children: Vec<u32> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            is_child(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default())
        })
        .collect();
    assert!(!children.is_empty());
    world.until_gone().await;
    wait("what it has started should end", || {
        children.iter().all(|pid| !support::machine::is_alive(*pid))
    });
}

async fn later_mounts_of_the_device_are_seen_where_the_manifest_says_so(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let shared = world.dir.path().join("shared");
    let below = shared.join("below");
    fs::create_dir(&shared).unwrap();
    let memory = |path: &Path| {
        mount("none", path, "tmpfs", MountFlags::empty(), None).unwrap();
    };
    memory(&shared);
    mount_change(&shared, MountPropagationFlags::SHARED).unwrap();
    fs::create_dir(&below).unwrap();
    let words = "echo ready; until busybox test -e /seen/below/new; do busybox sleep 0.1; done; \
                 busybox ls /hidden/below; echo over; exec busybox sleep 1000";
    let pod = world.pod(&[], &[("main", words)]);
    let pod = with_volume(pod, "hidden", host(&shared, HostPathKind::Directory), "/hidden", false);
    let mut pod = with_volume(pod, "seen", host(&shared, HostPathKind::Directory), "/seen", false);
    each_container(&mut pod, |own| {
        let mut mounts = own.mounts.to_vec();
        mounts[1].propagation = MountPropagation::HostToContainer;
        own.mounts = mounts.try_into().unwrap();
    });
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    world.until_log(1, "main", "ready\n").await;
    memory(&below);
    fs::write(below.join("new"), "").unwrap();
    world.until_log(300, "main", "ready\nover\n").await;
    world.until_gone().await;
    for path in [&below, &shared] {
        unmount(path, UnmountFlags::DETACH).unwrap();
    }
}

async fn containers_that_share_their_processes_see_each_other(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let main = "until busybox cat /proc/[0-9]*/cmdline 2> /dev/null | busybox tr '\\0' ' ' \
                | busybox grep -q '[s]leep 4321'; do busybox sleep 0.1; done; \
                echo seen; exec busybox sleep 1000";
    let sidecar = "exec busybox sleep 4321";
    let mut pod = world.pod(&[], &[("main", main), ("sidecar", sidecar)]);
    pod.security.share_processes = true;
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    world.until_log(1, "main", "seen\n").await;
    let [one, two] = world.hub.all_running(ID)[..] else { panic!("two containers") };
    let shared = namespace(one.pid, "pid");
    assert_eq!(shared, namespace(two.pid, "pid"));
    assert_ne!(shared, namespace(std::process::id(), "pid"));

    // A container that ends takes nobody with it, and comes back to the others; the agent's end is nothing to them.
    kill_9(two.pid as i32);
    world.until_again("sidecar", two.pid).await;
    world.device.kill();
    world.start();
    world
        .hub
        .until("it should find it", |hub| hub.told.iter().any(|l| l.contains("found 1 pods")))
        .await;
    let [same, again] = world.hub.all_running(ID)[..] else { panic!("two containers") };
    assert_eq!((same, namespace(again.pid, "pid")), (one, shared));
    world.until_gone().await;
}

/// A directory below `/dev` with one node, which goes with the test.
struct Nodes(PathBuf);

impl Nodes {
    fn new(name: &str) -> Self {
        let dir = Path::new("/dev").join(format!("lichen-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        node(&dir.join("fuse"), FUSE);
        Self(dir)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // The test has ended either way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn node(path: &Path, (major, minor): (u32, u32)) {
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(major, minor)).unwrap();
    assert!(fs::metadata(path).unwrap().file_type().is_char_device());
}

/// Opens the named one, and makes and opens another, `/dev/loop-control`, if it can.
const OPENS: &str = "(: < /named) && echo open; \
    (busybox mknod /other c 10 237 && : < /other) 2>/dev/null && echo other || echo no other";

async fn a_named_device_is_opened_and_no_other(runtime: &'static str) {
    let nodes = Nodes::new(&format!("{runtime}-file"));
    let mut world = World::new(runtime).await;
    for kind in [HostPathKind::CharDevice, HostPathKind::Any] {
        let pod = world.pod(&[], &[("main", &script(OPENS))]);
        let pod = with_volume(pod, "tty", host(&nodes.0.join("fuse"), kind), "/named", false);
        says(&mut world, pod, "open\nno other").await;
    }
    // Without it, not even by a node of its own.
    let words = "(busybox mknod /fuse c 10 229 && : < /fuse) 2>/dev/null || echo closed";
    let pod = world.pod(&[], &[("main", &script(words))]);
    says(&mut world, pod, "closed").await;
}

async fn the_devices_of_a_directory_are_opened(runtime: &'static str) {
    let nodes = Nodes::new(&format!("{runtime}-directory"));
    let mut world = World::new(runtime).await;
    let words = OPENS.replace("/named", "/nodes/fuse");
    let words = format!("{words}; (: > /nodes/fuse) 2>/dev/null && echo written || echo read");
    let pod = world.pod(&[], &[("main", &script(&words))]);
    let pod = with_volume(pod, "nodes", host(&nodes.0, HostPathKind::Directory), "/nodes", true);
    // Who may only read a mount may only read the devices in it, where a runtime has rules for devices.
    let writes = if runtime == "runc" { "read" } else { "written" };
    says(&mut world, pod, &format!("open\nno other\n{writes}")).await;
}

for_each_runtime! {
    runs_as_whom_the_manifest_says_with_its_volumes
    root_is_refused_where_it_is_not_wanted
    users_of_images_run_under_a_strict_umask
    a_restricted_container_has_no_rights
    a_privileged_container_has_all_of_them
    a_safe_sysctl_is_the_pods_alone
    the_devices_processes_and_ipc_are_seen_and_nothing_is_left
    containers_that_share_their_processes_see_each_other
    later_mounts_of_the_device_are_seen_where_the_manifest_says_so
    a_named_device_is_opened_and_no_other
    the_devices_of_a_directory_are_opened
}
