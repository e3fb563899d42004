//! How a session ends: by a deadline, for a fault of the device's, for another session or with the hub. Who can
//! understand it is told why.

use bytes::BytesMut;
use firmware_compat::time::Instant;
use rumqttc::{Disconnect, DisconnectProperties, DisconnectReasonCode as Reason, Packet};

use super::{Session, State};
use crate::endpoint::limits;

impl Session {
    /// Ends the session: a newer one has the name.
    pub fn take_over(&mut self, now: Instant) {
        let why = "another connection has this client id";
        self.end_because(Reason::SessionTakenOver, why, now);
    }

    /// Ends the session: its device is not welcome any more.
    pub fn dismiss(&mut self, why: &str, now: Instant) {
        self.end_because(Reason::NotAuthorized, why, now);
    }

    /// Ends the session: the hub stops.
    pub fn shut_down(&mut self, now: Instant) {
        self.end_because(Reason::ServerShuttingDown, "the hub stops", now);
    }

    /// The connection is gone.
    pub fn lose(&mut self) {
        let will = match &mut self.state {
            State::Open(open) => open.will.take(),
            State::Ended { .. } => return,
            State::Waiting { .. } | State::Admitted(_) => None,
        };
        self.out = BytesMut::new();
        self.state = State::Ended { will };
    }

    /// Says why, if the far end can understand it, and ends. A will is due then.
    pub(super) fn end_because(&mut self, reason_code: Reason, why: &str, now: Instant) {
        let will = match &mut self.state {
            State::Open(open) => {
                let (device, will) = (&*open.device, open.will.take());
                tracing::debug!(device, ?reason_code, why, "ends a session");
                will
            }
            // Before its CONNACK a client is told nothing (3.14).
            State::Waiting { .. } | State::Admitted(_) => return self.lose(),
            State::Ended { .. } => return,
        };
        let properties = DisconnectProperties {
            session_expiry_interval: None,
            reason_string: Some(why.to_owned()),
            user_properties: Vec::new(),
            server_reference: None,
        };
        let disconnect = Disconnect { reason_code, properties: Some(properties) };
        self.write(Packet::Disconnect(disconnect), now);
        self.state = State::Ended { will };
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let writes = (!self.out.is_empty()).then(|| self.wrote + limits::WRITE_TIMEOUT);
        let slowed = self.slowed_until.filter(|_| !self.has_ended());
        let own = match &self.state {
            State::Waiting { until } => *until,
            State::Admitted(_) => self.heard + limits::CONNECT_TIMEOUT,
            // While a frame is handed over nothing is read: the device's silence is ours.
            State::Open(open) if open.handing_over => Instant(u64::MAX),
            State::Open(open) => {
                let silent = self.heard + open.silence;
                open.window.deadline().map_or(silent, |deadline| deadline.min(silent))
            }
            State::Ended { .. } => Instant(u64::MAX),
        };
        [writes, slowed].into_iter().flatten().fold(own, Instant::min)
    }

    /// Ends what has waited too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        // Whoever was slowed down for long enough may go on; that ends nothing.
        self.is_slowed(now);
        if now < self.poll_timeout() {
            return;
        }
        if !self.out.is_empty() && now >= self.wrote + limits::WRITE_TIMEOUT {
            return self.lose();
        }
        match &self.state {
            State::Waiting { .. } | State::Admitted(_) => self.lose(),
            State::Open(open) if open.window.deadline().is_some_and(|at| now >= at) => {
                let why = "messages were not acknowledged in time";
                self.end_because(Reason::UnspecifiedError, why, now);
            }
            State::Open(_) => {
                let why = "nothing was heard for one and a half times the keep-alive";
                self.end_because(Reason::KeepAliveTimeout, why, now);
            }
            State::Ended { .. } => {}
        }
    }
}
