//! Runs one precompiled WebAssembly module or component in this process.
