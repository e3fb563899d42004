//! What may go wrong with keys and certificates.

use std::path::PathBuf;

use crate::{files::FileError, identity::Unreadable};

/// Why something can't be issued, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The disk refuses.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not what it was.
    #[error(
        "{} is damaged; put it back from a backup (`lichen hub restore`): every device trusts what is in it",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A file is gone and others that need it are there.
    #[error(
        "{} is missing, and the certificates beside it were made with it; put it back from a backup (`lichen hub restore`)",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A change of keys is under way.
    #[error(
        "the hub's {0} is being changed already, and devices know two at most; until when: lichen hub trust"
    )]
    Rotating(&'static str),
    /// A certificate signing request is not one.
    #[error("the certificate signing request can't be used: {0}")]
    Csr(&'static str),
    /// A name or address can't be in a certificate.
    #[error("{0:?} can't be in a certificate: write a DNS name or an IP address, without port")]
    Name(String),
    /// A name that would let a broker pass for the hub.
    #[error(
        "{0:?} is this hub's own name, and a broker with a certificate for it could be taken for the hub; leave it out: hub \
         and devices know their broker by the name lichen-broker, wherever it is"
    )]
    OwnName(String),
    /// What was given as a key of Secrets is none.
    #[error("{from} holds no key of Secrets: {cause}; make one with: openssl rand -base64 32")]
    SecretsKey {
        /// From where it is.
        from: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// The machine has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// A certificate of ours can't be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The library that makes certificates refuses.
    #[error("could not make a certificate: {0}")]
    Making(#[from] rcgen::Error),
    /// The TLS library refuses.
    #[error("could not prepare TLS: {0}")]
    Tls(#[from] rustls::Error),
}
