//! Talks to a hub over HTTPS: Kubernetes' REST paths and Lichen's own. Blocking; a command line has one thing to wait for.
//! Which hub that is, is looked up when it is first asked something.

mod answer;
mod authorities;
mod connection;
mod first_contact;
mod follow;
mod listing;
mod server;
mod tls;
mod trust;
mod warning;
mod way;

use std::{
    io::Read,
    sync::{Arc, OnceLock},
    time::Instant,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::{Body, SendBody, http};

pub use answer::{ClientError, Refused};
pub use authorities::{Authorities, Fingerprint};
pub use connection::{Connection, Credentials, KeyedCertificate, Token};
pub use first_contact::{Introduction, introduce};
pub use follow::{Follow, News};
pub use listing::{Column, Form, Item, Listing, Selectors};
pub use server::{DEFAULT_PORT, DEFAULT_SERVER, Server, ServerError};
pub use trust::Distrust;

use super::{
    discovery::ObjectRef,
    kubeconfig::{self, Choice, KubeconfigError},
};
use way::Way;

/// The usual form of bodies.
const JSON: &str = "application/json";
/// Largest answer that is read whole: a list of all that a hub can hold.
const MAX_ANSWER: u64 = 1 << 30;
/// What stays as it is in a segment of a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is sent and what should come back.
struct Request<'a> {
    method: http::Method,
    target: &'a str,
    accept: &'a str,
    content_type: &'a str,
}

/// Talks to one hub. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    choice: Choice,
    trace: bool,
    way: OnceLock<Result<Way, Arc<KubeconfigError>>>,
}

impl Client {
    /// A client of the hub that is meant; nothing is looked up or sent yet. With `trace`, each request is told on stderr.
    #[must_use]
    pub fn new(choice: Choice, trace: bool) -> Self {
        Self { shared: Arc::new(Shared { choice, trace, way: OnceLock::new() }) }
    }

    /// A client of a known hub; nothing is sent yet.
    ///
    /// # Errors
    /// The certificates can't be used.
    pub fn to(connection: Connection, trace: bool) -> Result<Self, KubeconfigError> {
        let way = OnceLock::from(Ok(Way::new(connection)?));
        Ok(Self { shared: Arc::new(Shared { choice: Choice::default(), trace, way }) })
    }

    /// What the command line said of the hub that is meant.
    #[must_use]
    pub fn choice(&self) -> &Choice {
        &self.shared.choice
    }

    /// Whether each request is told.
    #[must_use]
    pub fn trace(&self) -> bool {
        self.shared.trace
    }

    /// How the hub is reached.
    ///
    /// # Errors
    /// It is not known which one is meant.
    pub fn connection(&self) -> Result<&Connection, ClientError> {
        self.way().map(|way| &way.connection)
    }

    /// The URL of a path, for messages; the path alone if it is not known of which hub.
    #[must_use]
    pub fn url(&self, target: &str) -> String {
        self.way().map_or_else(|_| target.to_owned(), |way| way.connection.server.url(target))
    }

    fn way(&self) -> Result<&Way, ClientError> {
        let Shared { choice, trace, way } = self.shared.as_ref();
        let known = way.get_or_init(|| {
            let way = kubeconfig::connection(choice).and_then(Way::new);
            if let (true, Ok(Way { connection, .. })) = (trace, &way) {
                eprintln!("the hub at {}, by {}", connection.server, connection.origin);
            }
            way.map_err(Arc::new)
        });
        known.as_ref().map_err(|error| ClientError::Kubeconfig(error.clone()))
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
        let Way { agent, connection } = self.way()?;
        let url = connection.server.url(target);
        let mut request = http::Request::builder().method(method.clone()).uri(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Credentials::Token(token) = &connection.credentials {
            request = request.header("authorization", format!("Bearer {}", token.secret()));
        }
        let invalid = |error: http::Error| ClientError::Answer {
            url: url.clone(),
            cause: format!("it could not be asked: {error}"),
        };
        let begun = Instant::now();
        let result = match body {
            Some(body) => agent.run(request.body(body).map_err(invalid)?),
            None => agent.run(request.body(()).map_err(invalid)?),
        };
        if self.trace() {
            let outcome =
                result.as_ref().map_or_else(ToString::to_string, |r| r.status().to_string());
            eprintln!("{method} {url} → {outcome} ({} ms)", begun.elapsed().as_millis());
        }
        result.map_err(|error| ClientError::from_ureq(connection, &url, error))
    }

    /// The hub's no, as it is told: Kubernetes' own words, but for what only this side knows.
    #[must_use]
    pub fn refusal(&self, code: u16, bytes: &[u8]) -> ClientError {
        let refused = Refused::read(code, bytes);
        match self.connection() {
            Ok(connection) if code == 401 => ClientError::unknown(connection, &refused),
            _ => ClientError::Refused(refused),
        }
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
        self.exchange(&Request { method, target, accept: JSON, content_type: JSON }, body)
    }

    fn exchange(
        &self,
        request: &Request<'_>,
        body: Option<&Value>,
    ) -> Result<(u16, Value), ClientError> {
        let Request { method, target, accept, content_type } = request;
        let json = body.map(ToString::to_string);
        let mut headers = vec![("accept", *accept)];
        if json.is_some() {
            headers.push(("content-type", content_type));
        }
        let needs_body = matches!(*method, http::Method::POST | http::Method::PUT);
        let bytes = json.as_deref().or(needs_body.then_some("")).map(str::as_bytes);
        let mut reader = bytes;
        let body = reader.as_mut().map(|reader| SendBody::from_reader(reader));
        let length = bytes.map(|bytes| bytes.len().to_string());
        if let Some(length) = &length {
            headers.push(("content-length", length));
        }
        let response = self.send(method.clone(), target, &headers, body)?;
        warning::show(response.headers());
        let status = response.status().as_u16();
        let bytes = read_all(response, &self.url(target))?;
        if !(200..300).contains(&status) {
            return Err(self.refusal(status, &bytes));
        }
        let value = serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer {
            url: self.url(target),
            cause: format!("it is not JSON: {error}"),
        })?;
        Ok((status, value))
    }

    /// Asks for JSON in a certain form.
    ///
    /// # Errors
    /// The hub can't be reached or refuses.
    fn get_as(&self, target: &str, accept: &str) -> Result<Value, ClientError> {
        let method = http::Method::GET;
        let request = Request { method, target, accept, content_type: JSON };
        self.exchange(&request, None).map(|(_, value)| value)
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
        self.stream_as(target, "*/*")
    }

    fn stream_as(
        &self,
        target: &str,
        accept: &str,
    ) -> Result<impl Read + Send + use<>, ClientError> {
        let response = self.send(http::Method::GET, target, &[("accept", accept)], None)?;
        let status = response.status().as_u16();
        if status != 200 {
            let bytes = read_all(response, &self.url(target))?;
            return Err(self.refusal(status, &bytes));
        }
        Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Reads one object; `None` if it is not there.
    ///
    /// # Errors
    /// The hub can't be reached or refuses.
    pub fn read(&self, object: &ObjectRef) -> Result<Option<Value>, ClientError> {
        match self.get(&object.path()) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes parts of an object (RFC 7386: maps are merged, everything else is replaced).
    ///
    /// # Errors
    /// The hub can't be reached or refuses.
    pub fn merge(&self, object: &ObjectRef, patch: &Value) -> Result<Value, ClientError> {
        let request = Request {
            method: http::Method::PATCH,
            target: &object.path(),
            accept: JSON,
            content_type: "application/merge-patch+json",
        };
        self.exchange(&request, Some(patch)).map(|(_, value)| value)
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
    fn a_query_has_what_is_given_and_escapes_it() {
        assert_eq!(query(&[("a", ""), ("b", "c=d,e")]), "?b=c%3Dd%2Ce");
        assert_eq!(query(&[("a", "")]), "");
    }
}
