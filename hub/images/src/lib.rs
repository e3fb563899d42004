//! Images and artefacts: the content-addressed store, OCI layouts and archives, packing.
