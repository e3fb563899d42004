//! The name that a device would like to have: the operator's, or one made of the host's.

use firmware_compat::topic::{is_device_name, usable_device_name};

use crate::options::OptionError;

/// A name that a device may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The name.
    pub name: String,
    /// The host's name, if that one may not be a device's.
    pub changed_from: Option<String>,
}

impl Wish {
    /// The name that was given, or the host's as near as it may be a device's. A given one is never changed.
    ///
    /// # Errors
    /// [`OptionError::Name`].
    pub fn of(given: Option<&str>) -> Result<Self, OptionError> {
        match given {
            Some(name) => Self::given(name),
            None => Self::host(&host_name()),
        }
    }

    fn given(name: &str) -> Result<Self, OptionError> {
        match is_device_name(name) {
            true => Ok(Self { name: name.to_owned(), changed_from: None }),
            false => Err(OptionError::name(name)),
        }
    }

    fn host(host: &str) -> Result<Self, OptionError> {
        // Of a full name the first label is the host's own.
        let label = host.split('.').next().unwrap_or_default();
        let usable = usable_device_name(label).ok_or_else(|| OptionError::name(label))?;
        let changed = usable.as_str() != label;
        Ok(Self { name: usable.to_string(), changed_from: changed.then(|| label.to_owned()) })
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_name_becomes_a_devices() {
        for (host, name, told) in [
            ("pi", "pi", false),
            ("pi.example.com", "pi", false),
            ("rpi_node1", "rpi-node1", true),
            ("PHost01.local", "phost01", true),
            ("all", "device-all", true),
        ] {
            let wish = Wish::host(host).expect(host);
            assert_eq!((wish.name.as_str(), wish.changed_from.is_some()), (name, told), "{host}");
        }
        let error = Wish::host("").expect_err("no name").to_string();
        assert!(error.contains("give one with --name"), "{error}");
    }

    #[test]
    fn a_given_name_that_may_not_be_is_refused_with_one_that_may() {
        assert_eq!(Wish::given("pi-4b").expect("usable").name, "pi-4b");
        let error = Wish::given("rpi_node1").expect_err("unusable").to_string();
        assert!(error.contains("such as --name rpi-node1"), "{error}");
        for name in ["", "../x", "a/b", "+", "#", "a\0b", "all"] {
            assert!(Wish::given(name).is_err(), "{name}");
        }
    }
}
