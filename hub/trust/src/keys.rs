//! The keys that count now, as they are in memory: read from the directory, and changed only as a whole.

use std::{path::Path, sync::Arc};

use rustls::pki_types::CertificateDer;

use crate::{
    authority::{self, Authority, Pem},
    error::TrustError,
    files,
    signing::{self, SigningKeys},
    standing::{self, Dated, Standing},
};

/// The keys that count now.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) standing: Standing,
    pub(crate) authority: Arc<Authority>,
    pub(crate) previous: Option<Arc<Previous>>,
    pub(crate) signing: Arc<SigningKeys>,
}

/// The authority before this one. Its key is gone.
pub(crate) struct Previous {
    pub(crate) own: Pem,
    /// The present authority's certificate by this one.
    pub(crate) cross: Pem,
    /// What it had revoked at its end, PEM.
    pub(crate) revocations: String,
}

impl Keys {
    /// Those in the directory; they are made if there are none.
    pub(crate) fn open(dir: &Path, now: u64) -> Result<Self, TrustError> {
        let standing = match Standing::load(dir)? {
            Some(standing) => standing,
            None => {
                // Then it is not known which of them count, and to begin anew would be the end of all that is there.
                if has_successors(dir) {
                    return Err(TrustError::Missing { path: dir.join(standing::FILE) });
                }
                let standing = Standing::new(now);
                if Authority::load(dir, standing.authority.number)?.is_none() {
                    Authority::create(dir, standing.authority.number)?;
                }
                if !signing::exists(dir, standing.signing.number)? {
                    signing::make(dir, standing.signing.number)?;
                }
                standing.save(dir)?;
                standing
            }
        };
        let keys = Self::load(dir, standing)?;
        keys.sweep(dir);
        Ok(keys)
    }

    /// Those of a standing, which are all there.
    pub(crate) fn load(dir: &Path, standing: Standing) -> Result<Self, TrustError> {
        let number = standing.authority.number;
        let missing =
            || TrustError::Missing { path: dir.join(authority::certificate_name(number)) };
        let authority = Arc::new(Authority::load(dir, number)?.ok_or_else(missing)?);
        let previous = |previous: Dated| {
            let own = Pem::must_load(dir, &authority::certificate_name(previous.number))?;
            let cross = Pem::must_load(dir, &authority::cross_name(number))?;
            let path = dir.join(authority::revocations_name(previous.number));
            let revocations = files::read(&path)?.and_then(|bytes| String::from_utf8(bytes).ok());
            let revocations = revocations.ok_or(TrustError::Missing { path })?;
            Ok::<_, TrustError>(Arc::new(Previous { own, cross, revocations }))
        };
        let previous = standing.previous.map(previous).transpose()?;
        let signing = Arc::new(SigningKeys::load(dir, &standing)?);
        Ok(Self { standing, authority, previous, signing })
    }

    /// Removes what never counted, or does not any more. What can't be removed is no harm but to secrecy, and is tried
    /// again at the next start.
    pub(crate) fn sweep(&self, dir: &Path) {
        let Standing { authority: current, previous, signing, next_signing } = &self.standing;
        let mut kept = vec![
            authority::certificate_name(current.number),
            authority::key_name(current.number),
            signing::file_name(signing.number),
        ];
        if let Some(previous) = previous {
            kept.push(authority::certificate_name(previous.number));
            kept.push(authority::cross_name(current.number));
            kept.push(authority::revocations_name(previous.number));
        }
        kept.extend(next_signing.map(|next| signing::file_name(next.number)));
        for name in names(dir) {
            if is_ours(&name) && !kept.contains(&name) {
                let _ = std::fs::remove_file(dir.join(name));
            }
        }
    }

    /// The authorities that are believed, the present one first.
    pub(crate) fn believed(&self) -> Vec<CertificateDer<'static>> {
        let previous = self.previous.iter().map(|previous| previous.own.der.clone());
        std::iter::once(self.authority.certificate().clone()).chain(previous).collect()
    }

    /// What the hub shows behind its own certificate: the way to the previous authority, for those who only believe that
    /// one, and at last the present authority, which is what newcomers are to believe.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        let previous = self.previous.iter();
        let old = previous.flat_map(|it| [it.cross.der.clone(), it.own.der.clone()]);
        old.chain([self.authority.certificate().clone()]).collect()
    }
}

fn names(dir: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Whether a key was ever changed here.
fn has_successors(dir: &Path) -> bool {
    names(dir).any(|name| is_ours(&name) && name.contains('-'))
}

/// `ca.pem`, `ca-2.cross.pem`, `ca.crl.pem`, `signing-3.key`: whether a file is one of those that are numbered here.
fn is_ours(name: &str) -> bool {
    let Some((stem, ending)) = name.split_once('.') else { return false };
    let (kind, number) = stem.split_once('-').unwrap_or((stem, "1"));
    let numbered = number.bytes().all(|digit| digit.is_ascii_digit());
    numbered
        && matches!(
            (kind, ending),
            ("ca", "pem" | "key" | "cross.pem" | "crl.pem") | ("signing", "key")
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_numbered_here_is_ever_swept() {
        for name in [
            "ca.pem",
            "ca.key",
            "ca-2.pem",
            "ca-12.cross.pem",
            "ca.crl.pem",
            "signing.key",
            "signing-3.key",
        ] {
            assert!(is_ours(name), "{name}");
        }
        for name in
            ["standing", "known-time", "secrets.key", "ca-x.pem", "ca.pem.old", "signing.pem", "ca"]
        {
            assert!(!is_ours(name), "{name}");
        }
    }
}
