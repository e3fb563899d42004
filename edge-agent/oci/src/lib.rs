//! Containers on a device: unpacked layers, config.json, finding and trying an OCI runtime.
