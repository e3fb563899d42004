//! A hub's HTTP API, as any client sees it.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use lichen_hub::cli::{
    client::{Client, ClientError},
    kubeconfig::Choice,
};
use serde_json::Value;
use ureq::{
    Body, SendBody,
    http::{Method, Response},
};

use crate::wait::{DEADLINE, wait_until};

const JSON: &str = "application/json";

/// An answer that is an error.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The HTTP status, or 0 if there was no answer.
    pub status: u16,
    /// Its body, or why there is none.
    pub text: String,
}

/// A client of one hub.
#[derive(Clone, Debug)]
pub struct Api {
    kubeconfig: PathBuf,
    client: Arc<OnceLock<Client>>,
}

/// A Pod, as far as the tests care.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its uid without dashes: the name of its directory on the device.
    pub uid: String,
    /// Its device.
    pub node: String,
    /// `Pending`, `Running` and so on.
    pub phase: String,
    /// Whether it runs and its device is heard.
    pub ready: bool,
    /// Whether it is to go.
    pub going: bool,
    /// How often it was started again.
    pub restarts: u64,
    /// Hash of its template.
    pub template: String,
    /// Why it does not run.
    pub reason: String,
    /// The same in words.
    pub message: String,
}

impl Pod {
    /// Reads one that the API shows.
    #[must_use]
    pub fn read(object: &Value) -> Self {
        let text = |pointer: &str| {
            object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let container = object.pointer("/status/containerStatuses/0");
        let of_container = |name: &str| container.and_then(|status| status.get(name));
        Self {
            name: text("/metadata/name"),
            uid: text("/metadata/uid").replace('-', ""),
            node: text("/spec/nodeName"),
            phase: text("/status/phase"),
            ready: of_container("ready").and_then(Value::as_bool).unwrap_or_default(),
            going: object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()),
            restarts: of_container("restartCount").and_then(Value::as_u64).unwrap_or_default(),
            template: text("/metadata/labels/pod-template-hash"),
            reason: text("/status/reason"),
            message: text("/status/message"),
        }
    }
}

/// One line of a watch.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `ADDED`, `MODIFIED`, `DELETED`.
    pub word: String,
    /// The object.
    pub object: Value,
    /// When the line arrived here.
    pub at: Instant,
}

impl Seen {
    /// The object as a Pod.
    #[must_use]
    pub fn pod(&self) -> Pod {
        Pod::read(&self.object)
    }
}

/// A watch. It ends with its hub.
#[derive(Debug)]
pub struct Watch(Receiver<Seen>);

impl Watch {
    /// The next line.
    ///
    /// # Panics
    /// If none arrives in time.
    #[must_use]
    pub fn next(&self, what: &str) -> Seen {
        self.0.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("the watch should show {what}"))
    }

    /// The next line that `wanted` accepts.
    ///
    /// # Panics
    /// If none arrives in time.
    pub fn until(&self, what: &str, mut wanted: impl FnMut(&Seen) -> bool) -> Seen {
        loop {
            let seen = self.next(what);
            if wanted(&seen) {
                return seen;
            }
        }
    }

    /// Every line that has arrived by now.
    #[must_use]
    pub fn so_far(&self) -> Vec<Seen> {
        self.0.try_iter().collect()
    }

    /// Whether a line arrives within `time`.
    #[must_use]
    pub fn any_within(&self, time: Duration) -> Option<Seen> {
        self.0.recv_timeout(time).ok()
    }
}

/// Where the workloads of a kind are.
#[must_use]
pub fn collection(kind: &str) -> String {
    let group = match kind {
        "deployments" | "daemonsets" => "/apis/apps/v1",
        _ => "/api/v1",
    };
    format!("{group}/namespaces/default/{kind}")
}

impl Api {
    /// A client of the hub whose admin's kubeconfig this is, or will be.
    #[must_use]
    pub fn new(kubeconfig: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), client: Arc::default() }
    }

    fn client(&self) -> Result<&Client, Refused> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let kubeconfig = Some(self.kubeconfig.clone());
        let client = Client::new(Choice { kubeconfig, ..Choice::default() }, false);
        // A hub that has not started yet has none: it is looked for again.
        client.connection().map_err(|error| Refused { status: 0, text: error.to_string() })?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Sends a request and reads its answer.
    fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<String, Refused> {
        let text = body.map(|(_, value)| value.to_string());
        let mut headers = Vec::new();
        if let Some((kind, _)) = body {
            headers.push(("content-type", kind));
        }
        let length = text.as_ref().map(|text| text.len().to_string());
        if let Some(length) = &length {
            headers.push(("content-length", length));
        }
        let mut bytes = text.as_deref().map(str::as_bytes);
        let body = bytes.as_mut().map(|bytes| SendBody::from_reader(bytes));
        read(self.client()?.send(method, path, &headers, body))
    }

    /// GETs a text.
    ///
    /// # Errors
    /// No answer, or one with an error status.
    pub fn text(&self, path: &str) -> Result<String, Refused> {
        self.ask(Method::GET, path, None)
    }

    /// GETs an object.
    ///
    /// # Errors
    /// See [`Self::text`].
    pub fn get(&self, path: &str) -> Result<Value, Refused> {
        self.text(path).and_then(|text| parse(&text))
    }

    /// POSTs an object into a collection.
    ///
    /// # Errors
    /// See [`Self::text`].
    pub fn post(&self, path: &str, object: &Value) -> Result<Value, Refused> {
        self.ask(Method::POST, path, Some((JSON, object))).and_then(|text| parse(&text))
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// See [`Self::text`].
    pub fn put(&self, path: &str, object: &Value) -> Result<Value, Refused> {
        self.ask(Method::PUT, path, Some((JSON, object))).and_then(|text| parse(&text))
    }

    /// Changes an object or its subresource by a merge patch.
    ///
    /// # Errors
    /// See [`Self::text`].
    pub fn merge(&self, path: &str, patch: &Value) -> Result<Value, Refused> {
        let body = Some(("application/merge-patch+json", patch));
        self.ask(Method::PATCH, path, body).and_then(|text| parse(&text))
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// See [`Self::text`].
    pub fn delete(&self, path: &str) -> Result<String, Refused> {
        self.ask(Method::DELETE, path, None)
    }

    /// Creates an object, or replaces the one of that name.
    ///
    /// # Panics
    /// If the hub refuses it.
    pub fn apply(&self, kind: &str, object: &Value) {
        let path = collection(kind);
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap();
        let answer = match self.put(&format!("{path}/{name}"), object) {
            Err(refused) if refused.status == 404 => self.post(&path, object),
            answer => answer,
        };
        answer.unwrap_or_else(|refused| panic!("the hub should accept {object}: {refused:?}"));
    }

    /// Deletes a workload by kind and name.
    ///
    /// # Panics
    /// If the hub refuses.
    pub fn remove(&self, kind: &str, name: &str) {
        let answer = self.delete(&format!("{}/{name}", collection(kind)));
        answer.unwrap_or_else(|refused| panic!("the hub should delete {name}: {refused:?}"));
    }

    /// Lists a collection. A hub that does not answer has nothing.
    #[must_use]
    pub fn list(&self, path: &str) -> Vec<Value> {
        let list = self.get(path).unwrap_or_default();
        list.get("items").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    /// Every Pod.
    #[must_use]
    pub fn pods(&self) -> Vec<Pod> {
        self.list("/api/v1/pods").iter().map(Pod::read).collect()
    }

    /// Every Pod of a workload, by the label `app` of its template, that is not to go.
    #[must_use]
    pub fn pods_of(&self, app: &str) -> Vec<Pod> {
        let pods = self.list(&format!("/api/v1/pods?labelSelector=app%3D{app}"));
        pods.iter().map(Pod::read).filter(|pod| !pod.going).collect()
    }

    /// Waits until a workload has exactly `count` Pods, and all run.
    ///
    /// # Panics
    /// If that does not happen in time.
    #[must_use]
    pub fn until_running(&self, app: &str, count: usize) -> Vec<Pod> {
        self.until_pods(&format!("{count} of {app} run"), app, |pods| {
            pods.len() == count && pods.iter().all(|pod| pod.ready)
        })
    }

    /// As [`Self::until_running`], when all must have been started again once. Until a device has reported, the hub
    /// shows what it last heard.
    ///
    /// # Panics
    /// If that does not happen in time.
    #[must_use]
    pub fn until_running_again(&self, app: &str, count: usize) -> Vec<Pod> {
        self.until_pods(&format!("{count} of {app} run again"), app, |pods| {
            pods.len() == count && pods.iter().all(|pod| pod.ready && pod.restarts == 1)
        })
    }

    /// Waits until exactly one Pod of a workload is there, and it runs.
    ///
    /// # Panics
    /// If that does not happen in time.
    #[must_use]
    pub fn until_one_runs(&self, app: &str) -> Pod {
        self.until_running(app, 1).remove(0)
    }

    /// Waits until the Pods of a workload are as wanted. Those that are to go are not among them.
    ///
    /// # Panics
    /// If that does not happen in time.
    pub fn until_pods(
        &self,
        what: &str,
        app: &str,
        mut wanted: impl FnMut(&[Pod]) -> bool,
    ) -> Vec<Pod> {
        wait_until(what, || {
            let pods = self.pods_of(app);
            if wanted(&pods) { Ok(pods) } else { Err(format!("{pods:#?}")) }
        })
    }

    /// Waits until there is no Pod at all, not even one that is to go.
    ///
    /// # Panics
    /// If that does not happen in time.
    pub fn until_no_pods(&self) {
        wait_until("no uid is left", || match self.get("/api/v1/pods") {
            Ok(list) if list["items"].as_array().is_some_and(Vec::is_empty) => Ok(()),
            seen => Err(format!("{seen:?}")),
        });
    }

    /// Whether a device is connected.
    #[must_use]
    pub fn is_ready(&self, node: &str) -> bool {
        self.node_condition(node) == "True"
    }

    /// Waits until a device is connected.
    ///
    /// # Panics
    /// If that does not happen in time.
    pub fn until_ready(&self, node: &str) {
        wait_until(&format!("{node} is ready"), || match self.node_condition(node) {
            ready if ready == "True" => Ok(()),
            other => Err(other),
        });
    }

    /// Waits until the hub knows that a device is gone.
    ///
    /// # Panics
    /// If that does not happen in time.
    pub fn until_away(&self, node: &str) {
        wait_until(&format!("{node} is away"), || match self.node_condition(node) {
            ready if ready == "Unknown" => Ok(()),
            other => Err(other),
        });
    }

    fn node_condition(&self, node: &str) -> String {
        let node = self.get(&format!("/api/v1/nodes/{node}")).unwrap_or_default();
        let conditions = node.pointer("/status/conditions").and_then(Value::as_array).cloned();
        let ready = conditions.unwrap_or_default().into_iter().find(|c| c["type"] == "Ready");
        ready.and_then(|ready| ready["status"].as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Messages of the events with a reason about an object, each as often as it was counted.
    #[must_use]
    pub fn events(&self, reason: &str, about: &str) -> Vec<String> {
        let mut found = Vec::new();
        for event in self.list("/api/v1/events") {
            if event["reason"] == reason && event["involvedObject"]["name"] == about {
                let count = usize::try_from(event["count"].as_u64().unwrap_or(1)).unwrap();
                let message = event["message"].as_str().unwrap_or_default().to_owned();
                found.extend(std::iter::repeat_n(message, count));
            }
        }
        found
    }

    /// A Pod's log. `query` is such as `previous=true`.
    ///
    /// # Errors
    /// See [`Self::text`].
    pub fn log(&self, pod: &str, query: &str) -> Result<String, Refused> {
        self.text(&format!("{}/{pod}/log?{query}", collection("pods")))
    }

    /// Waits until a Pod's log is as wanted.
    ///
    /// # Panics
    /// If that does not happen in time.
    pub fn until_log(
        &self,
        what: &str,
        pod: &str,
        query: &str,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> String {
        wait_until(what, || match self.log(pod, query) {
            Ok(log) if wanted(&log) => Ok(log),
            seen => Err(format!("{seen:?}")),
        })
    }

    /// Watches a collection, such as `/api/v1/pods`, from now on, starting with all that is there.
    ///
    /// # Panics
    /// If the hub refuses.
    #[must_use]
    pub fn watch(&self, path: &str) -> Watch {
        let separator = if path.contains('?') { '&' } else { '?' };
        let target = format!("{path}{separator}watch=true&timeoutSeconds=3600");
        let client = self.client().unwrap();
        let response = client.send(Method::GET, &target, &[], None).unwrap();
        assert_eq!(response.status().as_u16(), 200, "the hub should accept a watch");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let reader = BufReader::new(response.into_body().into_reader());
            for line in reader.lines().map_while(Result::ok) {
                let mut line: Value = serde_json::from_str(&line).unwrap_or_default();
                let word = line["type"].as_str().unwrap_or_default().to_owned();
                let seen = Seen { word, object: line["object"].take(), at: Instant::now() };
                if sender.send(seen).is_err() {
                    return;
                }
            }
        });
        Watch(receiver)
    }
}

fn read(answer: Result<Response<Body>, ClientError>) -> Result<String, Refused> {
    let failed = |error: ureq::Error| Refused { status: 0, text: error.to_string() };
    let broken = |error: ClientError| Refused { status: 0, text: error.to_string() };
    let mut response = answer.map_err(broken)?;
    let status = response.status().as_u16();
    let text =
        response.body_mut().with_config().limit(64 << 20).read_to_string().map_err(failed)?;
    if (200..300).contains(&status) { Ok(text) } else { Err(Refused { status, text }) }
}

fn parse(text: &str) -> Result<Value, Refused> {
    serde_json::from_str(text)
        .map_err(|error| Refused { status: 0, text: format!("{error}: {text}") })
}
