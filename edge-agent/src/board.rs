//! What the board says of itself: its serial number, by which an operator may have announced it, and its model.

use std::{fs::File, io::Read, path::Path};

use firmware_compat::{
    capacity::full,
    enrolment::{SERIAL, Text},
};

/// No such file is longer, of those that mean something.
const MAX_BYTES: u64 = 512;
/// What firmware says that nobody has filled in, in lower case.
const PLACEHOLDERS: [&str; 12] = [
    "default string",
    "empty",
    "invalid",
    "n/a",
    "none",
    "not applicable",
    "not specified",
    "o.e.m.",
    "serial number",
    "system serial number",
    "to be filled by o.e.m.",
    "unknown",
];

/// The serial number, if the board has one that this user may read: the device tree's, or the firmware's of a PC.
#[must_use]
pub fn serial() -> Option<Text<SERIAL>> {
    serial_below(Path::new("/"))
}

/// The board's model, for people.
#[must_use]
pub fn model() -> Option<Text<{ full::DESCRIPTION }>> {
    model_below(Path::new("/"))
}

fn serial_below(root: &Path) -> Option<Text<SERIAL>> {
    let tree = word(&root.join("proc/device-tree/serial-number"));
    let serial = tree.or_else(|| word(&root.join("sys/class/dmi/id/product_serial")))?;
    // One that is too long is none: cut, it could be another board's.
    serial.as_str().try_into().ok()
}

fn model_below(root: &Path) -> Option<Text<{ full::DESCRIPTION }>> {
    if let Some(model) = word(&root.join("proc/device-tree/model")) {
        return Some(Text::cut(&model));
    }
    let dmi = root.join("sys/class/dmi/id");
    let words = ["sys_vendor", "product_name"].map(|name| word(&dmi.join(name)));
    let model: Vec<String> = words.into_iter().flatten().collect();
    (!model.is_empty()).then(|| Text::cut(&model.join(" ")))
}

/// The text in a file, without the NUL of the device tree; `None` if it says nothing.
fn word(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    let lower = text.to_ascii_lowercase();
    let is_placeholder = PLACEHOLDERS.contains(&lower.as_str())
        || text.chars().all(|c| matches!(c, '0' | '.' | '-' | 'x' | 'X'))
        || text.chars().any(char::is_control);
    (!is_placeholder).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check(files: &[(&str, &str)], serial: Option<&str>, model: Option<&str>) {
        let root = tempfile::tempdir().expect("a directory");
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            fs::write(path, content).expect("writable");
        }
        assert_eq!(serial_below(root.path()).as_deref(), serial, "{files:?}");
        assert_eq!(model_below(root.path()).as_deref(), model, "{files:?}");
    }

    #[test]
    fn a_board_is_known_by_its_device_tree_and_a_pc_by_its_firmware() {
        let (tree, model) = ("proc/device-tree/serial-number", "proc/device-tree/model");
        let (dmi, vendor, product) = (
            "sys/class/dmi/id/product_serial",
            "sys/class/dmi/id/sys_vendor",
            "sys/class/dmi/id/product_name",
        );
        let pi = [(tree, "10000000abcdef01\0"), (model, "Raspberry Pi 4 Model B Rev 1.4\0")];
        check(&pi, Some("10000000abcdef01"), Some("Raspberry Pi 4 Model B Rev 1.4"));
        let pc = [(dmi, "PF2ABC1\n"), (vendor, "LENOVO\n"), (product, "20XW\n")];
        check(&pc, Some("PF2ABC1"), Some("LENOVO 20XW"));
        check(&[(dmi, "To Be Filled By O.E.M.\n"), (product, "Default string")], None, None);
        check(&[(tree, "0000000000000000\0"), (dmi, "\n")], None, None);
        check(&[(dmi, &"9".repeat(65))], None, None);
        check(&[(dmi, "a\0b"), (product, "\u{7}")], None, None);
        check(&[], None, None);
    }
}
