//! Runs a core module: a WASI preview 1 program, entered at `_start`.

use wasmtime::{Engine, Module, Store};

use crate::confine::{Given, confine};
use crate::error::RunError;
use crate::guest;
use crate::limits::Memory;
use crate::offer::{self, ModuleHost};
use crate::run::{Ending, unstartable};
use crate::spec::Run;

/// Runs `module` to its end.
pub async fn run(engine: &Engine, module: &Module, run: &Run) -> Result<Ending, RunError> {
    let wasi = guest::view(run)?.build_p1();
    confine(run, &Given::open(&run.preopens)?)?;
    let host = ModuleHost { wasi, memory: Memory::new(run.memory_limit_bytes) };
    let mut store = Store::new(engine, host);
    store.limiter(|host| &mut host.memory);
    let linker = offer::to_modules(engine).map_err(unstartable)?;
    let result = async {
        let instance = linker.instantiate_async(&mut store, module).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await
    }
    .await;
    Ok(Ending { code: result.map(|()| 0), refused: store.data().memory.refused() })
}
