//! What runs during a soak. Each program leaves a line in a file of its workload when it begins.
//!
//! | names | changed by the operator | killed |
//! |---|---|---|
//! | `still-…` | no | no: the very same processes must run at the end |
//! | `hit-…` | no | yes |
//! | `turn-…` | yes | yes |

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::ledger::{Fields, Object};
use crate::samples::{config_map, daemon_set, deployment, pod_spec, set_command, set_variable};

/// The image of the containers.
pub const BOX: &str = "box:1";
/// The image of the WebAssembly programs.
pub const WASM: &str = "marker:1";
/// The ConfigMap that the changing Deployments have mounted.
pub const CONFIG: &str = "turn-config";
/// A device with this label set to `on` gets a Pod of the DaemonSet `turn-set`.
pub const LABEL: &str = "soak";

/// Says who it is and sleeps; ends at once when it is asked to.
const MARK: &str = "hostname >> /marks/began || exit 9; trap 'exit 0' TERM; \
     while :; do sleep 5 & wait $!; done";

/// Sleeps, and ends at once when it is asked to.
const STAY: &str = "trap 'exit 0' TERM; while :; do sleep 5 & wait $!; done";

/// A workload of the soak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// Plural of its kind.
    pub kind: &'static str,
    /// Whether it is WebAssembly.
    pub wasm: bool,
    /// Pods at first; 0 for a DaemonSet, which has one on every device that it chooses.
    pub replicas: u32,
}

impl Workload {
    const fn new(name: &'static str, kind: &'static str, wasm: bool, replicas: u32) -> Self {
        Self { name, kind, wasm, replicas }
    }

    /// Whether the operator changes it.
    #[must_use]
    pub fn turns(&self) -> bool {
        self.name.starts_with("turn-")
    }
}

/// All workloads.
pub const ALL: [Workload; 7] = [
    Workload::new("still-wasm", "deployments", true, 2),
    Workload::new("still-box", "daemonsets", false, 0),
    Workload::new("hit-wasm", "deployments", true, 3),
    Workload::new("hit-box", "deployments", false, 3),
    Workload::new("turn-wasm", "deployments", true, 2),
    Workload::new("turn-box", "deployments", false, 2),
    Workload::new("turn-set", "daemonsets", false, 0),
];

/// Whether a Pod of this name may be killed.
#[must_use]
pub fn may_be_killed(pod: &str) -> bool {
    !pod.starts_with("still-")
}

/// A workload's manifest. `marks` is the directory of the files that its programs write to.
///
/// # Panics
/// If the directory cannot be made.
#[must_use]
pub fn manifest(workload: &Workload, turn: u32, replicas: u32, marks: &Path) -> Value {
    let image = if workload.wasm { WASM } else { BOX };
    let mut object = match workload.kind {
        "daemonsets" => daemon_set(workload.name, image),
        _ => deployment(workload.name, image, replicas),
    };
    set_variable(&mut object, "TURN", &turn.to_string());
    let dir = marks.join(workload.name);
    fs::create_dir_all(&dir).unwrap();
    let mut volumes =
        vec![json!({"name": "marks", "hostPath": {"path": dir, "type": "Directory"}})];
    // The module looks for its file in the first directory that it is given.
    let mut mounts = vec![json!({"name": "marks", "mountPath": "/marks"})];
    if workload.turns() && workload.kind == "deployments" {
        volumes.push(json!({"name": "config", "configMap": {"name": CONFIG}}));
        mounts.push(json!({"name": "config", "mountPath": "/config"}));
    }
    if workload.wasm {
        pod_spec(&mut object)["runtimeClassName"] = json!("wasm");
    } else {
        set_command(&mut object, &["/bin/sh", "-c", MARK]);
    }
    let spec = pod_spec(&mut object);
    spec["volumes"] = json!(volumes);
    spec["containers"][0]["volumeMounts"] = json!(mounts);
    if workload.name == "turn-box" {
        // A Pod of several containers. Those beside the first leave no line.
        spec["initContainers"] =
            json!([{"name": "first", "image": BOX, "command": ["/bin/sh", "-c", "exit 0"]}]);
        let beside = json!({"name": "beside", "image": BOX, "command": ["/bin/sh", "-c", STAY]});
        spec["containers"].as_array_mut().expect("a list").push(beside);
    }
    if workload.name == "turn-set" {
        spec["nodeSelector"] = json!({LABEL: "on"});
    }
    object
}

/// A ConfigMap that says its turn.
#[must_use]
pub fn config(name: &str, turn: u32) -> Value {
    config_map(name, "turn", &turn.to_string())
}

/// What the ledger knows of an object that the API shows.
#[must_use]
pub fn fields(object: &Object, shown: &Value) -> Fields {
    let text = |pointer: &str| match shown.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    match object.kind {
        "deployments" => Fields::from([
            ("turn", text("/spec/template/spec/containers/0/env/0/value")),
            ("replicas", text("/spec/replicas")),
        ]),
        "daemonsets" => {
            Fields::from([("turn", text("/spec/template/spec/containers/0/env/0/value"))])
        }
        "configmaps" => Fields::from([("turn", text("/data/turn"))]),
        _ => Fields::from([("label", text("/metadata/labels/soak"))]),
    }
}

/// The lines that the programs of a workload have left.
#[must_use]
pub fn marks(marks: &Path, workload: &str) -> Vec<String> {
    let text = fs::read_to_string(marks.join(workload).join("began")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Writes the module that leaves a line and sleeps.
///
/// # Panics
/// If it cannot be written.
#[must_use]
pub fn marker_module(dir: &Path) -> PathBuf {
    let path = dir.join("marker.wat");
    fs::write(&path, MARKER).unwrap();
    path
}

/// Appends a line to `began` in its first directory (descriptor 3), and then asks again and again for a timer of a day.
/// It ends with code 9 if it cannot write.
const MARKER: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "began")
  (data (i32.const 264) "began\n")
  (func (export "_start")
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 256) (i32.const 5)
          (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 1) (i32.const 0))
      (then (call $exit (i32.const 9))))
    (i32.store (i32.const 8) (i32.const 264))
    (i32.store (i32.const 12) (i32.const 6))
    (if (call $write (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 16))
      (then (call $exit (i32.const 9))))
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
