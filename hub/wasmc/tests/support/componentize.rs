//! A WASI preview 1 module becomes a WASI 0.2 component, by way of the public adapter.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};

/// Wraps a module that exports `_start`.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let bytes = wit_component::ComponentEncoder::default()
        .module(module)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)?
        .validate(true)
        .encode()?;
    Ok(bytes)
}
