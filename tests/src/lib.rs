//! System tests and benchmarks with real processes.
