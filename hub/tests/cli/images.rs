//! Pushing, packing, listing and removing images.

use std::fs;

use super::support::Hub;

const MODULE: &str = "(module (memory (export \"memory\") 1) (func (export \"_start\")))";

#[test]
fn a_module_is_pushed_once_listed_and_removed() {
    let hub = Hub::start();
    let file = hub.file("hello.wat", MODULE);
    let said = hub.lichen(&format!("image push {file} team/hello:1")).well();
    assert!(
        said.starts_with("team/hello:1 pushed (sha256:") && said.ends_with(" sent)\n"),
        "{said}"
    );
    let said = hub.lichen(&format!("image push {file} team/hello:1")).well();
    assert!(said.starts_with("team/hello:1 unchanged (sha256:"), "{said}");
    let said = hub.lichen(&format!("image push {file} hello")).well();
    assert!(said.starts_with("hello:latest pushed") && said.contains("nothing new sent"), "{said}");
    let list = hub.lichen("image list").well();
    assert!(list.contains("team/hello:1   sha256:") && list.contains("<none>"), "{list}");
    assert_eq!(hub.lichen("image ls -o name").well(), "hello:latest\nteam/hello:1\n");
    assert_eq!(
        hub.lichen("image rm team/hello:1 hello").well(),
        "team/hello:1 removed\nhello:latest removed\n"
    );
    assert_eq!(hub.lichen("image list -o name").well(), "");
    let err = hub.lichen("image rm hello").failed();
    assert!(
        err.contains("could not remove hello:latest: the hub has no image hello:latest"),
        "{err}"
    );
}

#[test]
fn a_directory_is_packed_pushed_and_written() {
    let hub = Hub::start();
    fs::create_dir_all(hub.path().join("root/bin")).expect("a directory");
    hub.file("root/bin/run", "#!/bin/sh\n");
    let dir = hub.path().join("root").display().to_string();
    let pack = format!("image pack {dir} --entrypoint /bin/run --env A=b --platform arm64");
    let said = hub.lichen(&format!("{pack} -t tool:1"));
    assert!(said.err.contains("for arm64"), "{said:?}");
    assert!(said.well().starts_with("tool:1 pushed"));
    let file = hub.path().join("tool.tar").display().to_string();
    assert!(hub.lichen(&format!("{pack} -o {file} -t tool:1")).well().contains("tool.tar written"));
    // The same content under the same name: packing is reproducible, and archives are read as they were written.
    assert!(
        hub.lichen(&format!("image push {file} tool:1")).well().starts_with("tool:1 unchanged")
    );
}

#[test]
fn what_is_no_image_is_refused_with_a_hint() {
    let hub = Hub::start();
    let text = hub.file("notes.txt", "notes");
    let broken = hub.file("broken.wat", "(module (func $a)");
    for (line, part) in [
        (format!("image push {text} notes:1"), "none of: an OCI layout"),
        (format!("image push {broken} broken:1"), "broken.wat"),
        ("image push /nowhere.wasm a:1".to_owned(), "/nowhere.wasm"),
        ("image pack /nowhere -t a:1".to_owned(), "could not read /nowhere: No such file"),
        (format!("image push {text} Notes:1"), "write notes"),
        (format!("image push {text} localhost:5000/notes"), "without the port"),
        (format!("image pack {text} -t a:1"), "notes.txt"),
    ] {
        let err = hub.lichen(&line).failed();
        assert!(err.contains(part), "{line}: {err}");
    }
}
