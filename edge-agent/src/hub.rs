//! The hub's HTTP side, over TLS on its device port: how a device joins and renews, what may have changed of the hub, who
//! holds a name, and artefacts.
//!
//! Every call blocks, on a thread that ends with the call, so that an idle agent holds no HTTP state. Answers are
//! untrusted: bounded, and checked before use. What to do about a failure is the caller's business.
//!
//! The client is ureq with a connector of ours ([`connector`]): with `http` and `httparse`, which any other client has too,
//! it is 118 KB of the program.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use firmware_compat::{
    enrolment::{
        Address, CONNECT_PATH, ENROL_PATH, EnrolRequest, Enrolled, Holder, HubFacts,
        MAX_DOCUMENT_BYTES, Pending, RENEW_PATH, Refusal, RenewRequest, SESSION_PATH, Text,
    },
    id::Hash,
    logbook::{Handover, Kept, LOGBOOK_PATH},
    topic::is_device_name,
};
use serde::{Serialize, de::DeserializeOwned};
use ureq::{Body, http::Response};

use crate::membership::keeper::Board;

mod connector;
mod download;
mod error;

pub use download::download;
pub use error::HubError;

/// How long a small call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// How long a connection, or the next bytes of a download, may take. A slow link is not a broken one.
const STEP_DEADLINE: Duration = Duration::from_secs(30);
/// Buffers of one connection; the defaults are ten times that.
const BUFFER_BYTES: usize = 16 * 1024;
/// The start of an answer that is shown if it is no JSON.
const SHOWN_BYTES: usize = 200;

/// How the hub is called: where it is, who is believed to be it, and what is shown to it.
#[derive(Clone)]
pub struct HubClient {
    tls: Arc<rustls::ClientConfig>,
    addresses: Vec<Address>,
    /// The address that worked last is tried first.
    first: Arc<AtomicUsize>,
}

/// What a hub says to a device that wants to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It has.
    Enrolled(Box<Enrolled>),
    /// Not yet.
    Pending(Pending),
}

/// What is asked for.
#[derive(Clone, Copy)]
struct Request<'r> {
    path: &'r str,
    /// Bytes of a body that are there already.
    offset: u64,
    /// JSON, for a POST.
    body: Option<&'r [u8]>,
    deadline: Option<Duration>,
}

impl<'r> Request<'r> {
    fn get(path: &'r str) -> Self {
        Self { path, offset: 0, body: None, deadline: Some(CALL_DEADLINE) }
    }
}

impl HubClient {
    /// The hub at these addresses, tried in turn. The configuration's ALPN is `http/1.1`.
    #[must_use]
    pub fn new(tls: Arc<rustls::ClientConfig>, addresses: Vec<Address>) -> Self {
        Self { tls, addresses, first: Arc::default() }
    }

    /// Where the hub is.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Where it answered last; the first of its addresses if it never did.
    #[must_use]
    pub fn reached(&self) -> Option<&Address> {
        self.addresses.get(self.first.load(Relaxed))
    }

    /// Asks to become a device of the hub.
    ///
    /// # Errors
    /// See [`HubError`].
    pub fn enrol(&self, request: &EnrolRequest) -> Result<Joined, HubError> {
        let (status, text) = self.post(ENROL_PATH, request)?;
        match status {
            202 => pending(&text).map(Joined::Pending),
            _ => parse(ENROL_PATH, &text).map(|enrolled| Joined::Enrolled(Box::new(enrolled))),
        }
    }

    /// Asks for a new certificate.
    ///
    /// # Errors
    /// See [`HubError`].
    pub fn renew(&self, request: &RenewRequest) -> Result<Enrolled, HubError> {
        parse(RENEW_PATH, &self.post(RENEW_PATH, request)?.1)
    }

    /// Asks what is to be known of the hub by now.
    ///
    /// # Errors
    /// See [`HubError`].
    pub fn connect(&self) -> Result<HubFacts, HubError> {
        self.document(CONNECT_PATH)
    }

    /// Hands over what the device has noted.
    ///
    /// # Errors
    /// See [`HubError`].
    pub fn hand_over(&self, handover: &Handover) -> Result<Kept, HubError> {
        parse(LOGBOOK_PATH, &self.post(LOGBOOK_PATH, handover)?.1)
    }

    /// Asks who is connected under this device's name, and says which board asks: with a broker beside it the hub notices
    /// so that there are two.
    ///
    /// # Errors
    /// See [`HubError`].
    pub fn session(&self, board: Board) -> Result<Holder, HubError> {
        let Board { agent, boot } = board;
        self.document(&format!("{SESSION_PATH}?agent={agent}&boot={boot}"))
    }

    fn document<T: DeserializeOwned>(&self, path: &str) -> Result<T, HubError> {
        let (_, text) = self.text(Request::get(path))?;
        parse(path, &text)
    }

    fn post(&self, path: &str, body: &impl Serialize) -> Result<(u16, String), HubError> {
        let json = serde_json::to_vec(body).expect("texts and numbers encode");
        self.text(Request { body: Some(&json), ..Request::get(path) })
    }

    /// A whole answer, if it is a good one.
    fn text(&self, request: Request<'_>) -> Result<(u16, String), HubError> {
        let mut response = self.call(request)?;
        let mut bytes = Vec::new();
        let body = response.body_mut().as_reader().take(MAX_DOCUMENT_BYTES as u64 + 1);
        let unusable = |cause: String| HubError::Answer { what: request.path.to_owned(), cause };
        { body }.read_to_end(&mut bytes).map_err(|error| unusable(error.to_string()))?;
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(unusable(format!("it is longer than {MAX_DOCUMENT_BYTES} bytes")));
        }
        let status = response.status().as_u16();
        if !response.status().is_success() {
            return Err(HubError::refused(request.path, status, refusal(&bytes)));
        }
        let text = String::from_utf8(bytes).map_err(|_| unusable("it is not text".to_owned()))?;
        Ok((status, text))
    }

    /// Calls the first address that takes the connection. Any answer is one.
    fn call(&self, request: Request<'_>) -> Result<Response<Body>, HubError> {
        let first = self.first.load(Relaxed);
        let mut failure = HubError::Unreachable {
            what: request.path.to_owned(),
            cause: "no address of it is known".to_owned(),
        };
        for step in 0..self.addresses.len() {
            let number = first.wrapping_add(step) % self.addresses.len();
            match self.call_at(&self.addresses[number], request) {
                Ok(response) => {
                    self.first.store(number, Relaxed);
                    return Ok(response);
                }
                // Somebody else at one address does not hide that the hub is away at the others.
                Err(error) if step == 0 || matches!(failure, HubError::Impostor { .. }) => {
                    failure = error;
                }
                Err(_) => {}
            }
        }
        Err(failure)
    }

    fn call_at(&self, address: &Address, request: Request<'_>) -> Result<Response<Body>, HubError> {
        let Request { path, offset, body, deadline } = request;
        let url = format!("https://{address}{path}");
        let client = connector::client(self.tls.clone(), deadline);
        let called = match body {
            Some(json) => client.post(&url).header("content-type", "application/json").send(json),
            None if offset > 0 => {
                client.get(&url).header("range", format!("bytes={offset}-")).call()
            }
            None => client.get(&url).call(),
        };
        called.map_err(|error| HubError::of(address, &error))
    }
}

impl std::fmt::Debug for HubClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubClient").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

fn parse<T: DeserializeOwned>(path: &str, text: &str) -> Result<T, HubError> {
    serde_json::from_str(text)
        .map_err(|error| HubError::Answer { what: path.to_owned(), cause: error.to_string() })
}

/// That an operator has to decide. The name goes into a command that somebody is to paste, and whoever answers may not be
/// known yet.
fn pending(text: &str) -> Result<Pending, HubError> {
    let mut pending: Pending = parse(ENROL_PATH, text)?;
    if !is_device_name(&pending.name) {
        let cause = "its name is none that a device may have".to_owned();
        return Err(HubError::Answer { what: ENROL_PATH.to_owned(), cause });
    }
    pending.message = Text::cut(&plain(&pending.message));
    Ok(pending)
}

/// Why the hub refuses, in its own words.
fn refusal(body: &[u8]) -> String {
    plain(&match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.to_string(),
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]).into_owned(),
    })
}

/// Without anything that could drive a terminal, and on one line.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Where the hub serves an artefact.
fn artefact_path(digest: &Hash) -> String {
    format!("/artefacts/sha256:{digest}")
}
