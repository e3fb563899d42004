//! Media types of the OCI image specification and of Docker's older image format, and what each one means here.

/// An OCI image manifest: one platform's image, or an artefact.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index: one manifest per platform.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The configuration of an OCI container image.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer that is an uncompressed tar file.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer that is a tar file compressed with gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer that is a tar file compressed with zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's index, the "manifest list".
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The configuration of a Docker container image; the same JSON as OCI's.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's compressed layer.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's uncompressed layer.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// The configuration of a Wasm artefact (CNCF guidance for Wasm OCI artefacts).
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// A Wasm module or component as a layer.
pub const WASM_LAYER: &str = "application/wasm";
/// The Wasm layer of the older `wasm-to-oci` convention; read, never written.
pub const WASM_LAYER_OLD: &str = "application/vnd.wasm.content.layer.v1+wasm";

/// Whether a descriptor of this type names an index.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_INDEX)
}

/// Whether a descriptor of this type names a manifest.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Whether this is the configuration of a container image.
pub fn is_container_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

/// Whether this is a layer that a device can unpack into a root file system.
pub fn is_container_layer(media_type: &str) -> bool {
    matches!(
        media_type,
        OCI_LAYER | OCI_LAYER_GZIP | OCI_LAYER_ZSTD | DOCKER_LAYER | DOCKER_LAYER_GZIP
    )
}

/// Whether this is a Wasm module or component.
pub fn is_wasm_layer(media_type: &str) -> bool {
    matches!(media_type, WASM_LAYER | WASM_LAYER_OLD)
}
