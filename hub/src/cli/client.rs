//! Talks to a hub: Kubernetes' REST paths and Lichen's own. Blocking; a command line has one thing to wait for.

mod answer;
mod follow;
mod listing;
mod server;
mod token;

use std::{
    io::Read,
    time::{Duration, Instant},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::{Agent, Body, SendBody, http};

pub use answer::{ClientError, Refused};
pub use follow::{Follow, News};
pub use listing::{Column, Form, Item, Listing, Selectors};
pub use server::{DEFAULT_SERVER, Server, ServerError};
pub use token::{Token, TokenError};

use super::discovery::ObjectRef;

/// The usual form of bodies.
const JSON: &str = "application/json";
/// How long connecting to a machine that is up may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long the beginning of an answer may take. The hub itself gives up on its disk after 30 seconds.
const ANSWER_TIME: Duration = Duration::from_secs(40);
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
    agent: Agent,
    server: Server,
    token: Option<Token>,
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
        Self { agent: Agent::new_with_config(config), server, token: None, trace }
    }

    /// The same client, which shows a token with every request.
    #[must_use]
    pub fn with_token(self, token: Option<Token>) -> Self {
        Self { token, ..self }
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
        if let Some(token) = &self.token {
            request = request.header(http::header::AUTHORIZATION, token.header());
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
            let bytes = read_all(response, &self.server.url(target))?;
            return Err(ClientError::Refused(Refused::read(status, &bytes)));
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
