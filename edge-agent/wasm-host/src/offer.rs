//! What this host offers to a guest: WASI preview 1 to modules, the WASI preview 2 command world to
//! components.
//!
//! The compiler asks the same linkers whether a program's imports are met, so that what compiles
//! also starts.

use wasmtime::component::Linker as ComponentLinker;
use wasmtime::{Engine, Linker, Result};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

use crate::limits::Memory;

/// The only namespace that a module may import from.
pub const MODULE_NAMESPACE: &str = "wasi_snapshot_preview1";

/// The host's side of a running module.
pub struct ModuleHost {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) memory: Memory,
}

/// The host's side of a running component.
pub struct ComponentHost {
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) memory: Memory,
}

impl WasiView for ComponentHost {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Everything that a module may import.
///
/// # Errors
/// Only if wasmtime defines a name twice.
pub fn to_modules(engine: &Engine) -> Result<Linker<ModuleHost>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |host: &mut ModuleHost| &mut host.wasi)?;
    Ok(linker)
}

/// Everything that a component may import.
///
/// # Errors
/// Only if wasmtime defines a name twice.
pub fn to_components(engine: &Engine) -> Result<ComponentLinker<ComponentHost>> {
    let mut linker = ComponentLinker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    Ok(linker)
}
