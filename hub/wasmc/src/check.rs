//! Whether a program can run on a device at all: its imports are met and it has an entry point.
//!
//! The imports are tried against the linkers that the device uses (`lichen_wasm_host::offer`), with
//! their types, on a program that holds nothing but the imports. So the operator learns when
//! applying what the device would say when starting.

use lichen_wasm_host::offer;
use lichen_wasm_host::profile::{self, Class};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::error::Error;
use crate::sections::{ComponentOutline, ModuleOutline, Program};

/// The entry point of a module.
const MODULE_ENTRY: &str = "_start";
/// The memory through which WASI preview 1 talks to a module.
const MODULE_MEMORY: &str = "memory";
/// The entry point of a component, up to the patch version.
const COMPONENT_ENTRY: &str = "wasi:cli/run@0.2.";

/// Checks a program's outside.
///
/// # Errors
/// [`Error::Import`] and [`Error::Entry`] name what is wrong.
pub fn check(program: &Program) -> Result<(), Error> {
    match program {
        Program::Module(outline) => {
            module_entry(outline)?;
            module_imports(outline)
        }
        Program::Component(outline) => {
            component_entry(outline)?;
            component_imports(outline)
        }
    }
}

fn module_entry(outline: &ModuleOutline) -> Result<(), Error> {
    let has = |name: &str| outline.functions.iter().any(|function| function == name);
    if !has(MODULE_ENTRY) {
        let why =
            if has("_initialize") { "it is a library (a WASI reactor)" } else { "it has none" };
        return Err(Error::Entry(format!(
            "the module does not export a function {MODULE_ENTRY:?} to start at, {why}: \
             build it as a program for wasm32-wasip1"
        )));
    }
    if !outline.imports.is_empty() && !outline.memories.iter().any(|name| name == MODULE_MEMORY) {
        return Err(Error::Entry(format!(
            "the module does not export its memory as {MODULE_MEMORY:?}, which WASI needs"
        )));
    }
    Ok(())
}

fn module_imports(outline: &ModuleOutline) -> Result<(), Error> {
    for (namespace, name) in &outline.imports {
        if namespace != offer::MODULE_NAMESPACE {
            return Err(Error::Import(format!("the module imports {name:?} from {namespace:?}")));
        }
    }
    let engine = engine()?;
    let probe = Module::new(&engine, &outline.imports_only).map_err(invalid)?;
    let linker = offer::to_modules(&engine).map_err(fault)?;
    linker.instantiate_pre(&probe).map(|_| ()).map_err(unmet)
}

fn component_entry(outline: &ComponentOutline) -> Result<(), Error> {
    if outline.instances.iter().any(|name| name.starts_with(COMPONENT_ENTRY)) {
        return Ok(());
    }
    let exports = match outline.instances.as_slice() {
        [] => "no interface".to_owned(),
        names => names.join(", "),
    };
    Err(Error::Entry(format!(
        "the component does not export {COMPONENT_ENTRY}x to start at, it exports {exports}: \
         build it as a command for wasm32-wasip2"
    )))
}

fn component_imports(outline: &ComponentOutline) -> Result<(), Error> {
    let engine = engine()?;
    let probe = Component::new(&engine, &outline.imports_only).map_err(invalid)?;
    let linker = offer::to_components(&engine).map_err(fault)?;
    linker.instantiate_pre(&probe).map(|_| ()).map_err(unmet)?;
    match outline.imports.get(outline.leading_imports) {
        None => Ok(()),
        Some(late) => Err(Error::Import(format!(
            "the component imports {late:?} after its own code, where it cannot be checked"
        ))),
    }
}

/// An engine for this machine: it checks types only, so the class does not matter.
fn engine() -> Result<Engine, Error> {
    let config = profile::config_to_run(Class::of_this_machine()).map_err(fault)?;
    Engine::new(&config).map_err(fault)
}

fn fault(error: wasmtime::Error) -> Error {
    Error::Fault(format!("could not set up the check of imports: {error:#}"))
}

fn invalid(error: wasmtime::Error) -> Error {
    Error::Invalid(format!("{error:#}"))
}

fn unmet(error: wasmtime::Error) -> Error {
    Error::Import(format!("the program's imports are not met: {error:#}"))
}
