//! The configuration of a packed image, in the image specification's spelling and in a fixed order of fields.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Options;
use crate::{Digest, Platform};

/// The image is the same whenever it is made.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// Renders the configuration as JSON.
pub(super) fn render(
    platform: &Platform,
    diff_id: Digest,
    entrypoint: &[String],
    options: &Options,
) -> Vec<u8> {
    let run = Run {
        user: options.user.as_deref(),
        env: options.env.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        entrypoint,
        cmd: &options.args,
        working_dir: options.workdir.as_deref(),
        labels: &options.labels,
    };
    let config = Config {
        created: CREATED,
        architecture: &platform.architecture,
        variant: platform.variant.as_deref(),
        os: &platform.os,
        config: run,
        rootfs: RootFs { r#type: "layers", diff_ids: [diff_id] },
        history: [History { created: CREATED, created_by: "lichen image pack" }],
    };
    serde_json::to_vec(&config).expect("a plain structure is always JSON")
}

#[derive(Serialize)]
struct Config<'a> {
    created: &'static str,
    architecture: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    os: &'a str,
    config: Run<'a>,
    rootfs: RootFs,
    history: [History; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Run<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cmd: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: [Digest; 1],
}

#[derive(Serialize)]
struct History {
    created: &'static str,
    created_by: &'static str,
}
