//! Every bound of the endpoint, with its reason.

use std::time::Duration;

use firmware_compat::frame::MAX_FRAME_BYTES;

/// Largest MQTT packet in either direction: a frame, its topic and its properties.
pub(crate) const MAX_PACKET_BYTES: u32 = MAX_FRAME_BYTES as u32 + 1024;
/// Largest CONNECT: names, a will with its frame, some properties. It comes from somebody unknown.
pub(crate) const MAX_CONNECT_BYTES: u32 = 4096;
/// How long a connection may take to send its CONNECT.
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
/// Connections beyond the limit, to tell those who come that there are too many, and to let in who replaces its own
/// older connection.
pub(crate) const OVERFLOW: usize = 64;
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
