//! The guest's view of the world: arguments, environment, directories, standard streams, network.
//!
//! Standard output and error are written without a buffer, one system call per write of the guest,
//! so that a printed line is in the log at once. Standard input is read on a thread that
//! exists only once the guest asks for it. File operations run on the one thread of this process.

use std::os::fd::AsFd;

use wasmtime_wasi::cli::OutputFile;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::error::RunError;
use crate::spec::{Preopen, Run};

/// Builds what a guest sees from its spec.
pub fn view(run: &Run) -> Result<WasiCtxBuilder, RunError> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.args(&run.args).envs(&run.env).allow_blocking_current_thread(true);
    wasi.stdin(std::io::stdin());
    wasi.stdout(unbuffered(&std::io::stdout())?);
    wasi.stderr(unbuffered(&std::io::stderr())?);
    // `wasmtime-wasi` refuses every address unless told otherwise; the switches below also refuse
    // to make a socket at all.
    wasi.allow_tcp(run.network).allow_udp(run.network).allow_ip_name_lookup(run.network);
    if run.network {
        wasi.inherit_network();
    }
    for preopen in &run.preopens {
        open(&mut wasi, preopen)?;
    }
    Ok(wasi)
}

fn open(wasi: &mut WasiCtxBuilder, preopen: &Preopen) -> Result<(), RunError> {
    let perms = if preopen.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
    match wasi.preopened_dir(&preopen.host, &preopen.guest, perms) {
        Ok(_) => Ok(()),
        Err(error) => Err(RunError::Preopen {
            host: preopen.host.clone(),
            guest: preopen.guest.clone(),
            cause: error.root_cause().to_string(),
        }),
    }
}

fn unbuffered(stream: &impl AsFd) -> Result<OutputFile, RunError> {
    let duplicate = stream.as_fd().try_clone_to_owned();
    let fd = duplicate.map_err(|error| RunError::Host(format!("standard streams: {error}")))?;
    Ok(OutputFile::new(fd.into()))
}
