//! Talks to a hub: Kubernetes' REST paths and Lichen's own. Blocking; a command line has one thing to wait for.

mod answer;
mod follow;
mod server;

use std::{
    io::Read,
    time::{Duration, Instant},
};

use lichen_hub_core::api::{Key, Kind, Object};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::{Agent, Body, SendBody, http};

pub use answer::{ClientError, Refused};
pub use follow::{Follow, News};
pub use server::{DEFAULT_SERVER, Server, ServerError};

/// How long connecting to a machine that is up may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long the beginning of an answer may take. The hub itself gives up on its disk after 30 seconds.
const ANSWER_TIME: Duration = Duration::from_secs(40);
/// Largest answer that is read whole: a list of all that a hub can hold.
const MAX_ANSWER: u64 = 1 << 30;
/// What stays as it is in a segment of a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A list, as the hub answered it.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The objects as they came.
    pub items: Vec<Value>,
    /// Watch from here.
    pub version: String,
}

/// Talks to one hub. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    server: Server,
    trace: bool,
}

impl Client {
    /// A client; nothing is sent yet. With `trace`, each request is told on stderr.
    #[must_use]
    pub fn new(server: Server, trace: bool) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_recv_response(Some(ANSWER_TIME))
            .user_agent(concat!("lichen/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: Agent::new_with_config(config), server, trace }
    }

    /// The hub that is talked to.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Sends a request and reads nothing but the head of its answer.
    ///
    /// # Errors
    /// The hub can't be reached.
    pub fn send<'b>(
        &self,
        method: http::Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<SendBody<'b>>,
    ) -> Result<http::Response<Body>, ClientError> {
        let url = self.server.url(target);
        let mut request = http::Request::builder().method(method.clone()).uri(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let invalid = |error: http::Error| ClientError::Answer {
            url: url.clone(),
            cause: format!("it could not be asked: {error}"),
        };
        let begun = Instant::now();
        let result = match body {
            Some(body) => self.agent.run(request.body(body).map_err(invalid)?),
            None => self.agent.run(request.body(()).map_err(invalid)?),
        };
        if self.trace {
            let outcome =
                result.as_ref().map_or_else(ToString::to_string, |r| r.status().to_string());
            eprintln!("{method} {url} → {outcome} ({} ms)", begun.elapsed().as_millis());
        }
        result.map_err(|error| ClientError::from_ureq(&self.server, &url, error))
    }

    /// Asks for JSON, perhaps with JSON. The HTTP status tells what 200 and 201 mean.
    ///
    /// # Errors
    /// The hub can't be reached or refuses.
    pub fn call(
        &self,
        method: http::Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), ClientError> {
        let json = body.map(ToString::to_string);
        let headers: &[_] = match json {
            Some(_) => &[("accept", "application/json"), ("content-type", "application/json")],
            None => &[("accept", "application/json")],
        };
        let needs_body = matches!(method, http::Method::POST | http::Method::PUT);
        let bytes = json.as_deref().or(needs_body.then_some("")).map(str::as_bytes);
        let mut reader = bytes;
        let body = reader.as_mut().map(|reader| SendBody::from_reader(reader));
        let length = bytes.map(|bytes| bytes.len().to_string());
        let mut headers = headers.to_vec();
        if let Some(length) = &length {
            headers.push(("content-length", length));
        }
        let response = self.send(method, target, &headers, body)?;
        let status = response.status().as_u16();
        let bytes = read_all(response, &self.server.url(target))?;
        if !(200..300).contains(&status) {
            return Err(ClientError::Refused(Refused::read(status, &bytes)));
        }
        let value = serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer {
            url: self.server.url(target),
            cause: format!("it is not JSON: {error}"),
        })?;
        Ok((status, value))
    }

    /// Asks for JSON.
    ///
    /// # Errors
    /// The hub can't be reached or refuses.
    pub fn get(&self, target: &str) -> Result<Value, ClientError> {
        self.call(http::Method::GET, target, None).map(|(_, value)| value)
    }

    /// Opens an answer that is read as it comes.
    ///
    /// # Errors
    /// The hub can't be reached or refuses.
    pub fn stream(&self, target: &str) -> Result<impl Read + Send + use<>, ClientError> {
        let response = self.send(http::Method::GET, target, &[], None)?;
        let status = response.status().as_u16();
        if status != 200 {
            let bytes = read_all(response, &self.server.url(target))?;
            return Err(ClientError::Refused(Refused::read(status, &bytes)));
        }
        Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Reads one object; `None` if it is not there.
    ///
    /// # Errors
    /// The hub can't be reached or refuses.
    pub fn read(&self, key: &Key) -> Result<Option<Value>, ClientError> {
        match self.get(&path_of(key)) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all objects of a kind, in one namespace or everywhere.
    ///
    /// # Errors
    /// The hub can't be reached or refuses.
    pub fn list(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: Option<&str>,
    ) -> Result<Listing, ClientError> {
        let mut target = collection(kind, namespace);
        target.push_str(&query(&[("labelSelector", selector.unwrap_or_default())]));
        let mut answer = self.get(&target)?;
        let version = answer["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        let Value::Array(mut items) = answer["items"].take() else {
            let cause = "it has no items".to_owned();
            return Err(ClientError::Answer { url: self.server.url(&target), cause });
        };
        // Items of a list may leave out what the list says of them all.
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.entry("apiVersion").or_insert_with(|| kind.api_version().into());
            item.entry("kind").or_insert_with(|| kind.as_str().into());
        }
        Ok(Listing { items, version })
    }
}

/// An answer as bytes.
pub(super) fn read_all(response: http::Response<Body>, url: &str) -> Result<Vec<u8>, ClientError> {
    response
        .into_body()
        .into_with_config()
        .limit(MAX_ANSWER)
        .read_to_vec()
        .map_err(|error| ClientError::Broken { url: url.to_owned(), cause: error.to_string() })
}

/// An object from its JSON. Fields of a newer hub are passed over.
///
/// # Errors
/// It is no object of this kind.
pub fn object_of(kind: Kind, value: &Value) -> Result<Object, ClientError> {
    let json = value.to_string();
    Object::from_json(kind, json.as_bytes()).map_err(|error| ClientError::Answer {
        url: format!("a {kind}"),
        cause: format!("it is no {kind} that this lichen understands: {error}"),
    })
}

/// The path of a kind's objects.
#[must_use]
pub fn collection(kind: Kind, namespace: Option<&str>) -> String {
    let root = match kind.api_version() {
        "v1" => "/api/v1".to_owned(),
        version => format!("/apis/{version}"),
    };
    match namespace.filter(|_| kind.namespaced()) {
        Some(namespace) => format!("{root}/namespaces/{}/{}", segment(namespace), kind.plural()),
        None => format!("{root}/{}", kind.plural()),
    }
}

/// The path of one object.
#[must_use]
pub fn path_of(key: &Key) -> String {
    format!("{}/{}", collection(key.kind, Some(&key.namespace)), segment(&key.name))
}

/// A segment of a path.
#[must_use]
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// A query string of the parameters that are not empty.
#[must_use]
pub fn query(parameters: &[(&str, &str)]) -> String {
    let given = parameters.iter().filter(|(_, value)| !value.is_empty());
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    if text.is_empty() { text } else { format!("?{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_kubernetes_own_and_names_cannot_leave_them() {
        let path = |kind, namespace: &str, name: &str| path_of(&Key::new(kind, namespace, name));
        assert_eq!(
            path(Kind::Deployment, "a", "web"),
            "/apis/apps/v1/namespaces/a/deployments/web"
        );
        assert_eq!(path(Kind::Node, "a", "pi"), "/api/v1/nodes/pi");
        assert_eq!(path(Kind::Pod, "../x", "a?b"), "/api/v1/namespaces/..%2Fx/pods/a%3Fb");
        assert_eq!(collection(Kind::Pod, None), "/api/v1/pods");
        assert_eq!(query(&[("a", ""), ("b", "c=d,e")]), "?b=c%3Dd%2Ce");
    }
}
