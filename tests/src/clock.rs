//! A clock that is wrong, for one program: Debian's package `faketime`.

use std::{collections::BTreeMap, ffi::OsString, fs, path::PathBuf};

/// What a program takes for the time of day. It goes on from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock(Option<String>);

impl Clock {
    /// What a program's environment says of a wrong one.
    pub const VARIABLES: [&str; 3] = ["LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"];

    /// The machine's own.
    #[must_use]
    pub fn right() -> Self {
        Self(None)
    }

    /// At the beginning of a year, in UTC or a zone near it.
    #[must_use]
    pub fn at(year: u16) -> Self {
        Self(Some(format!("@{year}-01-02 00:00:01")))
    }

    /// Fast by so many days.
    #[must_use]
    pub fn fast_by_days(days: u32) -> Self {
        Self(Some(format!("+{days}d")))
    }

    /// What a program's environment says of this one.
    ///
    /// # Panics
    /// Without faketime.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, OsString> {
        let Some(time) = &self.0 else { return BTreeMap::new() };
        // Time since boot has no date, and pauses are measured with it: it stays what it is.
        let values: [OsString; 3] = [library().into(), time.into(), "1".into()];
        Self::VARIABLES.map(str::to_owned).into_iter().zip(values).collect()
    }
}

/// The library that Debian's package `faketime` brings.
fn library() -> PathBuf {
    let dirs = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut paths = dirs.map(|dir| dir.path().join("faketime/libfaketime.so.1"));
    paths.find(|path| path.exists()).expect("Debian's package faketime is installed")
}
