//! Picks this device's manifest out of a multi-platform image index (Docker calls it a manifest list).
//!
//! An index is needed only when an image is pulled straight from a registry; the hub resolves platforms itself.

use serde::Deserialize;

use crate::Digest;
use crate::image::{ImageError, bound, read_json};

/// Most entries in an index; the largest public ones have about 30.
pub const MAX_ENTRIES: usize = 256;

const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Whether the media type is that of an index rather than a manifest.
pub fn is_index(media_type: &str) -> bool {
    INDEX_TYPES.contains(&media_type)
}

/// The digest of the manifest for `linux/<architecture>`. `variant` (for example `v7`) is the best that the device
/// runs: an equal one is preferred, then the highest below it, then an entry without a variant.
pub fn pick(bytes: &[u8], architecture: &str, variant: Option<&str>) -> Result<Digest, ImageError> {
    let index: RawIndex = read_json("index", bytes)?;
    bound("index's number of entries", index.manifests.len(), MAX_ENTRIES)?;
    let fits = |entry: &&RawEntry| {
        entry.platform.as_ref().is_some_and(|platform| {
            platform.os == "linux"
                && platform.architecture == architecture
                && level(platform.variant.as_deref())
                    <= variant.map_or(u32::MAX, |v| level(Some(v)))
        })
    };
    let rank = |entry: &&RawEntry| {
        level(entry.platform.as_ref().and_then(|platform| platform.variant.as_deref()))
    };
    // The first of equals wins, as the specification asks; `max_by_key` alone would take the last.
    match index.manifests.iter().rev().filter(fits).max_by_key(rank) {
        Some(entry) => Ok(Digest::parse(&entry.digest)?),
        None => Err(ImageError::NoPlatform {
            wanted: format!(
                "{architecture}{}",
                variant.map(|v| format!("/{v}")).unwrap_or_default()
            ),
            offered: offered(&index),
        }),
    }
}

/// `v7` is 7; no variant is 0, below all others.
fn level(variant: Option<&str>) -> u32 {
    variant.and_then(|v| v.strip_prefix('v')).and_then(|v| v.parse().ok()).unwrap_or(0)
}

fn offered(index: &RawIndex) -> String {
    let names = index.manifests.iter().filter_map(|entry| entry.platform.as_ref());
    let names = names.filter(|platform| platform.os != "unknown").take(12).map(|platform| {
        let variant = platform.variant.as_deref().map(|v| format!("/{v}")).unwrap_or_default();
        let name = format!("{}/{}{variant}", platform.os, platform.architecture);
        name.chars().take(40).collect::<String>()
    });
    let names: Vec<_> = names.collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

#[derive(Deserialize)]
struct RawIndex {
    manifests: Vec<RawEntry>,
}

#[derive(Deserialize)]
struct RawEntry {
    digest: String,
    platform: Option<RawPlatform>,
}

#[derive(Deserialize)]
struct RawPlatform {
    architecture: String,
    os: String,
    variant: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> String {
        let entry = |fill: u8, os: &str, arch: &str, variant: &str| {
            format!(
                r#"{{"mediaType":"m","size":1,"digest":"{}","platform":{{"os":"{os}","architecture":"{arch}"{variant}}}}}"#,
                Digest::from_bytes([fill; 32])
            )
        };
        let entries = [
            entry(1, "linux", "amd64", ""),
            entry(2, "linux", "arm", r#","variant":"v6""#),
            entry(3, "linux", "arm", r#","variant":"v7""#),
            entry(4, "linux", "amd64", ""),
            entry(5, "unknown", "unknown", ""),
        ];
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
    }

    #[test]
    fn the_best_fitting_platform_is_picked() {
        let pick = |arch, variant| {
            pick(index().as_bytes(), arch, variant).map(|digest| digest.as_bytes()[0]).ok()
        };
        assert_eq!(pick("amd64", None), Some(1));
        assert_eq!(pick("arm", Some("v7")), Some(3));
        assert_eq!(pick("arm", Some("v6")), Some(2));
        assert_eq!(pick("arm", None), Some(3));
        assert_eq!(pick("arm", Some("v5")), None);
    }

    #[test]
    fn a_missing_platform_lists_what_there_is() {
        let error = pick(index().as_bytes(), "riscv64", None).expect_err("refused").to_string();
        assert_eq!(
            error,
            "image has no variant for linux/riscv64; it offers linux/amd64, linux/arm/v6, linux/arm/v7, linux/amd64"
        );
    }
}
