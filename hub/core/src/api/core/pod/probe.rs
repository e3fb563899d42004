//! What is asked of a container while it runs, and what is done at its start and end: probes, hooks, and the handlers that
//! both have.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::api::{
    field::{Field, Message, Shape, count, field, object, objects, text, texts, unsupported},
    meta::nullable,
};

/// A question that is asked again and again. Exactly one of its handlers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    /// A program in the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
    /// A GET by HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGet>,
    /// A TCP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocket>,
    /// The protocol `grpc.health.v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Grpc>,
    /// Seconds after the container's start before which it is not asked. Absent means 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<u32>,
    /// Seconds after which an answer is too late. Absent or 0 means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Seconds between two questions. Absent or 0 means 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<u32>,
    /// Good answers in a row that are needed. Absent or 0 means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<u32>,
    /// Bad answers in a row that are needed. Absent or 0 means 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
    /// Seconds between the stop signal and the kill, in place of the Pod's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<u32>,
}

/// What is done at a container's start and end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lifecycle {
    /// Just after its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_start: Option<LifecycleHandler>,
    /// Before it is asked to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<LifecycleHandler>,
}

/// What is done. Exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LifecycleHandler {
    /// A program in the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
    /// A GET by HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGet>,
    /// A TCP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocket>,
    /// Nothing, for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleep: Option<Sleep>,
}

/// A program in the container. No shell is started for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exec {
    /// The program and its arguments.
    #[serde(deserialize_with = "nullable")]
    pub command: Vec<String>,
}

/// A GET by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpGet {
    /// What. Absent means `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where.
    pub port: NumberOrName,
    /// Whom. Absent means the Pod itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `HTTP` (default) or `HTTPS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Sent along.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub http_headers: Vec<HttpHeader>,
}

/// A header of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(deserialize_with = "nullable")]
    pub value: String,
}

/// A TCP connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpSocket {
    /// Where.
    pub port: NumberOrName,
    /// To whom. Absent means the Pod itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// The protocol `grpc.health.v1`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grpc {
    /// Where.
    pub port: u32,
    /// Which service. Absent means the server as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// Nothing, for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sleep {
    /// For so long.
    pub seconds: u32,
}

/// A port: its number, or the name that the container gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberOrName {
    /// 1 to 65535.
    Number(u32),
    /// Of one of the container's ports.
    Name(String),
}

impl Default for NumberOrName {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl fmt::Display for NumberOrName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => write!(f, "\"{name}\""),
        }
    }
}

impl Serialize for NumberOrName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for NumberOrName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = NumberOrName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port number, or the name of one of the container's ports")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<NumberOrName, E> {
                u32::try_from(number)
                    .map(NumberOrName::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<NumberOrName, E> {
                u32::try_from(number)
                    .map(NumberOrName::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<NumberOrName, E> {
                Ok(NumberOrName::Name(name.to_owned()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// The fields of [`Probe`].
pub(super) const PROBE: Message = Message {
    name: "Probe",
    fields: &[
        field("handler", 1, Shape::Inline(&PROBE_HANDLER)),
        count("initialDelaySeconds", 2),
        count("timeoutSeconds", 3),
        count("periodSeconds", 4),
        count("successThreshold", 5),
        count("failureThreshold", 6),
        count("terminationGracePeriodSeconds", 7).optional(),
    ],
};

const PROBE_HANDLER: Message = Message {
    name: "ProbeHandler",
    fields: &[
        object("exec", 1, &EXEC),
        object("httpGet", 2, &HTTP_GET),
        object("tcpSocket", 3, &TCP_SOCKET),
        object("grpc", 4, &GRPC),
    ],
};

/// The fields of [`Lifecycle`].
pub(super) const LIFECYCLE: Message = Message {
    name: "Lifecycle",
    fields: &[
        object("postStart", 1, &LIFECYCLE_HANDLER),
        object("preStop", 2, &LIFECYCLE_HANDLER),
        unsupported("stopSignal", 3),
    ],
};

const LIFECYCLE_HANDLER: Message = Message {
    name: "LifecycleHandler",
    fields: &[
        object("exec", 1, &EXEC),
        object("httpGet", 2, &HTTP_GET),
        object("tcpSocket", 3, &TCP_SOCKET),
        object("sleep", 4, &SLEEP),
    ],
};

const EXEC: Message = Message { name: "ExecAction", fields: &[texts("command", 1)] };

const HTTP_GET: Message = Message {
    name: "HTTPGetAction",
    fields: &[
        text("path", 1),
        port(2),
        text("host", 3),
        text("scheme", 4),
        objects("httpHeaders", 5, &HTTP_HEADER),
    ],
};

const HTTP_HEADER: Message =
    Message { name: "HTTPHeader", fields: &[text("name", 1), text("value", 2)] };

const TCP_SOCKET: Message =
    Message { name: "TCPSocketAction", fields: &[port(1), text("host", 2)] };

const GRPC: Message =
    Message { name: "GRPCAction", fields: &[count("port", 1), text("service", 2).optional()] };

const SLEEP: Message = Message { name: "SleepAction", fields: &[count("seconds", 1)] };

const fn port(number: u32) -> Field {
    field("port", number, Shape::NumberOrName)
}
