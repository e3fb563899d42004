//! The guest's view of the world: arguments, environment, directories, standard streams, network.
//!
//! Standard output and error are written without a buffer, one system call per write of the guest,
//! so that a printed line is in the log at once. Standard input is read on a thread that
//! exists only once the guest asks for it. File operations run on the one thread of this process.

use std::os::fd::AsFd;

use lichen_shim::beneath;
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
    let refused = |cause: String| RunError::Preopen {
        host: preopen.host.join(&preopen.inner),
        guest: preopen.guest.clone(),
        cause,
    };
    // Held until it is opened by its descriptor: by its path, another guest of the Pod could lead it elsewhere.
    let found = beneath::open(&preopen.host, &preopen.inner);
    let found = found.map_err(|error| refused(error.to_string()))?;
    match wasi.preopened_dir(beneath::by_descriptor(&found), &preopen.guest, perms) {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(error.root_cause().to_string())),
    }
}

fn unbuffered(stream: &impl AsFd) -> Result<OutputFile, RunError> {
    let duplicate = stream.as_fd().try_clone_to_owned();
    let fd = duplicate.map_err(|error| RunError::Host(format!("standard streams: {error}")))?;
    Ok(OutputFile::new(fd.into()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_part_of_a_volume_is_given_and_what_a_link_in_its_place_leads_to_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let part = dir.path().join("part");
        fs::create_dir(&part).expect("makeable");
        let preopen = |inner: &str| Preopen {
            host: dir.path().to_owned(),
            inner: inner.into(),
            guest: "/data".to_owned(),
            read_only: false,
        };
        let given = |inner| view(&Run { preopens: vec![preopen(inner)], ..Run::default() });
        given("").expect("the whole volume");
        given("part").expect("the part");
        fs::remove_dir(&part).expect("removable");
        std::os::unix::fs::symlink("/", &part).expect("a link");
        assert!(matches!(given("part"), Err(RunError::Preopen { .. })));
    }
}
