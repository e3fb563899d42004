//! The first contact with a hub: which authority it shows, before anything is known of it. Nothing is sent.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lichen_trust::HUB_NAME;
use rustls::{
    ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{
    Authorities, ClientError, Distrust, Fingerprint, Server,
    trust::{Verifier, config_of, provider},
};

/// How long connecting may take, and each step of the handshake.
const STEP_TIME: Duration = Duration::from_secs(10);

/// What a hub says of itself, before anybody has vouched for it.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// The certificate of its authority.
    pub authority: CertificateDer<'static>,
    /// The name that its certificate is for, if it is not for the server's host.
    pub server_name: Option<&'static str>,
}

impl Introduction {
    /// By what people compare authorities.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.authority)
    }
}

/// Asks a hub for its authority.
///
/// # Errors
/// It can't be reached, or what it shows is not what a hub shows.
pub fn introduce(server: &Server) -> Result<Introduction, ClientError> {
    let chain = chain_of(server)?;
    let distrusted = |distrust| ClientError::Distrusted {
        server: server.clone(),
        origin: "the command line".to_owned(),
        distrust: Box::new(distrust),
    };
    let other = |cause: &str| distrusted(Distrust::Other(cause.to_owned()));
    let (Some(leaf), Some(authority)) = (chain.first(), chain.get(1).and(chain.last())) else {
        return Err(other("it shows no authority beside its certificate"));
    };
    let verifier = Verifier::new(&Authorities::one(authority.clone()))
        .map_err(|cause| distrusted(Distrust::Other(cause)))?;
    let verify = |name: &str| match ServerName::try_from(name.to_owned()) {
        Ok(name) => {
            verifier.verify_server_cert(leaf, &chain[1..], &name, &[], UnixTime::now()).map(drop)
        }
        // A host that can't be in a certificate, as with an underscore.
        Err(_) => Err(Error::General("the host can't be in a certificate".to_owned())),
    };
    let server_name = match verify(server.host()) {
        Ok(()) => None,
        Err(_) => match verify(HUB_NAME) {
            Ok(()) => Some(HUB_NAME),
            Err(error) => {
                return Err(match Distrust::of(&error) {
                    Some(Distrust::Stranger { .. }) | None => {
                        other("its certificate is not signed by the authority that it shows")
                    }
                    Some(distrust) => distrusted(distrust),
                });
            }
        },
    };
    Ok(Introduction { authority: authority.clone(), server_name })
}

/// The certificates that a server shows.
fn chain_of(server: &Server) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let seen = Arc::new(Seen::default());
    let failed = |error: io::Error| ClientError::from_io(server, "the command line", error);
    let mut config = config_of(seen.clone()).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(server.host().to_owned());
    let name = name.or_else(|_| ServerName::try_from(HUB_NAME)).map_err(io::Error::other);
    let connection = name
        .and_then(|name| ClientConnection::new(Arc::new(config), name).map_err(io::Error::other));
    let mut connection = connection.map_err(failed)?;
    let mut stream = connect(server).map_err(failed)?;
    let ended = connection.complete_io(&mut stream);
    let chain = seen.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (chain, ended) {
        (Some(chain), _) => Ok(chain),
        (None, Err(error)) => Err(failed(error)),
        // A handshake without certificates is none.
        (None, Ok(_)) => Err(failed(io::ErrorKind::UnexpectedEof.into())),
    }
}

fn connect(server: &Server) -> io::Result<TcpStream> {
    let mut last = io::Error::other("there is no such host");
    for address in (server.host(), server.port()).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, STEP_TIME) {
            Ok(stream) => {
                stream.set_read_timeout(Some(STEP_TIME))?;
                stream.set_write_timeout(Some(STEP_TIME))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Keeps what it is shown, and goes no further.
#[derive(Debug, Default)]
struct Seen(Mutex<Option<Vec<CertificateDer<'static>>>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let chain = chain.map(|certificate| certificate.clone().into_owned()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(chain);
        Err(Error::General("nothing is known of this hub yet".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("nothing is known of this hub yet".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("nothing is known of this hub yet".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
