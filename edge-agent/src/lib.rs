//! The agent's shell: link, state files, artefacts, runtimes.
