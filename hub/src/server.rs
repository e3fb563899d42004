//! The running hub: API, artefacts and registry around the one task that owns the engine.
