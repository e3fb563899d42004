//! A container image around busybox, and Pods that run its shell.

use std::{fs, io::Write};

use firmware_compat::v1::owned::{
    Artefacts, Container, Layer, Mount, MountPropagation, Packing, Pod, Text, Volume, VolumeSource,
};
use sha2::{Digest, Sha256};

use super::{http::Server, machine::each_container};

/// A layer with busybox, and one above it.
pub fn image(http: &Server) -> Artefacts {
    image_of(http, "")
}

/// The same, with a user of its own: `app` is 1000.
pub fn image_of(http: &Server, user: &str) -> Artefacts {
    let busybox = fs::read("/bin/busybox").expect("apt install busybox-static");
    let users = layer("etc/passwd", b"root:x:0:0::/:\napp:x:1000:100::/:\n");
    let mut layers =
        vec![layer("bin/busybox", &busybox), layer("etc/motd", b"hello from the layer\n")];
    layers.extend(Some(users).filter(|_| !user.is_empty()));
    let diff_ids: Vec<String> =
        layers.iter().map(|tar| format!("\"sha256:{:x}\"", Sha256::digest(tar))).collect();
    let config = format!(
        r#"{{"architecture":"{}","os":"linux","config":{{"Env":["PATH=/bin"],"User":"{user}"}},
           "rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        diff_ids.join(",")
    );
    let layers = layers.iter().map(|tar| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(tar).unwrap();
        let blob = http.put_artefact(&gzip.finish().unwrap());
        Layer { blob, packing: Packing::TarGzip }
    });
    Artefacts::Image {
        config: http.put_artefact(config.as_bytes()),
        layers: layers.collect::<Vec<_>>().try_into().unwrap(),
    }
}

fn layer(path: &str, content: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    tar.append_data(&mut header, path, content).unwrap();
    tar.into_inner().unwrap()
}

/// Makes a container run a script.
pub fn with_script(mut container: Container, name: &str, script: &str) -> Container {
    let words = ["/bin/busybox", "sh", "-c", script].map(|word| Text::try_from(word).unwrap());
    container.name = name.try_into().unwrap();
    container.command = words.to_vec().try_into().unwrap();
    container
}

/// Gives a Pod an emptyDir that every container sees at `/scratch`.
pub fn with_scratch(mut pod: Pod, memory: bool) -> Pod {
    let source = VolumeSource::EmptyDir { memory, size_limit_bytes: 0 };
    pod.volumes = vec![Volume { name: "scratch".try_into().unwrap(), source }].try_into().unwrap();
    each_container(&mut pod, |container| {
        let mount = Mount {
            volume: "scratch".try_into().unwrap(),
            path: "/scratch".try_into().unwrap(),
            sub_path: Text::default(),
            expand: false,
            read_only: false,
            propagation: MountPropagation::None,
        };
        container.mounts = vec![mount].try_into().unwrap();
    });
    pod
}
