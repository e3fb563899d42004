//! Compiles a WebAssembly module for a device class, in a process of its own.
