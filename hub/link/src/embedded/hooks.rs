//! What the broker asks before it lets something happen, and what it tells after something did.

use std::sync::Arc;

use async_trait::async_trait;
use rmqtt::{
    codec::v5::{SubscribeAckReason, ToReasonCode},
    context::ServerContext,
    hook::{Handler, HookResult, Parameter, ReturnType, Type},
    session::Session,
    types::{
        AuthResult, ConnectInfo, From as Origin, FromType, LastWill, Publish, PublishAclResult,
        Reason, Subscribe, SubscribeAclResult, To,
    },
};

use super::{
    access,
    identity::{self, Claim},
    outbound,
    sessions::{Peer, Sessions},
};
use crate::{
    LinkEvent,
    event::{Counters, Reporter, count},
};

/// MQTT 5: another connection with this client id has replaced this one.
const SESSION_TAKEN_OVER: u8 = 0x8E;

const HOOKS: [Type; 8] = [
    Type::ClientAuthenticate,
    Type::ClientConnected,
    Type::ClientDisconnected,
    Type::ClientSubscribeCheckAcl,
    Type::MessagePublishCheckAcl,
    Type::MessagePublish,
    Type::MessageDelivered,
    Type::MessageDropped,
];

/// Hangs our hooks into the broker.
pub(crate) async fn register(
    context: &ServerContext,
    sessions: Arc<Sessions>,
    reporter: Reporter,
    counters: Arc<Counters>,
) {
    let hooks = Hooks { sessions, reporter, counters };
    let register = context.extends.hook_mgr().register();
    for hook in HOOKS {
        register.add(hook, Box::new(hooks.clone())).await;
    }
    register.start().await;
}

#[derive(Clone)]
struct Hooks {
    sessions: Arc<Sessions>,
    reporter: Reporter,
    counters: Arc<Counters>,
}

#[expect(elided_lifetimes_in_paths, reason = "async_trait needs the signature as rmqtt wrote it")]
#[async_trait]
impl Handler for Hooks {
    async fn hook(&self, parameter: &Parameter, _earlier: Option<HookResult>) -> ReturnType {
        let answer = match parameter {
            Parameter::ClientAuthenticate(connect) => {
                Some(HookResult::AuthResult(self.authenticate(connect)))
            }
            Parameter::ClientSubscribeCheckAcl(session, subscribe) => {
                Some(HookResult::SubscribeAclResult(self.check_subscribe(session, subscribe)))
            }
            Parameter::MessagePublishCheckAcl(session, publish) => {
                Some(HookResult::PublishAclResult(self.check_publish(session, publish)))
            }
            Parameter::ClientConnected(session) => {
                self.connected(session).await;
                None
            }
            Parameter::ClientDisconnected(session, reason) => {
                self.disconnected(session, reason).await;
                None
            }
            Parameter::MessagePublish(Some(session), origin, publish) => {
                self.published(session, origin, publish).await;
                None
            }
            Parameter::MessageDelivered(session, origin, _) => {
                self.left_the_queue(Some(&session.id), origin);
                None
            }
            Parameter::MessageDropped(to, origin, _, _) => {
                self.left_the_queue(to.as_ref(), origin);
                None
            }
            _ => None,
        };
        (false, answer)
    }
}

impl Hooks {
    fn authenticate(&self, connect: &ConnectInfo) -> AuthResult {
        let peer = self.sessions.peer(connect.id().remote_addr);
        let claim = Claim {
            client_id: connect.client_id(),
            username: connect.username().map(|username| &**username),
            will_topic: connect.last_will().map(|will| match will {
                LastWill::V3(will) => &*will.topic,
                LastWill::V5(will) => &*will.topic,
            }),
        };
        match identity::admit(peer.as_ref().map(|peer| peer.credential), claim) {
            Ok(()) => AuthResult::Allow(false, None),
            Err(refusal) => {
                count(&self.counters.refused);
                let remote = peer.map(|peer| peer.remote);
                tracing::warn!(
                    client = claim.client_id,
                    ?remote,
                    "refused a connection: {refusal}"
                );
                AuthResult::NotAuthorized
            }
        }
    }

    fn check_subscribe(&self, session: &Session, subscribe: &Subscribe) -> SubscribeAclResult {
        let (device, filter) = (&*session.id.client_id, &*subscribe.topic_filter);
        if subscribe.opts.shared_group().is_none() && access::may_subscribe(device, filter) {
            return SubscribeAclResult::new_success(subscribe.opts.qos(), None);
        }
        count(&self.counters.refused);
        tracing::warn!(
            device,
            filter,
            "refused a subscription: it is not below the device's own topics"
        );
        SubscribeAclResult::new_failure(SubscribeAckReason::NotAuthorized)
    }

    fn check_publish(&self, session: &Session, publish: &Publish) -> PublishAclResult {
        let (device, topic) = (&*session.id.client_id, &*publish.topic);
        if access::may_publish(device, topic) {
            return PublishAclResult::allow();
        }
        count(&self.counters.refused);
        tracing::warn!(
            device,
            topic,
            "refused a message: it is not on one of the device's own upward topics"
        );
        PublishAclResult::rejected(false, None)
    }

    async fn connected(&self, session: &Session) {
        let Some(peer) = self.peer(session) else { return };
        let device = session.id.client_id.to_string();
        self.sessions.open(&device, &peer);
        tracing::debug!(device, remote = %peer.remote, "connected");
        self.reporter.presence(LinkEvent::Connected { device }).await;
    }

    async fn disconnected(&self, session: &Session, reason: &Reason) {
        let Some(peer) = self.peer(session) else { return };
        let device = session.id.client_id.to_string();
        let kicked = was_kicked(session).await;
        let code = if kicked { SESSION_TAKEN_OVER } else { reason.to_reason_code().into() };
        // First, for the front waits for it to tell the client; the engine's queue may be slow.
        let newest = self.sessions.end(&device, &peer, code);
        tracing::debug!(device, remote = %peer.remote, %reason, "disconnected");
        if kicked {
            self.reporter.presence(LinkEvent::TakenOver { device }).await;
        } else if newest {
            self.reporter.presence(LinkEvent::Disconnected { device }).await;
        }
    }

    /// Takes what a device says. The broker asks here before it checks the topic, and for wills it asks nowhere else.
    async fn published(&self, session: &Session, origin: &Origin, publish: &Publish) {
        if !access::may_publish(&session.id.client_id, &publish.topic) {
            return;
        }
        // The will of a connection that a newer one has replaced would report a device gone that is there.
        if matches!(origin.typ(), FromType::LastWill) && was_kicked(session).await {
            return;
        }
        self.reporter.message(&publish.topic, &publish.payload).await;
    }

    fn left_the_queue(&self, to: Option<&To>, origin: &Origin) {
        if !outbound::is_from_hub(origin) {
            return;
        }
        if let Some(peer) = to.and_then(|to| self.sessions.peer(to.remote_addr)) {
            peer.give_place();
        }
    }

    fn peer(&self, session: &Session) -> Option<Arc<Peer>> {
        self.sessions.peer(session.id.remote_addr)
    }
}

async fn was_kicked(session: &Session) -> bool {
    let reasons = session.disconnected_reasons().await.unwrap_or_default();
    reasons.iter().any(|reason| reason.is_kicked(false))
}
