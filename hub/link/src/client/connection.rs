//! One connection, from its CONNECT to its end.

use std::{io, sync::Arc, time::Duration};

use firmware_compat::frame::MAX_FRAME_BYTES;
use rumqttc::{
    AsyncClient, ConnAck, ConnectReturnCode, ConnectionError, DisconnectReasonCode, Event,
    EventLoop, LastWill, MqttOptions, NetworkOptions, Outgoing, Packet, PubAckReason,
    PublishOptions, QoS, StateError, SubAck, SubscribeFilterInput, SubscribeReasonCode,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    ClientConfig, Down, Handler, Shared, TELLS_TAKEOVERS, Will,
    connack::{Heard, Overheard},
    cut::Cut,
    dial::{DIAL_TIMEOUT, Turn, Unreached, dial},
    outbox::{self, Answer, Limits, SEND_WINDOW},
    way::Way,
};

/// Largest packet in either direction: a frame, its topic and its properties.
const MAX_PACKET_BYTES: u32 = MAX_FRAME_BYTES as u32 + 1024;
/// QoS 1 messages that the broker may have on their way to us.
const RECEIVE_WINDOW: u16 = 32;
/// Requests between us and rumqttc: the window's publishes and the subscription. It is never full.
const REQUESTS: usize = 64;
/// How long to wait for the CONNACK of a broker that can be reached.
const CONNACK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a shutdown may take to send what waits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a shutdown looks whether everything is sent.
const FLUSH_POLL: Duration = Duration::from_millis(5);

/// Connects and stays until the connection ends, for the reason returned, or the owner stops it: `None`.
pub(super) async fn connect<H: Handler>(
    config: &ClientConfig,
    way: &Arc<Way>,
    turn: &Turn,
    handler: &mut H,
    shared: &Shared,
    stop: &mut watch::Receiver<bool>,
) -> Option<Down> {
    let heard = Heard::default();
    let mut options = options(config, handler.will());
    set_way(&mut options, way, turn, &heard);
    let (client, events) = AsyncClient::builder(options).capacity(REQUESTS).build();
    tokio::select! {
        why = listen(config, events, &client, handler, shared) => Some(heard.explain(why)),
        why = feed(&client, shared) => Some(why),
        () = flush_and_leave(&client, shared, stop) => None,
    }
}

fn options(config: &ClientConfig, will: Option<Will>) -> MqttOptions {
    // The place is chosen by the socket's connector.
    let mut options = MqttOptions::new(config.client_id.clone(), "broker");
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(DIAL_TIMEOUT.as_secs());
    options
        .set_network_options(network)
        .set_keep_alive(u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX))
        .set_clean_start(true)
        .set_session_expiry_interval(Some(0))
        .set_receive_maximum(Some(RECEIVE_WINDOW))
        // Without a limit rumqttc reserves tables for 65,535 messages: 16 MB for each connection.
        .set_outgoing_inflight_upper_limit(SEND_WINDOW)
        .set_max_packet_size(Some(MAX_PACKET_BYTES))
        // The broker checks access under this name too; Mosquitto can be told to use it for its patterns.
        .set_username(config.client_id.clone());
    if let Some(Will { topic, frame }) = will {
        options.set_last_will(LastWill::new(topic, frame, QoS::AtLeastOnce, false, None));
    }
    options
}

fn set_way(options: &mut MqttOptions, way: &Arc<Way>, turn: &Turn, heard: &Heard) {
    let dials = DIAL_TIMEOUT * u32::try_from(way.places.len()).unwrap_or(u32::MAX);
    let (way, turn, heard) = (way.clone(), turn.clone(), heard.clone());
    options.set_connect_timeout(dials + CONNACK_TIMEOUT).set_socket_connector(move |_, network| {
        let (way, turn, heard) = (way.clone(), turn.clone(), heard.clone());
        async move {
            let dialled = dial(&way, &turn, &network).await;
            let stream = dialled.inspect_err(|unreached| heard.unreached(unreached));
            let stream = Overheard::new(stream.map_err(io::Error::other)?, heard);
            Ok(Cut::new(stream, MAX_PACKET_BYTES as usize))
        }
    });
}

/// Reads what the broker says, until the connection ends.
async fn listen<H: Handler>(
    config: &ClientConfig,
    mut events: EventLoop,
    client: &AsyncClient,
    handler: &mut H,
    shared: &Shared,
) -> Down {
    let mut limits = Limits { packet_bytes: MAX_PACKET_BYTES as usize, window: u16::MAX };
    let mut tells_takeovers = false;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(connack))) => {
                limits = limits_of(&connack);
                tells_takeovers = tells(&connack);
                let filters = config
                    .subscriptions
                    .iter()
                    .map(|filter| SubscribeFilterInput::new(filter, QoS::AtLeastOnce));
                if let Err(error) = client.try_subscribe_many(filters) {
                    return Down::Lost(error.to_string());
                }
            }
            Ok(Event::Incoming(Packet::SubAck(suback))) => {
                if let Some(refused) = first_refused(config, &suback) {
                    return Down::SubscriptionRefused { filter: refused };
                }
                shared.outbox().connected(limits);
                shared.outbox().is_deaf();
                handler.up().await;
                shared.outbox().listens(Instant::now());
                shared.changed.notify_one();
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => match str::from_utf8(&publish.topic) {
                Ok(topic) => {
                    shared.outbox().is_deaf();
                    handler.message(topic, &publish.payload).await;
                    shared.outbox().listens(Instant::now());
                    shared.changed.notify_one();
                }
                Err(error) => tracing::debug!(%error, "dropped a message whose topic is not text"),
            },
            Ok(Event::Outgoing(Outgoing::Publish(packet))) => shared.outbox().numbered(packet),
            Ok(Event::Incoming(Packet::PubAck(puback))) => {
                let answer = match puback.reason {
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Answer::Taken,
                    PubAckReason::QuotaExceeded => Answer::TooBusy,
                    _ => Answer::Refused,
                };
                shared.outbox().acknowledged(puback.pkid, answer, Instant::now());
                shared.changed.notify_one();
            }
            Ok(_) => {}
            Err(error) => return why(config, error, tells_takeovers),
        }
    }
}

/// Hands rumqttc what is to be sent, never more than the window, and watches that acknowledgements come.
async fn feed(client: &AsyncClient, shared: &Shared) -> Down {
    loop {
        while let Some(message) = next(shared) {
            let options = PublishOptions::at_least_once().retain(message.retain);
            if client.try_publish(message.topic, message.frame, options).is_err() {
                shared.outbox().put_back();
                break;
            }
        }
        let (deadline, retry_at) = timers(shared);
        tokio::select! {
            () = shared.changed.notified() => {}
            () = until(retry_at) => {}
            () = until(deadline) => {
                // It may have moved away meanwhile.
                if shared.outbox().deadline().is_some_and(|at| at <= Instant::now()) {
                    return Down::Silent;
                }
            }
        }
    }
}

// Not in the loop's head: the lock would be held in its body.
fn next(shared: &Shared) -> Option<outbox::Outgoing> {
    shared.outbox().next(Instant::now())
}

fn timers(shared: &Shared) -> (Option<Instant>, Option<Instant>) {
    let outbox = shared.outbox();
    (outbox.deadline(), outbox.retry_at())
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits for the owner's word, lets what waits be sent, and disconnects.
async fn flush_and_leave(client: &AsyncClient, shared: &Shared, stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        return;
    }
    let flushed = async {
        while !shared.outbox().is_idle() {
            sleep(FLUSH_POLL).await;
        }
        let _asked = client.try_disconnect();
        // The other half of the caller's select sends the DISCONNECT and then ends; this only bounds the wait for it.
        std::future::pending::<()>().await;
    };
    let _bounded = timeout(FLUSH_TIMEOUT, flushed).await;
}

fn limits_of(connack: &ConnAck) -> Limits {
    let properties = connack.properties.as_ref();
    let packet_bytes =
        properties.and_then(|properties| properties.max_packet_size).unwrap_or(u32::MAX);
    let window = properties.and_then(|properties| properties.receive_max).unwrap_or(u16::MAX);
    Limits { packet_bytes: packet_bytes.min(MAX_PACKET_BYTES) as usize, window }
}

fn first_refused(config: &ClientConfig, suback: &SubAck) -> Option<String> {
    let refused = suback
        .return_codes
        .iter()
        .position(|code| !matches!(code, SubscribeReasonCode::Success(_)))?;
    Some(config.subscriptions.get(refused).cloned().unwrap_or_default())
}

/// Whether this server tells every client that it replaces.
fn tells(connack: &ConnAck) -> bool {
    let told =
        |(name, value): &(String, String)| (name.as_str(), value.as_str()) == TELLS_TAKEOVERS;
    connack
        .properties
        .as_ref()
        .is_some_and(|properties| properties.user_properties.iter().any(told))
}

fn why(config: &ClientConfig, error: ConnectionError, tells_takeovers: bool) -> Down {
    match error {
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
            match reason_code {
                DisconnectReasonCode::SessionTakenOver => {
                    Down::TakenOver { client_id: config.client_id.clone() }
                }
                code => Down::Closed { code: format!("{code:?}") },
            }
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) if tells_takeovers => {
            Down::Lost("the hub is gone".to_owned())
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => Down::ClosedSilently,
        ConnectionError::ConnectionRefused(code) => refused(code),
        ConnectionError::MqttState(StateError::ConnFail { reason }) => refused(reason),
        // Says which place was tried, and why in vain.
        ConnectionError::Io(error)
            if error.get_ref().is_some_and(|inner| inner.is::<Unreached>()) =>
        {
            Down::Lost(error.to_string())
        }
        error => Down::Lost(format!("the connection to the broker broke: {error}")),
    }
}

/// A broker that is only busy is worth another try soon; one that does not want this client is not.
fn refused(code: ConnectReturnCode) -> Down {
    match code {
        ConnectReturnCode::ServiceUnavailable
        | ConnectReturnCode::ServerUnavailable
        | ConnectReturnCode::ServerBusy
        | ConnectReturnCode::ConnectionRateExceeded => Down::Closed { code: format!("{code:?}") },
        code => Down::Refused { code, reason: None },
    }
}
