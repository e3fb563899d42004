//! Levels and versions, and the labels of namespaces that say them.

use alloc::format;
use core::fmt;

use crate::api::{meta::Map, validate::Errors};

/// What all of these labels begin with.
const PREFIX: &str = "pod-security.kubernetes.io/";

/// What becomes of a Pod that is over the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is refused.
    Enforce,
    /// The audit log notes it.
    Audit,
    /// Whoever asked is warned.
    Warn,
}

/// What Pods may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    Privileged,
    /// Nothing that is known to lead out of a container.
    Baseline,
    /// What good practice allows.
    Restricted,
}

/// Rules of a version of Kubernetes: the minor number of `v1.N`. Later ones are stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32);

impl Version {
    /// All rules.
    pub const LATEST: Self = Self(u32::MAX);

    fn parse(text: &str) -> Option<Self> {
        match text {
            "latest" => Some(Self::LATEST),
            _ => {
                let minor = text.strip_prefix("v1.")?;
                let plain = minor.bytes().all(|b| b.is_ascii_digit())
                    && (minor == "0" || !minor.starts_with('0'));
                minor.parse().ok().filter(|_| plain).map(Self)
            }
        }
    }
}

/// A level by the rules of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The level.
    pub level: Level,
    /// The version.
    pub version: Version,
}

impl Policy {
    /// What a namespace's labels say for a mode. What they do not say is Kubernetes' default.
    #[must_use]
    pub fn of(labels: &Map, mode: Mode) -> Self {
        let name = mode.label();
        let level = labels.get(&format!("{PREFIX}{name}")).and_then(|text| Level::parse(text));
        let version =
            labels.get(&format!("{PREFIX}{name}-version")).and_then(|text| Version::parse(text));
        Self {
            level: level.unwrap_or(Level::Privileged),
            version: version.unwrap_or(Version::LATEST),
        }
    }
}

impl fmt::Display for Policy {
    /// `restricted:latest`, `baseline:v1.28`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.level.word();
        match self.version {
            Version::LATEST => write!(f, "{level}:latest"),
            Version(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

impl Mode {
    fn label(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
            Self::Warn => "warn",
        }
    }
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Privileged, Self::Baseline, Self::Restricted];
        all.into_iter().find(|level| level.word() == text)
    }
}

/// Refuses labels that say no level and no version: a slip there would let everything in.
pub fn check_labels(labels: &Map, errors: &mut Errors) {
    for (key, value) in labels {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let field = format!("metadata.labels[{key}]");
        match name {
            "enforce" | "audit" | "warn" if Level::parse(value).is_none() => errors.add(
                field,
                format!("\"{value}\" must be one of privileged, baseline, restricted"),
            ),
            "enforce-version" | "audit-version" | "warn-version"
                if Version::parse(value).is_none() =>
            {
                errors.add(field, format!("\"{value}\" must be \"latest\" or \"v1.x\""));
            }
            "enforce" | "audit" | "warn" | "enforce-version" | "audit-version" | "warn-version" => {}
            _ => errors.add(
                field,
                "there is no such label; known are enforce, audit and warn, each also with -version",
            ),
        }
    }
}
