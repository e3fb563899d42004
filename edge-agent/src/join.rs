//! Becoming a device of a hub: keys are made here, the hub is recognised by the fingerprint of its CA, and what it issues is
//! kept. It takes as long as it takes: a network that is away is waited for, and so is an operator who has to approve.
//!
//! - [`wish`] is the name that the device would like. - [`save`] checks and keeps what the hub issued.

use std::{
    mem::{Discriminant, discriminant},
    sync::Arc,
    time::Duration,
};

use firmware_compat::{
    enrolment::{Address, EnrolRequest, Fingerprint, JoinSecret, JoinToken, Pending, Text},
    id::{AgentId, BootId},
};
use rustls::pki_types::CertificateDer;

use crate::{
    board,
    hub::{HubClient, HubError, Joined},
    identity::{
        Identity, IdentityDir, IdentityError, KeyError, Keys,
        certificate::{Unusable, fingerprint},
        key_files::KeyFiles,
    },
    known_time::KnownTime,
    options::OptionError,
    probe,
    runtime::chain,
    state::{StateDir, StateError},
    tls::{self, first_contact::FirstContact},
};

pub mod save;
pub mod wish;

pub use wish::Wish;

/// The first pause after an attempt in vain; it doubles with each, and a part of it is left out at random.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(60);
/// How often a hub that has an operator asked may be asked.
const PENDING: std::ops::RangeInclusive<u32> = 2..=600;

/// What is to be joined, and by what right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Where the hub is, best first.
    pub addresses: Vec<Address>,
    /// Of its CA. Without it, whoever answers is believed.
    pub fingerprint: Option<Fingerprint>,
    /// Without it an operator decides, or the board was announced by its serial number.
    pub secret: Option<JoinSecret>,
}

impl From<JoinToken> for Invitation {
    fn from(token: JoinToken) -> Self {
        let JoinToken { addresses, fingerprint, secret } = token;
        let addresses = addresses.into_vec();
        Self { addresses, fingerprint: Some(fingerprint), secret: Some(secret) }
    }
}

/// Why a device could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// What is kept of an identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The name.
    #[error(transparent)]
    Name(#[from] OptionError),
    /// It is another hub's device.
    #[error(
        "this device is {name:?} of the hub at {hub} already, and that is another one. To move it: on that hub, lichen device \
         forget {name}; here, remove {dir}/hub.json and join again"
    )]
    OtherHub {
        /// Its name there.
        name: String,
        /// Where that hub is.
        hub: String,
        /// The directory of the identity.
        dir: String,
    },
    /// The hub says no.
    #[error("could not join: {0}")]
    Refused(HubError),
    /// What the hub issued is not usable.
    #[error("could not join: what the hub issued can't be used: {0}")]
    Unusable(#[from] Unusable),
    /// The TLS library refuses.
    #[error("could not prepare TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// What an attempt came to.
enum Attempt {
    Done(Box<Identity>),
    Later(Wait),
}

/// What is waited for.
struct Wait {
    why: Why,
    /// To be said unless the same was waited for before.
    text: String,
    /// Zero if nobody says how long.
    time: Duration,
}

/// Networks fail in many words; one line for all of them is enough.
#[derive(PartialEq, Eq)]
enum Why {
    Hub(Discriminant<HubError>),
    /// By the name under which an operator finds the device.
    Approval(String),
}

/// Joins, and returns once the identity is kept; at once if there is one already, of this hub, which may have moved to where
/// it is invited from. `tell` hears every line for
/// people, `pause` waits.
///
/// # Errors
/// See [`JoinError`]: what waiting does not help against.
pub fn join(
    state: &StateDir,
    invitation: &Invitation,
    wish: Option<&str>,
    tell: &mut dyn FnMut(&str),
    pause: &mut dyn FnMut(Duration),
) -> Result<Identity, JoinError> {
    let dir = IdentityDir::of(state);
    if let Some(identity) = dir.load()? {
        let identity = of_same_hub(identity, invitation, state, &dir)?;
        tell(&format!("this device is {:?} of this hub already", identity.name()));
        return match save::looking_at(&dir, &identity, &invitation.addresses)? {
            Some(moved) => {
                let address = &invitation.addresses[0];
                tell(&format!("and looks for it at {address}, first until it says where it is"));
                Ok(moved)
            }
            None => Ok(identity),
        };
    }
    let kept = dir.wish();
    let wish = Wish::of(wish.or(kept.as_deref()))?;
    if let Some(changed_from) = &wish.changed_from {
        tell(&format!(
            "this host is called {changed_from:?}, which is no device's name: joining as {:?}",
            wish.name
        ));
    }
    let keys: Arc<dyn Keys> = Arc::new(KeyFiles::load_or_make(&dir)?);
    dir.keep_wish(&wish.name)?;
    let joining = Joining::new(state, invitation, &wish, keys, dir)?;
    let (mut told, mut tries) = (None, 0);
    loop {
        match joining.attempt(tell)? {
            Attempt::Done(identity) => {
                tell(&format!("joined the hub as {:?}", identity.name()));
                return Ok(*identity);
            }
            Attempt::Later(Wait { why, text, time }) => {
                if told.as_ref() != Some(&why) {
                    tell(&text);
                    told = Some(why);
                }
                let time = if time.is_zero() { backoff(tries) } else { time };
                tries += 1;
                pause(time);
            }
        }
    }
}

/// Somewhere in the upper half of a bound that doubles.
fn backoff(tries: u32) -> Duration {
    let bound = RETRY_FIRST.saturating_mul(2_u32.saturating_pow(tries)).min(RETRY_LONGEST);
    bound / 2 + crate::link::jitter(bound / 2)
}

/// The identity, if it is of the hub that the invitation is to, with what that has made known by now.
fn of_same_hub(
    identity: Identity,
    invitation: &Invitation,
    state: &StateDir,
    dir: &IdentityDir,
) -> Result<Identity, JoinError> {
    let known = &identity.hub.addresses();
    let is_same = match invitation.fingerprint {
        Some(wanted) => believes(&identity, wanted),
        None => invitation.addresses.iter().any(|address| known.contains(address)),
    };
    if is_same {
        return Ok(identity);
    }
    if let Some(identity) = introduced(&identity, invitation, &KnownTime::load(state)?) {
        dir.save_hub(&identity.hub)?;
        return Ok(identity);
    }
    let hub = known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (name, dir) = (identity.name().to_owned(), dir.path().display().to_string());
    Err(JoinError::OtherHub { name, hub, dir })
}

fn believes(identity: &Identity, wanted: Fingerprint) -> bool {
    identity.authorities.iter().any(|ca| fingerprint(ca) == wanted)
}

/// The identity with a CA that the hub has made since this device asked it last: the hub, which is known by the one before,
/// says itself that it is its own.
fn introduced(identity: &Identity, to: &Invitation, time: &KnownTime) -> Option<Identity> {
    let wanted = to.fingerprint?;
    let configs = tls::Configs::new(identity, time, &Arc::default()).ok()?;
    let said = HubClient::new(configs.http, to.addresses.clone()).connect().ok()?;
    let identity = identity.with(identity.hub.updated(&said, false)?).ok()?;
    believes(&identity, wanted).then_some(identity)
}

/// One device on its way into one hub.
struct Joining<'a> {
    state: &'a StateDir,
    dir: IdentityDir,
    keys: Arc<dyn Keys>,
    request: EnrolRequest,
    contact: Arc<FirstContact>,
    trusts_blindly: bool,
    hub: HubClient,
}

impl<'a> Joining<'a> {
    fn new(
        state: &'a StateDir,
        invitation: &Invitation,
        wish: &Wish,
        keys: Arc<dyn Keys>,
        dir: IdentityDir,
    ) -> Result<Self, JoinError> {
        // Whatever another hub has said of the time: this one owes it nothing, and is known by its CA.
        let time = KnownTime::from(0);
        let contact = Arc::new(FirstContact::new(invitation.fingerprint));
        let tls = tls::first_contact(contact.clone(), &time)?;
        let hub = HubClient::new(tls, invitation.addresses.clone());
        let agent: AgentId = state.agent_id()?;
        let request = EnrolRequest {
            token: invitation.secret.clone(),
            csr: Text::try_from(keys.request()?).expect("a request for one key is short"),
            sealing_key: keys.sealing_key(),
            name: Some(Text::cut(&wish.name)),
            agent,
            boot: BootId(probe::boot_id().map_or([0; 16], |boot| boot.0)),
            serial: board::serial(),
            model: board::model(),
        };
        let trusts_blindly = invitation.fingerprint.is_none();
        Ok(Self { state, dir, keys, request, contact, trusts_blindly, hub })
    }

    fn attempt(&self, tell: &mut dyn FnMut(&str)) -> Result<Attempt, JoinError> {
        let met_before = self.contact.authority().is_some();
        let answer = self.hub.enrol(&self.request);
        if let (true, false, Some(authority)) =
            (self.trusts_blindly, met_before, self.contact.authority())
        {
            tell(&blind_trust(authority));
        }
        match answer {
            Ok(Joined::Enrolled(enrolled)) => {
                let authority = self.contact.authority().ok_or(Unusable::OtherAuthority)?;
                let dialled = self.hub.reached().map(std::slice::from_ref).unwrap_or_default();
                // The hub that is believed from now on is believed in this, too, and no other is any more. Without an identity
                // it decides nothing, so power may fail in between.
                self.state.set_time_floor(enrolled.hub.unix_ms)?;
                let identity =
                    save::save(&self.dir, self.keys.clone(), *enrolled, authority, dialled)?;
                Ok(Attempt::Done(Box::new(identity)))
            }
            Ok(Joined::Pending(pending)) => Ok(later(&pending)),
            // A portal of the network that the device is in, perhaps. Nothing was said to it.
            Err(error @ HubError::Impostor { .. }) => Ok(Attempt::Later(Wait {
                why: Why::Hub(discriminant(&error)),
                text: format!(
                    "{error}; trying again until the hub answers. If its CA was changed, make a new token on the hub (lichen \
                     token create); otherwise somebody else answers there"
                ),
                time: RETRY_LONGEST,
            })),
            Err(error) if error.is_passing() => Ok(Attempt::Later(Wait {
                why: Why::Hub(discriminant(&error)),
                text: format!("{}; trying again until it answers", chain(&error)),
                time: Duration::ZERO,
            })),
            // No certificate was shown: it is the token that the hub does not accept.
            Err(HubError::NotAuthenticated { cause }) => {
                Err(JoinError::Refused(HubError::Refused { cause }))
            }
            Err(error) => Err(JoinError::Refused(error)),
        }
    }
}

fn later(pending: &Pending) -> Attempt {
    let Pending { name, message, retry_after_s, .. } = pending;
    let said = if message.is_empty() { String::new() } else { format!(" ({message})") };
    let text =
        format!("waiting to be approved{said}; on the hub's machine: lichen device approve {name}");
    let seconds = (*retry_after_s).clamp(*PENDING.start(), *PENDING.end());
    let (why, time) = (Why::Approval(name.to_string()), Duration::from_secs(seconds.into()));
    Attempt::Later(Wait { why, text, time })
}

fn blind_trust(authority: &CertificateDer<'_>) -> String {
    format!(
        "warning: this hub is believed because it was the first to answer. Its CA has the fingerprint {}: compare it with \
         what the hub says of itself, or join with a token",
        fingerprint(authority)
    )
}
