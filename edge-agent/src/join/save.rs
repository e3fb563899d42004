//! Checks what a hub issued to a new device, and keeps it.

use std::sync::Arc;

use firmware_compat::{
    enrolment::{ADDRESSES, Address, Enrolled, List},
    topic::is_device_name,
};
use rustls::pki_types::CertificateDer;

use super::JoinError;
use crate::identity::{HubFile, Identity, IdentityDir, Keys, certificate::Unusable};

/// Keeps an identity durably, once it is one: for this device's key, of the CA by which the hub was recognised. `dialled`
/// is where it was reached, which the hub itself need not know.
pub(super) fn save(
    dir: &IdentityDir,
    keys: Arc<dyn Keys>,
    enrolled: Enrolled,
    authority: &CertificateDer<'_>,
    dialled: &[Address],
) -> Result<Identity, JoinError> {
    if !is_device_name(&enrolled.name) {
        return Err(Unusable::Name.into());
    }
    let dialled = List::try_from(dialled.to_vec()).unwrap_or_default();
    let identity = Identity::new(keys, &enrolled.certificate, HubFile::of(&enrolled, dialled))?;
    // Otherwise the device would not know this hub again.
    if !identity.authorities.iter().any(|known| known == authority) {
        return Err(Unusable::OtherAuthority.into());
    }
    dir.save(&enrolled.certificate, &identity.hub)?;
    Ok(identity)
}

/// Keeps that the hub of an identity is to be looked for at these addresses too, and first until it says where it is; `None`
/// if it is already.
pub(super) fn looking_at(
    dir: &IdentityDir,
    identity: &Identity,
    addresses: &[Address],
) -> Result<Option<Identity>, JoinError> {
    let known = &identity.hub.facts.addresses;
    let mut wanted = addresses.to_vec();
    wanted.extend(known.iter().filter(|address| !addresses.contains(address)).cloned());
    wanted.truncate(ADDRESSES);
    let dialled = List::try_from(addresses[..addresses.len().min(ADDRESSES)].to_vec());
    let dialled = dialled.unwrap_or_default();
    if dialled.is_empty() || (wanted[..] == known[..] && dialled == identity.hub.dialled) {
        return Ok(None);
    }
    let mut moved = identity.clone();
    moved.hub.dialled = dialled;
    moved.hub.facts.addresses = List::try_from(wanted).unwrap_or_default();
    dir.save_hub(&moved.hub)?;
    Ok(Some(moved))
}
