//! The parts that an assignment is made of, and putting them together: a body names Pods by the hashes of their parts, a
//! Pod names the files of its ConfigMap volumes, and what it needs of Secrets, in the same way. A part that is there is
//! shared, never asked for again. What is secret stays sealed here: it is opened by the shell, for a start.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use firmware_compat::{
    capacity::full as capacity,
    frame::{DecodeError, decode_body},
    id::Hash,
    v1::owned::{Assignment, ConfigData, Pod, ProjectedSource, Sealed, VolumeSource},
};

use super::{
    check::{CheckError, check, check_claims},
    hash,
};
use crate::spec::PodSpec;

/// A part, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// One Pod.
    Pod(Arc<Pod>),
    /// The files of a ConfigMap volume.
    Config(Arc<ConfigData>),
    /// What a Pod needs of a Secret, sealed.
    Sealed(Arc<Sealed>),
}

/// What a part is by what refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// An assignment refers to it.
    Pod,
    /// A volume refers to it.
    Config,
    /// A Pod's list of Secrets refers to it.
    Sealed,
}

/// Parts by the hashes of their bytes.
pub type Parts = BTreeMap<Hash, Part>;

impl PartKind {
    /// The longest that a part of this kind may be.
    pub fn max_bytes(self) -> usize {
        match self {
            Self::Pod => capacity::POD_BYTES,
            Self::Config => capacity::CONFIG_BYTES,
            Self::Sealed => capacity::SEALED_PART_BYTES,
        }
    }
}

impl Part {
    /// Reads a part from bytes that match its hash.
    pub fn read(kind: PartKind, bytes: &[u8]) -> Result<Self, PartError> {
        if bytes.len() > kind.max_bytes() {
            return Err(PartError::Long { length: bytes.len(), max: kind.max_bytes() });
        }
        let part = match kind {
            PartKind::Pod => Self::Pod(Arc::new(decode_body(bytes)?)),
            PartKind::Config => Self::Config(Arc::new(decode_body(bytes)?)),
            PartKind::Sealed => Self::Sealed(Arc::new(decode_body(bytes)?)),
        };
        // Its bytes are made again from what was read: they must be the same, or the hash would not be theirs.
        if part.bytes() == bytes { Ok(part) } else { Err(PartError::NotCanonical) }
    }

    /// Its bytes, over which its hash is.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let bytes = match self {
            Self::Pod(pod) => postcard::to_allocvec(&**pod),
            Self::Config(data) => postcard::to_allocvec(&**data),
            Self::Sealed(sealed) => postcard::to_allocvec(&**sealed),
        };
        bytes.expect("bounded fields encode")
    }

    fn length(&self) -> usize {
        let length = match self {
            Self::Pod(pod) => postcard::experimental::serialized_size(&**pod),
            Self::Config(data) => postcard::experimental::serialized_size(&**data),
            Self::Sealed(sealed) => postcard::experimental::serialized_size(&**sealed),
        };
        length.expect("bounded fields encode")
    }
}

/// Why a part is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    #[error("it is {length} bytes long, a part of its kind has at most {max}")]
    Long { length: usize, max: usize },
    #[error("it does not decode: {0}")]
    Decode(#[from] DecodeError),
    #[error("its bytes are not those that its content is written as")]
    NotCanonical,
}

/// Why parts do not make an assignment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    #[error("part {0} is missing or damaged")]
    Missing(Hash),
    #[error("with its parts it is {length} bytes long, this device takes {max}")]
    Long { length: usize, max: usize },
    #[error("{0}")]
    Check(#[from] CheckError),
}

/// What an assignment refers to, as far as the parts tell: those that are Pods in the order of the assignment, behind
/// each what it refers to. One that is referred to twice comes twice.
pub fn references<'a>(
    assignment: &'a Assignment,
    parts: &'a Parts,
) -> impl Iterator<Item = (Hash, PartKind)> + 'a {
    assignment.pods.iter().flat_map(|part| {
        let pod = match parts.get(part) {
            Some(Part::Pod(pod)) => Some(&**pod),
            Some(Part::Config(_) | Part::Sealed(_)) | None => None,
        };
        let below = pod.into_iter().flat_map(|pod| config(pod).chain(sealed(pod)));
        core::iter::once((*part, PartKind::Pod)).chain(below)
    })
}

fn config(pod: &Pod) -> impl Iterator<Item = (Hash, PartKind)> {
    pod.volumes.iter().flat_map(|volume| {
        let (one, more) = match &volume.source {
            VolumeSource::ConfigMap { data } => (Some(*data), &[][..]),
            VolumeSource::Projected { sources } => (None, &sources[..]),
            VolumeSource::EmptyDir { .. }
            | VolumeSource::HostPath { .. }
            | VolumeSource::Secret { .. }
            | VolumeSource::Claim(_) => (None, &[][..]),
        };
        let more = more.iter().filter_map(|source| match source {
            ProjectedSource::Files { data } => Some(*data),
            ProjectedSource::Secret { .. } | ProjectedSource::Fact { .. } => None,
        });
        one.into_iter().chain(more).map(|data| (data, PartKind::Config))
    })
}

fn sealed(pod: &Pod) -> impl Iterator<Item = (Hash, PartKind)> {
    pod.secrets.iter().map(|secret| (secret.data, PartKind::Sealed))
}

/// Makes the Pods of an assignment from its parts, and looks whether they could run.
pub fn assemble(
    assignment: &Assignment,
    parts: &Parts,
    max_bytes: usize,
) -> Result<Vec<PodSpec>, AssembleError> {
    let pods: Result<Vec<PodSpec>, _> =
        assignment.pods.iter().map(|part| assemble_pod(part, parts)).collect();
    let pods = pods?;
    let mut seen: Parts = BTreeMap::new();
    let mut length = 0_usize;
    for (hash, _) in references(assignment, parts) {
        if let Some(part) = parts.get(&hash).filter(|_| !seen.contains_key(&hash)) {
            length = length.saturating_add(part.length());
            seen.insert(hash, part.clone());
        }
    }
    if length > max_bytes {
        return Err(AssembleError::Long { length, max: max_bytes });
    }
    check(&pods)?;
    check_claims(&pods, &assignment.removed_claims)?;
    Ok(pods)
}

/// Those Pods of an assignment whose parts are there.
pub fn assemble_sound(assignment: &Assignment, parts: &Parts) -> Vec<PodSpec> {
    let all = assignment.pods.iter().filter_map(|part| assemble_pod(part, parts).ok());
    let pods: Vec<PodSpec> = all.collect();
    if check(&pods).is_ok() { pods } else { Vec::new() }
}

fn assemble_pod(part: &Hash, parts: &Parts) -> Result<PodSpec, AssembleError> {
    let Some(Part::Pod(pod)) = parts.get(part) else {
        return Err(AssembleError::Missing(*part));
    };
    let (mut files, mut secrets) = (BTreeMap::new(), BTreeMap::new());
    for (hash, kind) in config(pod).chain(sealed(pod)) {
        match (kind, parts.get(&hash)) {
            (PartKind::Config, Some(Part::Config(data))) => {
                files.insert(hash, Arc::clone(data));
            }
            (PartKind::Sealed, Some(Part::Sealed(sealed))) => {
                secrets.insert(hash, Arc::clone(sealed));
            }
            _ => return Err(AssembleError::Missing(hash)),
        }
    }
    Ok(PodSpec::new(Arc::clone(pod), files, secrets))
}

/// Reads, of bytes by hash, those that an assignment refers to. What is missing or can't be read is left out.
pub fn pick(assignment: &Assignment, bytes: &BTreeMap<Hash, Vec<u8>>) -> Parts {
    let read = |hash: &Hash, kind: PartKind| {
        let bytes = bytes.get(hash).filter(|bytes| super::hash(bytes) == *hash)?;
        Part::read(kind, bytes).ok()
    };
    let mut parts = Parts::new();
    for hash in &assignment.pods {
        parts.extend(read(hash, PartKind::Pod).map(|part| (*hash, part)));
    }
    let below: Vec<(Hash, PartKind)> =
        references(assignment, &parts).filter(|(_, kind)| *kind != PartKind::Pod).collect();
    for (hash, kind) in below {
        parts.extend(read(&hash, kind).map(|part| (hash, part)));
    }
    parts
}

/// The bytes of an assignment's body.
pub fn read_body(body: &[u8], expected: Hash) -> Result<Assignment, BodyError> {
    if hash(body) != expected {
        return Err(BodyError::Hash);
    }
    Ok(decode_body(body)?)
}

/// Why a body is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("its bytes do not match its hash")]
    Hash,
    #[error("it does not decode: {0}")]
    Decode(#[from] DecodeError),
}
