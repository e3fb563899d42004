//! TLS as a device speaks it: with rustls and ring, TLS 1.3 or 1.2, to its hub and to a broker beside it. Who is believed
//! is decided in one place for MQTT and HTTPS alike, [`pinned`]; before there is anything to hold on to, [`first_contact`]
//! decides.
//!
//! Time comes from [`KnownTime`], never from the device's clock.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use firmware_compat::enrolment::{ALPN_HTTP, ALPN_MQTT, BROKER_NAME, HUB_NAME};
use rustls::{
    ClientConfig, ConfigBuilder,
    client::{Resumption, WantsClientCert, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::UnixTime,
    sign::SingleCertAndKey,
    time_provider::TimeProvider,
};

use crate::{identity::Identity, known_time::KnownTime};

pub mod first_contact;
pub mod pinned;

use first_contact::FirstContact;
use pinned::Pinned;

/// Tickets that are kept: those of two addresses of one hub.
const TICKETS: usize = 16;
/// Largest record that is sent. What a device says is shorter; a full one takes 16 KiB of buffer.
const MAX_FRAGMENT: usize = 4096;

/// TLS of one version of an identity. Connections of one kind may resume each other's sessions.
#[derive(Clone, Debug)]
pub struct Configs {
    /// HTTP, to the hub.
    pub http: Arc<ClientConfig>,
    /// MQTT, to the hub.
    pub mqtt: Arc<ClientConfig>,
    /// MQTT, to a broker beside the hub. It has a name of its own: it must not be able to speak as the hub.
    pub broker: Arc<ClientConfig>,
}

impl Configs {
    /// What a device shows and believes. `news` becomes true when the hub shows a CA that the identity does not have.
    ///
    /// # Errors
    /// The library refuses.
    pub fn new(
        identity: &Identity,
        time: &KnownTime,
        news: &Arc<AtomicBool>,
    ) -> Result<Self, rustls::Error> {
        let shown = Arc::new(SingleCertAndKey::from(identity.certified.clone()));
        let config = |name, alpn, news: Option<&Arc<AtomicBool>>| {
            let mut verifier = Pinned::new(&provider(), &identity.authorities, name)?;
            verifier.news = news.cloned();
            let config =
                builder(Arc::new(verifier), time)?.with_client_cert_resolver(shown.clone());
            Ok::<_, rustls::Error>(finished(config, alpn))
        };
        let http = config(HUB_NAME, ALPN_HTTP, Some(news))?;
        // The sessions of the one are good for the other: whether MQTT or HTTP is spoken is no part of them.
        let mut mqtt = http.clone();
        mqtt.alpn_protocols = vec![ALPN_MQTT.to_vec()];
        let broker = config(BROKER_NAME, ALPN_MQTT, None)?;
        Ok(Self { http: Arc::new(http), mqtt: Arc::new(mqtt), broker: Arc::new(broker) })
    }
}

/// HTTP to a hub that is met for the first time. Nothing is shown to it.
///
/// # Errors
/// The library refuses.
pub fn first_contact(
    contact: Arc<FirstContact>,
    time: &KnownTime,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = builder(contact, time)?.with_no_client_auth();
    Ok(Arc::new(finished(config, ALPN_HTTP)))
}

impl TimeProvider for KnownTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.now_unix_ms())))
    }
}

/// ring, and what of it both sides speak.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder(
    verifier: Arc<dyn ServerCertVerifier>,
    time: &KnownTime,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(time.clone()));
    let builder = builder.with_safe_default_protocol_versions()?;
    // Not dangerous: it is webpki with pinned authorities and a fixed name.
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier))
}

fn finished(mut config: ClientConfig, alpn: &[u8]) -> ClientConfig {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::in_memory_sessions(TICKETS);
    config.max_fragment_size = Some(MAX_FRAGMENT);
    config
}
