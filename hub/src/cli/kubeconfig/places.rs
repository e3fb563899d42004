//! Where kubeconfigs are looked for, and what the command line says about which hub is meant.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::admin;
use crate::cli::client::{Server, Token};

/// What the command line says about which hub is meant, and by whom.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Its address, in place of the context's.
    pub server: Option<Server>,
    /// The one file to look into.
    pub kubeconfig: Option<PathBuf>,
    /// A context, in place of the current one.
    pub context: Option<String>,
    /// A token, in place of the context's credentials.
    pub token: Option<Token>,
    /// Where files are looked for if none is named.
    pub places: Places,
}

/// Where files are looked for if the command line names none. The default is nowhere.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `LICHEN_KUBECONFIG`: a list of files.
    pub lichen: Vec<PathBuf>,
    /// `KUBECONFIG`: a list of files, which may be about other clusters.
    pub kubernetes: Vec<PathBuf>,
    /// `~/.config/lichen/kubeconfig`: what `lichen login` writes.
    pub own: Option<PathBuf>,
    /// What hubs on this machine have left for their owner, the likeliest first.
    pub hubs: Vec<PathBuf>,
    /// `~/.kube/config`, which may be about other clusters.
    pub home: Option<PathBuf>,
}

impl Places {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::of(|name| std::env::var_os(name))
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let list = |name: &str| {
            let value = variable(name).unwrap_or_default();
            std::env::split_paths(&value).filter(|path| path != Path::new("")).collect()
        };
        let given =
            |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let below_home = |path: &str| given("HOME").map(|home| home.join(path));
        let config = given("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
        let state = given("XDG_STATE_HOME").or_else(|| below_home(".local/state"));
        Self {
            lichen: list("LICHEN_KUBECONFIG"),
            kubernetes: list("KUBECONFIG"),
            own: config.map(|config| config.join("lichen/kubeconfig")),
            hubs: admin::places(state.as_deref()),
            home: below_home(".kube/config"),
        }
    }
}

impl Choice {
    /// Where `lichen login` and what else is said of contexts goes.
    #[must_use]
    pub fn own(&self) -> Option<&Path> {
        self.places.lichen.first().or(self.places.own.as_ref()).map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(variables: &[(&str, &str)]) -> Places {
        let find = |name: &str| variables.iter().find(|(own, _)| *own == name);
        Places::of(|name| find(name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn files_are_where_the_environment_says() {
        let found = places(&[("HOME", "/h"), ("KUBECONFIG", "/a::b/c"), ("LICHEN_KUBECONFIG", "")]);
        assert_eq!(found.kubernetes, [Path::new("/a"), Path::new("b/c")]);
        assert_eq!(found.lichen, [] as [PathBuf; 0]);
        assert_eq!(found.own.as_deref(), Some(Path::new("/h/.config/lichen/kubeconfig")));
        assert_eq!(found.home.as_deref(), Some(Path::new("/h/.kube/config")));
        assert!(found.hubs.iter().any(|path| path.starts_with("/h/.local/state/lichen")));
        let found = places(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x"), ("XDG_STATE_HOME", "rel")]);
        assert_eq!(found.own.as_deref(), Some(Path::new("/x/lichen/kubeconfig")));
        assert!(found.hubs.iter().any(|path| path.starts_with("/h/.local/state/lichen")));
        let found = places(&[]);
        assert_eq!((found.own, found.home), (None, None));
    }
}
