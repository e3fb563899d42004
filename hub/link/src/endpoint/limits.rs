//! Every bound of the endpoint, with its reason.

use std::time::Duration;

use firmware_compat::frame::MAX_FRAME_BYTES;

use super::bucket::Rate;

/// Largest MQTT packet in either direction: a frame, its topic and its properties.
pub(crate) const MAX_PACKET_BYTES: u32 = MAX_FRAME_BYTES as u32 + 1024;
/// Largest CONNECT: names, a will with its frame, some properties. It comes from somebody unknown.
pub(crate) const MAX_CONNECT_BYTES: u32 = 4096;
/// How long a connection may take to send its CONNECT, once it has shaken hands.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The keep-alive of a client that asks for none: what agents use. A connection that never has to speak would never be
/// found dead.
pub(crate) const DEFAULT_KEEP_ALIVE_S: u16 = 1200;
/// QoS 1 messages that a device may have on their way to us. They are taken one by one, so more would only wait.
pub(crate) const RECEIVE_WINDOW: u16 = 32;
/// QoS 1 messages on their way to one device, sent and not yet acknowledged, however many it would take.
pub(crate) const SEND_WINDOW: u16 = 16;
/// How long a device may leave all our messages unacknowledged while it says nothing else. A frame of the largest size
/// passes a link of 5 kbit/s in that time; a half-open connection shows in no other way before its keep-alive ends.
pub(crate) const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(60);
/// A device that takes no bytes for this long is gone.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Subscriptions of one session: two are needed.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 16;
/// Bytes that may wait to be written before nothing more is read from the device, or sent to it.
pub(crate) const OUT_BYTES: usize = 64 * 1024;
/// Bytes read at once, into a buffer on the thread's stack: an idle connection has none of its own.
pub(crate) const READ_BYTES: usize = 16 * 1024;
/// Messages that may wait for one device besides its newest head: one window of a body's chunks fits several times.
pub(crate) const MAILBOX_MESSAGES: usize = 64;
/// Their bytes together.
pub(crate) const MAILBOX_BYTES: usize = 512 * 1024;
/// How long a connection that has ended waits for its last words to be taken. Until then it holds a file descriptor.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
/// Connections beyond those of devices and of HTTP, to tell those who come that there are too many, and to let in who
/// replaces its own older connection.
pub(crate) const OVERFLOW: usize = 64;
/// Connections that one address may always have on the doorstep, however full the house is: half of [`OVERFLOW`].
pub(crate) const ADDRESS_PLACES: usize = 32;
/// Threads that serve devices, at the most, where there are so many processors. Handshakes are what needs them.
pub(crate) const THREADS: usize = 8;

/// How long a connection may say nothing at all. Until then it holds a place on the doorstep, and no handshake.
pub(crate) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection waits for its turn to shake hands: a fleet of 50,000 that comes back at once, on two cores.
pub(crate) const TURN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a handshake may take, once it is its turn: some round trips over a bad link.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at once. More would only take memory (some 10 KiB each) and longer each: with a round trip of half a second
/// so many are 2,000 a second, what a machine with few cores can do.
pub(crate) const HANDSHAKES: usize = 1024;
/// The same for one address, behind which a whole fleet may sit: others find the other half.
pub(crate) const ADDRESS_HANDSHAKES: usize = HANDSHAKES / 2;
/// Bytes of a client's handshake: a certificate, or a ticket with one in it, is 2 KiB at most.
pub(crate) const HANDSHAKE_BYTES: usize = 16 * 1024;
/// Encrypted bytes on their way into a socket, beyond which nothing more is taken to be sent.
pub(crate) const TLS_OUT_BYTES: usize = 32 * 1024;

/// Tokens of a device's session: one for each byte that it says, and as many as [`PACKET_TOKENS`] for each packet. The
/// burst is a full report of a device with a hundred Pods, or some MiB of a log; what comes back lets a log of 1 MiB/s
/// go on, and 256 packets a second. A device that says more is read more slowly.
pub(crate) const SAYING: Rate = Rate { burst: 4 << 20, per_second: 1 << 20 };
/// What a packet costs besides its bytes: each is work for the engine, however small.
pub(crate) const PACKET_TOKENS: u64 = 4096;
/// Sessions that one device may open. Each makes the engine hear a hello and a report. A device on a bad link connects
/// anew every few seconds for a while; more often than that is a fault, or worse.
pub(crate) const OPENING: Rate = Rate { burst: 30, per_second: 1 };

/// How often the engine is told of one stranger.
pub(crate) const STRANGER_EVERY: Duration = Duration::from_secs(600);
/// Strangers that are told apart. Each has a certificate of this hub's, so there are few.
pub(crate) const STRANGERS: usize = 1024;

/// HTTP connections of one device: one for its artefact, one for a question, and what a broken link left behind.
pub(crate) const DEVICE_HTTP: usize = 4;
/// HTTP connections in all, for each device that may connect: an eighth, within these bounds. Downloads go one by one,
/// and a fleet does not fetch all at once without a queue.
pub(crate) const HTTP_SHARE: usize = 8;
pub(crate) const LEAST_HTTP: usize = 16;
pub(crate) const MOST_HTTP: usize = 512;
/// How long an HTTP connection of somebody unknown may last. It asks for a certificate, and that is one short request.
pub(crate) const GUEST_TIME: Duration = Duration::from_secs(60);
/// How long nothing may move on an HTTP connection, whatever it waits for. The handler has nearer deadlines.
pub(crate) const HTTP_STALL: Duration = Duration::from_secs(120);
/// Connections that the system completes before we accept them: every device at once, after a hub's restart.
pub(crate) const BACKLOG: u32 = 4096;
/// Pause after the system refused to accept a connection.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long a shutdown waits for all devices to take their DISCONNECT.
pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a client's own text that a log line shows. A topic may have 64 KiB.
pub(crate) const LOG_BYTES: usize = 128;
/// Time between two log lines of what many clients can cause.
pub(crate) const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
