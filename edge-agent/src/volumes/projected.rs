//! Files of several sources in one volume. With a Secret among them all of it is in memory; else it is written as a
//! configMap is. What only the device knows is told as it is when the files are written.

use std::{collections::BTreeMap, path::Path};

use firmware_compat::v1::owned::{ProjectedSource, Volume};
use lichen_agent_core::PodSpec;

use super::{
    VolumeError,
    config_map::{self, Content},
    secret,
};
use crate::{
    facts,
    secrets::{Opened, SecretError, Secrets},
    state::Written,
};

pub(super) fn place(
    pod: &PodSpec,
    volume: &Volume,
    own: &Path,
    sources: &[ProjectedSource],
    written: &Written,
    secrets: &Secrets,
) -> Result<(), VolumeError> {
    let refused =
        |cause: SecretError| VolumeError::Secret { volume: volume.name.to_string(), cause };
    let mut opened: Vec<Opened> = Vec::new();
    let mut told: Vec<String> = Vec::new();
    for source in sources {
        match source {
            ProjectedSource::Files { .. } => {}
            ProjectedSource::Secret { secret } => {
                opened.push(secrets.open(pod, *secret).map_err(refused)?);
            }
            ProjectedSource::Fact { fact, .. } => {
                told.push(facts::text(*fact, pod.host_network, disk_of(own)));
            }
        }
    }
    let of_secrets = opened.iter().map(|opened| opened.files().map_err(refused));
    let of_secrets = of_secrets.collect::<Result<Vec<_>, _>>()?;
    let (mut secret_files, mut facts) = (of_secrets.iter(), told.iter());
    // Of two with one path, that of the later source.
    let mut files: BTreeMap<&str, Content<'_>> = BTreeMap::new();
    for source in sources {
        match source {
            ProjectedSource::Files { data } => {
                files.extend(pod.files(data).iter().map(|file| (file.path.as_str(), file.into())));
            }
            ProjectedSource::Secret { .. } => {
                let of = secret_files.next().into_iter().flatten();
                files.extend(of.map(|file| (file.path, file.into())));
            }
            ProjectedSource::Fact { path, mode, .. } => {
                let data = facts.next().map_or(&[][..], |text| text.as_bytes());
                files.insert(path.as_str(), Content { path: path.as_str(), mode: *mode, data });
            }
        }
    }
    let files: Vec<Content<'_>> = files.into_values().collect();
    match opened.is_empty() {
        true => config_map::write(own, &files, pod.security.fs_group, written)
            .map_err(|error| error.in_volume(&volume.name)),
        false => secret::write(volume, own, &files, pod.security.fs_group),
    }
}

/// A directory that is there already, on the disk that the volume is on.
fn disk_of(own: &Path) -> &Path {
    own.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use firmware_compat::{
        id::Hash,
        v1::owned::{ConfigData, Fact, File, Pod, VolumeSource},
    };

    use super::*;
    use crate::{
        secrets::tests::Device,
        volumes::{self, tests::pod},
    };

    fn file(path: &str, data: &str) -> File {
        File {
            path: path.try_into().expect("short"),
            mode: 0o644,
            data: data.as_bytes().to_vec().try_into().expect("small"),
        }
    }

    fn with(sources: Vec<ProjectedSource>, one: &str, two: &str) -> PodSpec {
        let source = VolumeSource::Projected { sources: sources.try_into().expect("few") };
        let name = "v".try_into().expect("short");
        let config =
            |files: Vec<File>| Arc::new(ConfigData { files: files.try_into().expect("few") });
        let parts = [
            (Hash([1; 32]), config(vec![file("a", one), file("both", one)])),
            (Hash([2; 32]), config(vec![file("both", two), file("sub/b", two)])),
        ];
        let pod: Pod = (*pod(vec![Volume { name, source }])).clone();
        PodSpec::new(Arc::new(pod), parts.into(), BTreeMap::new())
    }

    #[test]
    fn files_of_all_sources_are_in_one_volume_and_change_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let secrets = Device::new("pi").secrets;
        let sources = || {
            vec![
                ProjectedSource::Files { data: Hash([1; 32]) },
                ProjectedSource::Fact {
                    path: "pod/ip".try_into().expect("short"),
                    mode: 0o400,
                    fact: Fact::PodIp,
                },
                ProjectedSource::Files { data: Hash([2; 32]) },
            ]
        };
        let written = Written::default();
        let (before, after) = (with(sources(), "1", "2"), with(sources(), "3", "4"));
        volumes::place(&before, dir.path(), &written, &secrets).expect("placeable");
        let read = |path: &str| fs::read_to_string(dir.path().join("v").join(path)).expect(path);
        let all = || ["a", "both", "sub/b", "pod/ip"].map(read);
        assert_eq!(all(), ["1", "2", "2", "127.0.0.1"]);
        volumes::update_files(&after, dir.path(), &written, &secrets).expect("placeable");
        assert_eq!(all(), ["3", "4", "4", "127.0.0.1"]);
    }
}
