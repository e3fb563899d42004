//! What the tests apply: manifests, WebAssembly modules, and an image that umoci makes around busybox.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::programs::repository;

/// A preview 1 module that greets with `NAME` and then counts, one line per second.
#[must_use]
pub fn hello_module() -> PathBuf {
    repository("hub/wasmc/samples/hello.wat")
}

/// The same as a preview 2 command component.
#[must_use]
pub fn hello_component() -> PathBuf {
    repository("hub/wasmc/samples/hello-component.wat")
}

/// Prints its arguments and environment and ends.
#[must_use]
pub fn echo_module() -> PathBuf {
    repository("hub/wasmc/samples/echo.wat")
}

/// Says so and ends with exit code 7.
#[must_use]
pub fn exit_module() -> PathBuf {
    repository("hub/wasmc/samples/exit.wat")
}

/// Writes a module that sleeps and says nothing, for measurements of an idle device.
#[must_use]
pub fn quiet_module(dir: &Path) -> PathBuf {
    let path = dir.join("quiet.wat");
    fs::write(&path, QUIET).unwrap();
    path
}

/// A Deployment of a WebAssembly image.
#[must_use]
pub fn wasm_deployment(name: &str, image: &str, replicas: u32) -> Value {
    let mut deployment = deployment(name, image, replicas);
    deployment["spec"]["template"]["spec"]["runtimeClassName"] = json!("wasm");
    deployment
}

/// A Deployment of a container image.
#[must_use]
pub fn deployment(name: &str, image: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, image),
        },
    })
}

/// A DaemonSet of a container image.
#[must_use]
pub fn daemon_set(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, image),
        },
    })
}

/// A ConfigMap.
#[must_use]
pub fn config_map(name: &str, key: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {key: value},
    })
}

fn template(name: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "containers": [{"name": "main", "image": image}],
        },
    })
}

/// The Pod spec of a workload, to be changed by a test.
///
/// # Panics
/// If it has none.
pub fn pod_spec(workload: &mut Value) -> &mut Value {
    workload.pointer_mut("/spec/template/spec").unwrap()
}

/// Sets an environment variable of a workload's one container.
pub fn set_variable(workload: &mut Value, name: &str, value: &str) {
    pod_spec(workload)["containers"][0]["env"] = json!([{"name": name, "value": value}]);
}

/// Sets the command of a workload's one container.
pub fn set_command(workload: &mut Value, words: &[&str]) {
    pod_spec(workload)["containers"][0]["command"] = json!(words);
}

/// A shell line that counts ten lines per second, and ends at once when it is asked to.
pub const COUNT: &str = "trap 'echo bye; exit 0' TERM; echo hello from $NAME; i=0; \
     while :; do i=$((i+1)); echo $NAME: $i; sleep 0.1 & wait $!; done";

/// Makes an OCI layout with an image of busybox and its shell, as a stranger's tools make one.
///
/// # Panics
/// If umoci or busybox-static is not installed.
#[must_use]
pub fn busybox_layout(dir: &Path) -> PathBuf {
    try_busybox_layout(dir).unwrap_or_else(|why| panic!("{why}"))
}

/// As [`busybox_layout`].
///
/// # Errors
/// What is not installed, or what it said.
pub fn try_busybox_layout(dir: &Path) -> Result<PathBuf, String> {
    let root = dir.join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::create_dir_all(root.join("tmp")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox"))
        .map_err(|error| format!("busybox-static must be installed: {error}"))?;
    for applet in ["sh", "sleep", "cat", "httpd", "mount", "ls", "id", "hostname", "nc", "wget"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    let layout = dir.join("layout");
    let image = format!("{}:latest", layout.display());
    umoci(&["init", "--layout", layout.to_str().unwrap()])?;
    umoci(&["new", "--image", &image])?;
    umoci(&["insert", "--image", &image, root.to_str().unwrap(), "/"])?;
    umoci(&[
        "config",
        "--image",
        &image,
        "--config.entrypoint",
        "/bin/sh",
        "--config.entrypoint",
        "-c",
        "--config.cmd",
        COUNT,
        "--config.env",
        "NAME=busybox",
        "--config.env",
        "PATH=/bin",
    ])?;
    Ok(layout)
}

fn umoci(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("umoci").args(arguments).output();
    let output = output.map_err(|error| format!("umoci must be installed: {error}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("umoci {arguments:?}: {errors}")) }
}

/// Asks again and again for a timer of a day.
const QUIET: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $forever
      (i64.store (i32.const 64) (i64.const 1))
      (i32.store8 (i32.const 72) (i32.const 0))
      (i32.store (i32.const 80) (i32.const 1))
      (i64.store (i32.const 88) (i64.const 86400000000000))
      (i64.store (i32.const 96) (i64.const 0))
      (i32.store16 (i32.const 104) (i32.const 0))
      (drop (call $poll (i32.const 64) (i32.const 112) (i32.const 1) (i32.const 16)))
      (br $forever))))
"#;
