//! The whole way with real programs: an image made by umoci around busybox, unpacked here, run by crun and runc.
//!
//! Run by `make test` as root, with crun, runc, umoci and busybox-static installed.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lichen_oci::bundle::{Overlay, RunDir};
use lichen_oci::config::{
    CgroupVersion, ContainerSpec, Mount, MountSource, Network, Propagation, Resources,
    runtime_config,
};
use lichen_oci::etc::Names;
use lichen_oci::image::{Image, read_image, read_manifest};
use lichen_oci::layers::{LayerStore, Limits};
use lichen_oci::runtime::{Found, Search, find};
use lichen_oci::user::{UserFiles, look_up};
use lichen_oci::{Digest, image::ImageError};

/// Runs a program to its end; a failure shows what it said.
fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} must be installed: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    output
}

/// An OCI layout with a busybox image of three layers: files, then whiteouts, then files again.
fn build_layout(scratch: &Path) -> PathBuf {
    let layout = scratch.join("layout");
    let image = format!("{}:test", layout.display());
    let text = |path: &Path| path.display().to_string();
    run("umoci", &["init", "--layout", &text(&layout)]);
    run("umoci", &["new", "--image", &image]);
    let insert = |name: &str, prepare: &dyn Fn(&Path)| {
        let directory = scratch.join(name);
        fs::create_dir_all(&directory).expect("directory");
        prepare(&directory);
        run("umoci", &["insert", "--image", &image, &text(&directory), "/"]);
    };
    insert("base", &|root| {
        for directory in ["bin", "etc", "gone", "kept", "emptied", "tmp"] {
            fs::create_dir(root.join(directory)).expect("directory");
        }
        fs::copy("/bin/busybox", root.join("bin/busybox"))
            .expect("busybox-static must be installed");
        for applet in ["sh", "cat", "ls", "id", "sleep", "stat", "mknod", "hostname", "unshare"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("applet");
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:\napp:x:1000:100::/:\n").expect("passwd");
        fs::write(root.join("etc/group"), "root:x:0:\ndialout:x:20:app\n").expect("group");
        for file in ["gone/a", "kept/a", "kept/b", "emptied/old"] {
            fs::write(root.join(file), "base").expect("file");
        }
        fs::hard_link(root.join("kept/a"), root.join("kept/hard")).expect("hard link");
    });
    run("umoci", &["insert", "--image", &image, "--whiteout", "/gone"]);
    run("umoci", &["insert", "--image", &image, "--whiteout", "/kept/b"]);
    let fresh = scratch.join("fresh");
    fs::create_dir_all(&fresh).expect("directory");
    fs::write(fresh.join("new"), "fresh").expect("file");
    run("umoci", &["insert", "--image", &image, "--opaque", &text(&fresh), "/emptied"]);
    run(
        "umoci",
        &[
            "config",
            "--image",
            &image,
            "--config.entrypoint",
            "/bin/sh",
            "--config.user",
            "app",
            "--config.env",
            "FROM=image",
            "--config.workingdir",
            "/kept",
        ],
    );
    layout
}

fn blob(layout: &Path, digest: &Digest) -> PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

fn read_layout(layout: &Path) -> Result<Image, ImageError> {
    let index = fs::read(layout.join("index.json")).expect("index");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("index");
    let digest = index["manifests"][0]["digest"].as_str().expect("digest");
    let digest = Digest::parse(digest).expect("digest");
    let manifest = read_manifest(&fs::read(blob(layout, &digest)).expect("manifest"))?;
    read_image(&manifest, &fs::read(blob(layout, &manifest.config)).expect("config"))
}

/// An unpacked image and a runtime that was found by trying.
struct Device {
    scratch: tempfile::TempDir,
    image: Image,
    store: LayerStore,
    found: Found,
}

impl Device {
    fn new(runtime: &str) -> Self {
        let scratch = tempfile::tempdir().expect("scratch");
        let layout = build_layout(scratch.path());
        let image = read_layout(&layout).expect("image");
        let store = LayerStore::open(scratch.path().join("layers")).expect("store");
        for layer in &image.layers {
            let file = fs::File::open(blob(&layout, &layer.digest)).expect("blob");
            let unpacked = store.unpack(file, layer.compression, &layer.diff_id, Limits::default());
            unpacked.expect("unpacked");
        }
        let found = find_one(runtime, scratch.path());
        Self { scratch, image, store, found }
    }

    fn spec(&self, id: &str, script: &str) -> ContainerSpec {
        let lowers = self.store.lowers(&self.image);
        let user = look_up(&self.image.config.user, &UserFiles::read(&lowers)).expect("user");
        // Unique on the machine: the cgroup has this name.
        let id = format!("{id}-{}-{}", self.found.name, std::process::id());
        ContainerSpec {
            cgroup: id.clone(),
            id,
            hostname: "busy-0".to_owned(),
            args: vec!["-c".to_owned(), script.to_owned()],
            user,
            ..ContainerSpec::default()
        }
    }

    fn lay_out(&self, spec: &mut ContainerSpec) -> (RunDir, Overlay) {
        let run = RunDir::new(self.scratch.path().join("run").join(&spec.id));
        run.create().expect("run directory");
        let etc = self.scratch.path().join("etc").join(&spec.id);
        let names = Names { hostname: spec.hostname.clone(), ..Names::default() };
        spec.etc = lichen_oci::etc::write(&etc, &spec.network, &names).expect("etc");
        let config = runtime_config(spec, &self.image.config, &self.found.host());
        run.write_config(&config.expect("config")).expect("config.json");
        let overlay = run.overlay(self.store.lowers(&self.image));
        (run, overlay)
    }

    /// What the shim does, in a shell: own mounts, overlay, runtime.
    fn command(&self, id: &str, run: &RunDir, overlay: &Overlay) -> Command {
        let lower: Vec<_> = overlay.lower.iter().map(|path| path.display().to_string()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.join(":"),
            overlay.upper.display(),
            overlay.work.display()
        );
        let cgroup2 =
            if self.found.private_cgroup2 { "mount -t cgroup2 none /sys/fs/cgroup;" } else { "" };
        let script = format!(
            "set -e; {cgroup2} mount -t overlay -o \"$1\" overlay \"$2\"; shift 2; exec \"$@\""
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, "sh", &options]).arg(&overlay.target);
        command.arg(&self.found.path).args(&self.found.args).arg("--root");
        command.arg(self.scratch.path().join("state")).args(["run", "--bundle"]);
        command.arg(run.bundle()).arg(id).stdin(Stdio::null());
        command
    }

    /// Runs a script in a container: its exit code and output.
    fn run(&self, mut spec: ContainerSpec) -> (Option<i32>, String) {
        let (run, overlay) = self.lay_out(&mut spec);
        let output = self.command(&spec.id, &run, &overlay).output().expect("unshare");
        run.remove().expect("removed");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }
}

fn find_one(runtime: &str, scratch: &Path) -> Found {
    let findings = find(&Search {
        forced: Some(runtime.to_owned()),
        path: std::env::var_os("PATH"),
        scratch: scratch.join("trials"),
        exhaustive: false,
    });
    findings.best().unwrap_or_else(|| panic!("{}", findings.why_none())).clone()
}

/// What a container sees, checked line by line with each runtime.
fn check_view(runtime: &str) {
    let device = Device::new(runtime);
    let script = "\
        cd /; ls -d /gone /kept/b /emptied/old 2>/dev/null; ls /emptied /kept
        cat /kept/hard; echo; id -u; id -G; hostname; cat /etc/hostname; echo $FROM $OWN $PATH
        ls /proc/1/fd >/dev/null && echo proc; stat -c %A /tmp; cat /data/file; cat /conf/file
        (echo x >/conf/file) 2>/dev/null || echo conf-read-only; echo x >/data/file && echo data-written
        exit 7";
    let mut spec = device.spec("view", script);
    spec.env = vec![("OWN".to_owned(), "$(OTHER)".to_owned())];
    let volume = |name: &str, read_only| {
        let directory = device.scratch.path().join(name);
        fs::create_dir_all(&directory).expect("volume");
        fs::write(directory.join("file"), format!("{name}\n")).expect("file");
        std::os::unix::fs::chown(directory.join("file"), Some(1000), None).expect("chown");
        Mount {
            source: MountSource::Volume(directory),
            target: format!("/{name}"),
            read_only,
            propagation: Propagation::Private,
        }
    };
    spec.mounts = vec![volume("data", false), volume("conf", true)];
    let (code, text) = device.run(spec);
    let expected = "\
/emptied:
new

/kept:
a
hard
base
1000
100 20
busy-0
busy-0
image $(OTHER) /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
proc
drwxr-xr-x
data
conf
conf-read-only
data-written
";
    assert_eq!((text.as_str(), code), (expected, Some(7)));
    assert_eq!(fs::read_to_string(device.scratch.path().join("data/file")).expect("data"), "x\n");
}

#[test]
#[ignore = "needs root, crun, umoci and busybox-static: run by make test"]
fn crun_shows_the_image_as_its_layers_say() {
    check_view("crun");
}

#[test]
#[ignore = "needs root, runc, umoci and busybox-static: run by make test"]
fn runc_shows_the_image_as_its_layers_say() {
    check_view("runc");
}

/// A container as root is held back by the filter, the capabilities and the read-only places.
fn check_confinement(runtime: &str) {
    let device = Device::new(runtime);
    let script = "\
        id -u; unshare -U true 2>/dev/null || echo no-namespaces
        (echo 1 >/proc/sys/kernel/panic) 2>/dev/null || echo no-sysctl
        mknod /tmp/disk b 8 0 2>/dev/null && cat /tmp/disk >/dev/null 2>&1 && echo disk-read
        (echo x >/file) 2>/dev/null || echo read-only-root; ls /sys/class/net";
    let mut spec = device.spec("confined", script);
    spec.user = Default::default();
    spec.read_only_root = true;
    let (code, text) = device.run(spec);
    assert!(device.found.seccomp, "this machine's runtimes have seccomp");
    let expected = "0\nno-namespaces\nno-sysctl\nread-only-root\nlo\n";
    assert_eq!((text.as_str(), code), (expected, Some(0)));
}

#[test]
#[ignore = "needs root, crun, umoci and busybox-static: run by make test"]
fn crun_confines_a_container_that_runs_as_root() {
    check_confinement("crun");
}

#[test]
#[ignore = "needs root, runc, umoci and busybox-static: run by make test"]
fn runc_confines_a_container_that_runs_as_root() {
    check_confinement("runc");
}

#[test]
#[ignore = "needs root, runc, umoci and busybox-static: run by make test"]
fn host_network_shows_the_devices_own_names_and_interfaces() {
    let device = Device::new("runc");
    let mut spec = device.spec("hostnet", "hostname; ls /sys/class/net; cat /etc/hosts");
    spec.network = Network::Host;
    let (code, text) = device.run(spec);
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    let mut links: Vec<_> = fs::read_dir("/sys/class/net")
        .expect("interfaces")
        .map(|link| link.expect("interface").file_name().into_string().expect("name"))
        .collect();
    links.sort();
    let hosts = fs::read_to_string("/etc/hosts").expect("hosts");
    assert_eq!(text, format!("{name}{}\n{hosts}", links.join("\n")));
    assert_eq!(code, Some(0));
}

#[test]
#[ignore = "needs root, runc, umoci and busybox-static, and cgroups that runc can use: run by make test"]
fn limits_stand_in_the_cgroup_files_while_the_container_runs() {
    let device = Device::new("runc");
    assert!(device.found.limits_enforced, "{:?}", device.found.limits_problem);
    let mut spec = device.spec("limits", "echo ready; exec sleep 600");
    spec.resources = Resources {
        cpu_request_milli: Some(500),
        cpu_limit_milli: Some(250),
        memory_limit_bytes: Some(32 << 20),
        pids_limit: Some(33),
    };
    let (run, overlay) = device.lay_out(&mut spec);
    let mut command = device.command(&spec.id, &run, &overlay);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("unshare");
    let mut ready = [0; 6];
    child.stdout.as_mut().expect("output").read_exact(&mut ready).expect("ready");
    let cgroup = format!("lichen/{}", spec.id);
    let read = |v1: &str, v2: &str| {
        let path = match device.found.cgroup {
            CgroupVersion::V2 => format!("/sys/fs/cgroup/{cgroup}/{v2}"),
            _ => {
                let (controller, file) = v1.split_once('/').expect("controller/file");
                format!("/sys/fs/cgroup/{controller}/{cgroup}/{file}")
            }
        };
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        text.split_whitespace().next().map(str::to_owned)
    };
    let values = [
        read("memory/memory.limit_in_bytes", "memory.max"),
        read("pids/pids.max", "pids.max"),
        read("cpu/cpu.cfs_quota_us", "cpu.max"),
    ];
    // The runtime, and with it this child, ends with the container.
    let state = device.scratch.path().join("state").display().to_string();
    run_runtime(&device, &["--root", &state, "kill", &spec.id, "KILL"]);
    child.wait().expect("ended");
    run.remove().expect("removed");
    assert_eq!(values.map(|value| value.expect("a value")), ["33554432", "33", "25000"]);
}

fn run_runtime(device: &Device, arguments: &[&str]) {
    run(&device.found.path.display().to_string(), arguments);
}
