//! What a Pod and its containers do.

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::meta::Condition;

/// What a Pod does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// CamelCase reason for a phase other than running.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The reason, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// `PodScheduled`, `Initialized`, `ContainersReady`, `Ready`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The device's address, where known.
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
    /// When its device first said that something of it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// One per init container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_container_statuses: Vec<ContainerStatus>,
    /// One per container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_statuses: Vec<ContainerStatus>,
}

/// What a container does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// The container's name.
    pub name: String,
    /// Whether it runs and is of use; of an init container, whether it ended with code 0.
    pub ready: bool,
    /// How often it was started again.
    pub restart_count: u32,
    /// The image as declared.
    pub image: String,
    /// The image's digest.
    #[serde(rename = "imageID")]
    pub image_id: String,
    /// Now.
    pub state: ContainerState,
    /// Before.
    #[serde(skip_serializing_if = "ContainerState::is_empty")]
    pub last_state: ContainerState,
    /// Whether it runs and has come up.
    pub started: bool,
}

/// One of waiting, running, terminated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// It does not run yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// It runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// It ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated: Option<Terminated>,
}

impl ContainerState {
    /// What a container that does not run has to say, in one word.
    pub(super) fn word(&self) -> Option<String> {
        if let Some(waiting) = &self.waiting {
            return Some(waiting.reason.clone()).filter(|reason| !reason.is_empty());
        }
        let ended = self.terminated.as_ref()?;
        if ended.reason.is_empty() {
            return Some(format!("ExitCode:{}", ended.exit_code));
        }
        Some(ended.reason.clone())
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_none() && self.running.is_none() && self.terminated.is_none()
    }
}

/// Why a container does not run yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// CamelCase.
    pub reason: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Since when a container runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Running {
    /// RFC 3339, by the device's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    /// Exit code; 128 plus the signal's number if a signal ended it.
    pub exit_code: i32,
    /// CamelCase.
    pub reason: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// RFC 3339, by the device's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339, by the device's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
}
