//! What the kubeconfigs of all places say that there is. The places are kept apart, so that nothing of one fills up another.
//!
//! Files that belong to Kubernetes in general are only looked at for hubs of Lichen, which are marked: `lichen delete` must
//! never reach the cluster that somebody's kubectl happens to point to.

use std::{
    net::{TcpStream, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};

use super::{
    Choice, Document, Group, KubeconfigError, Place, Places, Section, Source, file,
    resolve::entry_server,
};

/// Most files in one list.
const MAX_FILES: usize = 64;
/// How long a hub on this machine may take to accept a connection.
const LOCAL_TIME: Duration = Duration::from_millis(500);

/// All kubeconfigs.
#[derive(Clone, Debug)]
pub struct Found {
    /// In the order in which they count.
    pub groups: Vec<Group>,
    /// Files that say nothing of use, with why.
    pub skipped: Vec<(PathBuf, String)>,
}

impl Found {
    /// Looks into every place.
    ///
    /// # Errors
    /// A file that was named can't be used. What merely happens to be there is skipped then.
    pub fn look(choice: &Choice) -> Result<Self, KubeconfigError> {
        let mut found = Self { groups: Vec::new(), skipped: Vec::new() };
        let Places { lichen, kubernetes, own, hubs, home } = &choice.places;
        if let Some(path) = &choice.kubeconfig {
            let Some(document) = file::read(path)? else {
                return Err(KubeconfigError::shape(path, "there is no such file"));
            };
            let sources = vec![Source { path: path.clone(), document }];
            found.groups.push(Group { place: Place::Named, sources });
            return Ok(found);
        }
        if !lichen.is_empty() {
            let sources = found.all_of(lichen)?;
            found.groups.push(Group { place: Place::Named, sources });
            return Ok(found);
        }
        let shared = found.readable(kubernetes);
        found.add(Place::Kubernetes, shared);
        if let Some((path, document)) =
            own.as_ref().map(|own| Ok((own, file::read(own)?))).transpose()?
        {
            let source = document.map(|document| Source { path: path.clone(), document });
            found.add(Place::Own, source.into_iter().collect());
        }
        let hub = likeliest(found.readable(hubs));
        found.add(Place::Hub, hub.into_iter().collect());
        let home: Vec<PathBuf> = home.iter().cloned().collect();
        let home = found.readable(&home);
        found.add(Place::Home, home);
        Ok(found)
    }

    fn add(&mut self, place: Place, sources: Vec<Source>) {
        if sources.is_empty() {
            return;
        }
        let group = Group { place, sources };
        if place.is_shared() && group.contexts().next().is_none() {
            let why = "none of its contexts is marked as a Lichen hub's (--kubeconfig uses it all the same)";
            let paths = group.sources.into_iter().map(|source| source.path);
            self.skipped.extend(paths.map(|path| (path, why.to_owned())));
            return;
        }
        self.groups.push(group);
    }

    /// The files of a list; those that are not there are passed over, as kubectl does.
    fn all_of(&mut self, paths: &[PathBuf]) -> Result<Vec<Source>, KubeconfigError> {
        let mut sources = Vec::new();
        for path in paths.iter().take(MAX_FILES) {
            match file::read(path)? {
                Some(document) => sources.push(Source { path: path.clone(), document }),
                None => self.skipped.push((path.clone(), "there is no such file".to_owned())),
            }
        }
        Ok(sources)
    }

    /// The files of a list that can be read.
    fn readable(&mut self, paths: &[PathBuf]) -> Vec<Source> {
        let mut sources = Vec::new();
        for path in paths.iter().take(MAX_FILES) {
            match file::read(path) {
                Ok(Some(document)) => sources.push(Source { path: path.clone(), document }),
                Ok(None) => {}
                Err(error) if error.is_refused() => {
                    let why = "only its owner may read it (sudo, or log in)".to_owned();
                    self.skipped.push((path.clone(), why));
                }
                Err(error) => self.skipped.push((path.clone(), error.to_string())),
            }
        }
        sources
    }

    /// The name of the current context, and the group that says so.
    #[must_use]
    pub fn current(&self) -> Option<(&Group, &str)> {
        self.groups.iter().find_map(|group| group.current().map(|name| (group, name)))
    }

    /// The group of a context.
    #[must_use]
    pub fn group_of(&self, context: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.has(context))
    }

    /// The context that is meant, with the group that it is in.
    ///
    /// # Errors
    /// There is none.
    pub fn context(&self, wanted: Option<&str>) -> Result<(&Group, String), KubeconfigError> {
        let names = || -> Vec<String> {
            let contexts = self.groups.iter().flat_map(Group::contexts);
            contexts.map(|context| context.name.to_owned()).collect()
        };
        let name = match wanted.or_else(|| self.current().map(|(_, name)| name)) {
            Some(name) => name,
            None => match names() {
                none if none.is_empty() => {
                    return Err(KubeconfigError::NoHub { skipped: self.skipped.clone() });
                }
                names => return Err(KubeconfigError::NoCurrent { names }),
            },
        };
        match self.group_of(name) {
            Some(group) => Ok((group, name.to_owned())),
            None => {
                let (name, skipped) = (name.to_owned(), self.skipped.clone());
                Err(KubeconfigError::NoContext { name, names: names(), skipped })
            }
        }
    }
}

/// Of the hubs on this machine, the first that answers; the first of all if there is only one, or none does. A file stays
/// behind when its hub is stopped.
fn likeliest(sources: Vec<Source>) -> Option<Source> {
    let mut different: Vec<Source> = Vec::new();
    for source in sources {
        if !different.iter().any(|known| known.document == source.document) {
            different.push(source);
        }
    }
    let answering = match different.len() {
        0 | 1 => None,
        _ => different.iter().position(|source| answers(&source.document)),
    };
    different.into_iter().nth(answering.unwrap_or(0))
}

fn answers(document: &Document) -> bool {
    let server = document.entries(Section::Clusters).find_map(|(_, cluster)| entry_server(cluster));
    let Some(server) = server else { return false };
    let addresses = (server.host(), server.port()).to_socket_addrs();
    let connects = |address| TcpStream::connect_timeout(&address, LOCAL_TIME).is_ok();
    addresses.is_ok_and(|mut addresses| addresses.any(connects))
}

#[cfg(test)]
mod tests {
    use std::{fs, net::TcpListener};

    use super::*;

    /// A directory with files, whose names say which place looks for them.
    struct Desk {
        dir: tempfile::TempDir,
        choice: Choice,
    }

    impl Desk {
        fn new(files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let path = |name: &str| dir.path().join(name);
            for (name, text) in files {
                fs::write(path(name), text).expect("written");
            }
            let places = Places {
                lichen: Vec::new(),
                kubernetes: vec![path("kube-1"), path("kube-2")],
                own: Some(path("own")),
                hubs: vec![path("hub-1"), path("hub-2")],
                home: Some(path("home")),
            };
            Self { choice: Choice { places, ..Choice::default() }, dir }
        }

        /// `FILE/CONTEXT`, or why not.
        fn meant(&self, wanted: Option<&str>) -> String {
            let found = match Found::look(&self.choice) {
                Ok(found) => found,
                Err(error) => return error.to_string(),
            };
            match found.context(wanted) {
                Ok((group, name)) => {
                    let entry = group.entry(Section::Contexts, &name).expect("it is there");
                    let file = entry.path.file_name().unwrap_or_default().to_string_lossy();
                    format!("{file}/{name}")
                }
                Err(error) => error.to_string().replace(&self.dir.path().display().to_string(), ""),
            }
        }
    }

    /// A context, its cluster and no user.
    fn file(current: &str, context: &str, is_ours: bool) -> String {
        let mark = if is_ours { ", extensions: [{name: lichen.dev/hub}]" } else { "" };
        format!(
            "current-context: '{current}'\n\
             clusters: [{{name: c-{context}, cluster: {{server: 'https://{context}'{mark}}}}}]\n\
             contexts: [{{name: {context}, context: {{cluster: c-{context}}}}}]\n"
        )
    }

    #[test]
    fn the_first_place_that_has_a_current_context_decides() {
        let (kube, own) = (file("k", "k", true), file("o", "o", false));
        let (hub, home) = (file("h", "h", true), file("m", "m", true));
        let all = [("kube-1", &kube), ("own", &own), ("hub-1", &hub), ("home", &home)];
        for (skip, expected) in ["kube-1/k", "own/o", "hub-1/h", "home/m"].iter().enumerate() {
            let files: Vec<_> =
                all[skip..].iter().map(|(name, text)| (*name, text.as_str())).collect();
            let desk = Desk::new(&files);
            assert_eq!(desk.meant(None), *expected);
            assert_eq!(desk.meant(Some("m")), "home/m", "a context may be named wherever it is");
        }
        let none = Desk::new(&[]).meant(None);
        assert!(none.contains("lichen hub") && none.contains("lichen login HUB"), "{none}");
    }

    #[test]
    fn another_cluster_of_kubectl_is_never_reached() {
        let prod = file("prod", "prod", false);
        let desk = Desk::new(&[("kube-1", &prod), ("home", &prod)]);
        let said = desk.meant(None);
        assert!(
            said.contains("/kube-1: none of its contexts is marked as a Lichen hub's"),
            "{said}"
        );
        let said = desk.meant(Some("prod"));
        assert!(said.starts_with("there is no context \"prod\"; there are none"), "{said}");
        // Ours is there as well, but kubectl points to the other one.
        let mixed = "current-context: prod\n\
             clusters: [{name: p, cluster: {server: 'https://p'}}, {name: c, cluster: {server: \
             'https://c', extensions: [{name: lichen.dev/hub}]}}]\n\
             contexts: [{name: prod, context: {cluster: p}}, {name: ours, context: {cluster: c}}]\n";
        let desk = Desk::new(&[("kube-1", mixed), ("own", &file("o", "o", false))]);
        assert_eq!(desk.meant(None), "own/o");
        assert_eq!(desk.meant(Some("ours")), "kube-1/ours");
    }

    #[test]
    fn what_is_named_counts_alone_and_as_it_is() {
        let prod = file("prod", "prod", false);
        let mut desk = Desk::new(&[("own", &file("o", "o", false)), ("named", &prod)]);
        desk.choice.places.lichen =
            vec![desk.dir.path().join("absent"), desk.dir.path().join("named")];
        assert_eq!(desk.meant(None), "named/prod");
        desk.choice.kubeconfig = Some(desk.dir.path().join("own"));
        assert_eq!(desk.meant(None), "own/o");
        desk.choice.kubeconfig = Some(desk.dir.path().join("absent"));
        assert!(desk.meant(None).contains("absent is no kubeconfig: there is no such file"));
    }

    #[test]
    fn files_of_one_list_are_merged_as_kubectl_does_and_those_of_different_places_are_not() {
        let first = "clusters: [{name: c, cluster: {server: 'https://1', extensions: [{name: lichen.dev/hub}]}}]\n\
                     contexts: [{name: a, context: {cluster: c}}]\n";
        let second = "current-context: b\n\
                      clusters: [{name: c, cluster: {server: 'https://2'}}]\n\
                      contexts: [{name: a, context: {cluster: x}}, {name: b, context: {cluster: c}}]\n";
        let own = "clusters: [{name: c, cluster: {server: 'https://3'}}]\n\
                   contexts: [{name: own, context: {cluster: c}}]\n";
        let desk = Desk::new(&[("kube-1", first), ("kube-2", second), ("own", own)]);
        assert_eq!(desk.meant(None), "kube-2/b");
        let found = Found::look(&desk.choice).expect("found");
        for (context, server) in [("a", "https://1"), ("b", "https://1"), ("own", "https://3")] {
            let group = found.group_of(context).expect(context);
            let cluster = group.entry(Section::Clusters, "c").expect("a cluster");
            assert_eq!(cluster.value["server"], server, "{context}");
        }
    }

    #[test]
    fn a_file_that_merely_happens_to_be_there_is_no_obstacle_but_our_own_is() {
        let desk =
            Desk::new(&[("kube-1", "- x"), ("home", "a: ["), ("hub-1", &file("h", "h", true))]);
        assert_eq!(desk.meant(None), "hub-1/h");
        assert!(desk.meant(Some("x")).contains("/kube-1: "), "it is told why it was no help");
        let desk = Desk::new(&[("own", "- x"), ("hub-1", &file("h", "h", true))]);
        assert!(desk.meant(None).contains("own is no kubeconfig"));
    }

    #[test]
    fn a_current_context_that_is_nowhere_is_told() {
        let said = Desk::new(&[("own", &file("gone", "o", false))]).meant(None);
        assert!(said.starts_with("there is no context \"gone\"; there are o"), "{said}");
        let said = Desk::new(&[("own", &file("", "o", false))]).meant(None);
        assert!(said.contains("(o); choose: lichen config use-context NAME"), "{said}");
        // One in another place does.
        let (own, hub) = (file("h", "o", false), file("h", "h", true));
        assert_eq!(Desk::new(&[("own", &own), ("hub-1", &hub)]).meant(None), "hub-1/h");
    }

    #[test]
    fn of_several_hubs_on_this_machine_the_one_that_answers_is_meant() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let free =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        let at = |address: std::net::SocketAddr, name: &str| {
            file(name, name, true)
                .replace(&format!("https://{name}"), &format!("https://{address}"))
        };
        let answering = at(listener.local_addr().expect("an address"), "up");
        let silent = at(free, "down");
        assert_eq!(Desk::new(&[("hub-1", &silent), ("hub-2", &answering)]).meant(None), "hub-2/up");
        assert_eq!(Desk::new(&[("hub-1", &answering), ("hub-2", &silent)]).meant(None), "hub-1/up");
        assert_eq!(Desk::new(&[("hub-1", &silent)]).meant(None), "hub-1/down");
    }
}
