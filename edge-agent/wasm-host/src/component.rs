//! Runs a component: a WASI preview 2 program, entered at `wasi:cli/run`.

use wasmtime::component::{Component, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::Command;

use crate::confine::{Given, confine};
use crate::error::RunError;
use crate::guest;
use crate::limits::Memory;
use crate::offer::{self, ComponentHost};
use crate::run::{Ending, unstartable};
use crate::spec::Run;

/// Runs `component` to its end.
pub async fn run(engine: &Engine, component: &Component, run: &Run) -> Result<Ending, RunError> {
    let wasi = guest::view(run)?.build();
    confine(run, &Given::open(&run.preopens)?)?;
    let host = ComponentHost {
        wasi,
        table: ResourceTable::new(),
        memory: Memory::new(run.memory_limit_bytes),
    };
    let mut store = Store::new(engine, host);
    store.limiter(|host| &mut host.memory);
    let linker = offer::to_components(engine).map_err(unstartable)?;
    let result = async {
        let command = Command::instantiate_async(&mut store, component, &linker).await?;
        command.wasi_cli_run().call_run(&mut store).await
    }
    .await;
    // A command that returns an error has failed without choosing a code: that is 1.
    let code = result.map(|outcome| if outcome.is_ok() { 0 } else { 1 });
    Ok(Ending { code, refused: store.data().memory.refused() })
}
