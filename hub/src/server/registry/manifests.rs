//! Manifests: a PUT by tag completes a push, and names the image.

use std::sync::Arc;

use axum::{
    http::{HeaderMap, Method, StatusCode, header},
    response::Response,
};
use firmware_compat::id::Hash;
use lichen_hub_core::{actor::Actor, event::Request};
use lichen_images::{
    Descriptor, Digest, Name,
    distribution::{Code, chain},
    document::{Document, MAX_DOCUMENT_BYTES},
    route::Wanted,
    walk,
};

use super::{Call, Denial, blocking, digest_header, empty, known};
use crate::server::{
    api::{Api, read_body},
    artefacts,
};

/// GET and HEAD.
pub(super) async fn get(
    api: &Api,
    actor: &Arc<Actor>,
    (method, headers): (&Method, &HeaderMap),
    name: &Name,
    wanted: &Wanted,
) -> Result<Response, Denial> {
    let digest = match wanted {
        Wanted::Digest(digest) => *digest,
        Wanted::Tag(tag) => named(api, actor, &format!("{name}:{tag}")).await?,
    };
    let unknown = || {
        Denial::new(
            Code::ManifestUnknown,
            format!("manifest {digest} of {name} is not in the store"),
        )
    };
    let permit = api.download_permit()?;
    let opened = artefacts::open(&api.images, digest).await?.ok_or_else(unknown)?;
    let images = api.images.clone();
    // The type is told by the document: the store keeps bytes only. A layer is no manifest.
    let media_type = blocking(move || {
        let bytes = images.read(&digest)?;
        let document = Document::parse(&bytes, None);
        let document =
            document.map_err(|error| Denial::new(Code::ManifestUnknown, chain(&error)))?;
        Ok(document.media_type().to_owned())
    })
    .await?;
    Ok(artefacts::serve((opened, permit), &digest, &media_type, method, headers))
}

async fn named(api: &Api, actor: &Arc<Actor>, reference: &str) -> Result<Digest, Denial> {
    let images = known(api, actor).await?;
    let image = images.iter().find(|image| image.reference == reference);
    let root = image.map(|image| Digest::from_bytes(image.root.0));
    root.ok_or_else(|| Denial::new(Code::ManifestUnknown, format!("no image is named {reference}")))
}

/// PUT. Everything that the manifest refers to must be there already.
pub(super) async fn put(
    api: &Api,
    call: Call,
    name: &Name,
    wanted: &Wanted,
) -> Result<Response, Denial> {
    let media_type = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.map(str::to_owned);
    let limit = usize::try_from(MAX_DOCUMENT_BYTES).unwrap_or(usize::MAX);
    let bytes = read_body(call.body, limit).await?;
    let expected = match wanted {
        Wanted::Digest(digest) => Some(*digest),
        Wanted::Tag(_) => None,
    };
    let images = api.images.clone();
    let digest = blocking(move || {
        let document = Document::parse(&bytes, media_type.as_deref())
            .map_err(|error| Denial::new(Code::ManifestInvalid, chain(&error)))?;
        let digest = images.put(&bytes, expected)?;
        let root = Descriptor::new(document.media_type(), digest, bytes.len() as u64);
        walk::walk(&images, &root)
            .map_err(|error| Denial::new(Code::ManifestBlobUnknown, chain(&error)))?;
        Ok(digest)
    })
    .await?;
    if let Wanted::Tag(tag) = wanted {
        let reference = format!("{name}:{tag}");
        let request =
            Request::NameImage { reference: reference.clone(), root: Hash(*digest.as_bytes()) };
        api.engine.ask(&call.actor, request).await?;
        tracing::info!(%reference, %digest, "image pushed");
    }
    let location = format!("/v2/{name}/manifests/{digest}");
    Ok(empty(StatusCode::CREATED, &[(header::LOCATION, location), digest_header(&digest)]))
}
