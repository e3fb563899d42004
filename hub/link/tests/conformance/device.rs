//! A device as the tests play it: a plain rumqttc client, with everything that it hears in one channel.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, DisconnectReasonCode, Event, LastWill,
    MqttOptions, Packet, PubAckReason, PublishOptions, QoS, StateError, SubscribeReasonCode,
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::fleet::{Fleet, dial};

/// Nothing in these tests takes longer unless it is broken.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Where devices connect, and how.
#[derive(Clone)]
pub enum Broker {
    /// A broker without TLS.
    Plain(SocketAddr),
    /// The endpoint, and who has certificates for it.
    Tls(SocketAddr, Arc<Fleet>),
}

impl Broker {
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Plain(address) | Self::Tls(address, _) => *address,
        }
    }
}

/// What a device hears.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Connected,
    Message { topic: String, payload: Vec<u8>, retain: bool },
    Published(PubAckReason),
    Subscribed(Vec<SubscribeReasonCode>),
    Refused(ConnectReturnCode),
    Disconnected(DisconnectReasonCode),
    Lost(String),
}

pub struct Device {
    pub client: AsyncClient,
    heard: mpsc::UnboundedReceiver<Heard>,
    /// Messages that came before the answer that was waited for.
    early: VecDeque<Heard>,
    task: JoinHandle<()>,
}

impl Device {
    /// Connects under `name`, with a will on its own `gone` topic, and subscribes to what is meant for it.
    pub async fn connect(broker: &Broker, name: &str) -> Self {
        let mut device = Self::start(options(broker, name));
        assert_eq!(device.next().await, Heard::Connected);
        for filter in [format!("lichen/1/{name}/down/#"), "lichen/1/all/down/#".to_owned()] {
            assert_eq!(
                device.subscribe(&filter).await,
                SubscribeReasonCode::Success(QoS::AtLeastOnce),
                "{filter}"
            );
        }
        device
    }

    /// Begins to connect as `options` say.
    pub fn start(options: MqttOptions) -> Self {
        let (client, mut events) = AsyncClient::builder(options).capacity(64).build();
        let (tell, heard) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                let (event, last) = match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => (Heard::Connected, false),
                    Ok(Event::Incoming(Packet::Publish(publish))) => (
                        Heard::Message {
                            topic: String::from_utf8(publish.topic.to_vec())
                                .expect("topics are text"),
                            payload: publish.payload.to_vec(),
                            retain: publish.retain,
                        },
                        false,
                    ),
                    Ok(Event::Incoming(Packet::PubAck(puback))) => {
                        (Heard::Published(puback.reason), false)
                    }
                    Ok(Event::Incoming(Packet::SubAck(suback))) => {
                        (Heard::Subscribed(suback.return_codes), false)
                    }
                    Ok(_) => continue,
                    Err(ConnectionError::ConnectionRefused(code)) => (Heard::Refused(code), true),
                    Err(ConnectionError::MqttState(StateError::ConnFail { reason })) => {
                        (Heard::Refused(reason), true)
                    }
                    Err(ConnectionError::MqttState(StateError::ServerDisconnect {
                        reason_code,
                        ..
                    })) => (Heard::Disconnected(reason_code), true),
                    Err(error) => (Heard::Lost(error.to_string()), true),
                };
                let gone = tell.send(event).is_err();
                if last || gone {
                    return;
                }
            }
        });
        Self { client, heard, early: VecDeque::new(), task }
    }

    /// The next thing heard.
    pub async fn next(&mut self) -> Heard {
        match self.early.pop_front() {
            Some(heard) => heard,
            None => self.newest().await,
        }
    }

    async fn newest(&mut self) -> Heard {
        let heard = timeout(DEADLINE, self.heard.recv()).await;
        heard
            .expect("the device should hear something")
            .expect("the connection has not ended before")
    }

    /// Subscribes and returns the broker's answer. Messages that arrive before it are heard later.
    pub async fn subscribe(&mut self, filter: &str) -> SubscribeReasonCode {
        self.client.subscribe(filter, QoS::AtLeastOnce).await.expect("the client runs");
        loop {
            match self.newest().await {
                Heard::Subscribed(codes) => return codes[0],
                message @ Heard::Message { .. } => self.early.push_back(message),
                other => {
                    panic!("heard {other:?} instead of the answer to a subscription to {filter}")
                }
            }
        }
    }

    /// Publishes with QoS 1 and returns the broker's answer, passing over messages.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> PubAckReason {
        self.client
            .publish(topic.to_owned(), payload.to_vec(), PublishOptions::at_least_once())
            .await
            .expect("the client runs");
        loop {
            match self.next().await {
                Heard::Published(reason) => return reason,
                Heard::Message { .. } => {}
                other => panic!("heard {other:?} instead of the answer to a message on {topic}"),
            }
        }
    }

    /// Waits for a message with this payload, passing over others, and returns its topic and retain flag.
    pub async fn message(&mut self, wanted: &[u8]) -> (String, bool) {
        loop {
            match self.next().await {
                Heard::Message { topic, payload, retain } if payload == wanted => {
                    return (topic, retain);
                }
                Heard::Message { .. } | Heard::Published(_) => {}
                other => panic!("heard {other:?} instead of a message"),
            }
        }
    }

    /// Waits for the connection to end, passing over messages.
    pub async fn end(&mut self) -> Heard {
        loop {
            match self.next().await {
                Heard::Message { .. } | Heard::Published(_) | Heard::Connected => {}
                end => return end,
            }
        }
    }

    /// Breaks the connection off without a DISCONNECT.
    pub async fn vanish(mut self) {
        self.task.abort();
        let _aborted = (&mut self.task).await;
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a device connects: clean, own will, explicit sizes.
pub fn options(broker: &Broker, name: &str) -> MqttOptions {
    options_as(broker, name, name)
}

/// The same with another device's certificate.
pub fn options_as(broker: &Broker, name: &str, certificate: &str) -> MqttOptions {
    let address = broker.address();
    let mut options = MqttOptions::new(name, (address.ip().to_string(), address.port()));
    if let Broker::Tls(_, fleet) = broker {
        let (_, config) = fleet.device(certificate);
        options.set_socket_connector(move |_, _| dial(address, config.clone()));
    }
    options
        .set_keep_alive(60)
        .set_clean_start(true)
        .set_max_packet_size(Some(40_000))
        .set_last_will(LastWill::new(
            format!("lichen/1/{name}/up/gone"),
            b"gone".to_vec(),
            QoS::AtLeastOnce,
            false,
            None,
        ));
    options
}
