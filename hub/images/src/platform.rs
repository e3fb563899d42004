//! Platforms, with the names that OCI, Kubernetes and Go share: `amd64`, `arm64`, `arm/v7`, `riscv64`.

use core::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Operating system, processor architecture and variant, as an index or a device gives them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, `arm`, `riscv64`, `wasm`…
    pub architecture: String,
    /// `linux`; for Wasm `wasip1` or `wasip2`.
    #[serde(default)]
    pub os: String,
    /// `v7` and its like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("platform {0:?} is not one of amd64, arm64, arm/v7, riscv64 (or linux/<that>)")]
pub struct PlatformError(String);

impl Platform {
    /// Linux on this architecture and variant, normalised.
    pub fn linux(architecture: &str, variant: Option<&str>) -> Self {
        Self {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: variant.map(str::to_owned),
        }
        .normalised()
    }

    /// One spelling for each platform: other names of an architecture are replaced, `arm` alone means `v7`, and the
    /// variant that every processor of the architecture has (`arm64/v8`, `amd64/v1`) is left out.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        let (architecture, implied) = match self.architecture.as_str() {
            "x86_64" | "x86-64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "armhf" | "armv7" | "armv7l" => ("arm", Some("v7")),
            "armel" | "armv6" | "armv6l" => ("arm", Some("v6")),
            "i386" | "i686" => ("386", None),
            other => (other, None),
        };
        let variant = match (architecture, self.variant.as_deref().or(implied)) {
            ("arm64", Some("v8" | "8" | "")) | ("amd64", Some("v1" | "")) => None,
            ("arm", None | Some("" | "7")) => Some("v7"),
            ("arm", Some("6")) => Some("v6"),
            (_, Some("")) => None,
            (_, variant) => variant,
        };
        (self.architecture, self.variant) = (architecture.to_owned(), variant.map(str::to_owned));
        if self.os.is_empty() {
            "linux".clone_into(&mut self.os);
        }
        self
    }

    /// How well a build for `offered` suits this device: `None` if it doesn't run here, else the higher the better.
    pub fn suits(&self, offered: &Platform) -> Option<u32> {
        let (device, offered) = (self.clone().normalised(), offered.clone().normalised());
        if device.os != offered.os || device.architecture != offered.architecture {
            return None;
        }
        // Newer processors of a family run what was built for older ones.
        let base = if device.architecture == "arm64" { 8 } else { 1 };
        let level = |platform: &Platform| match &platform.variant {
            None => Some(base),
            Some(variant) => variant.strip_prefix('v')?.parse::<u32>().ok(),
        };
        match (level(&device), level(&offered)) {
            (Some(has), Some(needs)) => (needs <= has).then_some(needs),
            _ => (device.variant == offered.variant).then_some(0),
        }
    }

    /// Whether this marks something that is not a build for any device, such as an attestation.
    pub fn is_unknown(&self) -> bool {
        self.architecture == "unknown" || self.os == "unknown"
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !matches!(self.os.as_str(), "linux" | "") {
            write!(f, "{}/", self.os)?;
        }
        f.write_str(&self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError(text.chars().take(60).collect());
        let well_formed = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > 3 || !parts.iter().all(well_formed) {
            return Err(error());
        }
        let is_system = |part: &str| matches!(part, "linux" | "wasip1" | "wasip2");
        let platform = match parts.as_slice() {
            // It would be written as `linux/<variant>`, which means something else.
            [_, architecture, ..] | [architecture] if is_system(architecture) => {
                return Err(error());
            }
            [os, architecture, rest @ ..] if is_system(os) => {
                Self { os: (*os).to_owned(), ..Self::linux(architecture, rest.first().copied()) }
            }
            [architecture] => Self::linux(architecture, None),
            [architecture, variant] => Self::linux(architecture, Some(variant)),
            _ => return Err(error()),
        };
        Ok(platform)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().expect(text)
    }

    #[test]
    fn every_spelling_has_one_normal_form() {
        let check = |text: &str, normal: &str| assert_eq!(platform(text).to_string(), normal);
        check("x86_64", "amd64");
        check("linux/amd64", "amd64");
        check("aarch64", "arm64");
        check("arm64/v8", "arm64");
        check("arm", "arm/v7");
        check("armhf", "arm/v7");
        check("linux/arm/v6", "arm/v6");
        check("wasip1/wasm", "wasip1/wasm");
        for wrong in
            ["", "/", "a/b/c", "linux/", "linux/arm/v7/x", "amd 64", "linux/linux/v7", "linux"]
        {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_device_runs_its_own_and_older_variants() {
        let check = |device: &str, offered: &str, runs: bool| {
            let suits = platform(device).suits(&platform(offered));
            assert_eq!(suits.is_some(), runs, "{offered} on {device}");
        };
        check("arm/v7", "arm/v6", true);
        check("arm/v6", "arm/v7", false);
        check("arm64", "arm64/v8", true);
        check("arm64", "arm64/v9", false);
        check("arm64", "arm/v7", false);
        check("amd64", "amd64/v3", false);
        check("amd64/v3", "amd64", true);
        check("amd64", "wasip1/wasm", false);
        let best = platform("arm/v7").suits(&platform("arm/v7"));
        assert!(best > platform("arm/v7").suits(&platform("arm/v6")));
    }
}
