//! Which boards become devices of this hub: by a token, by an operator's approval, or because their serial number was
//! registered before they came. Certificates are the shell's; here it is decided who gets one.

mod authority;
mod certificates;
mod waiting;

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::{id::Hash, time::UnixMs, topic::is_device_name, v1::owned::Severity};

use crate::{
    admission::roster::WAY_BACK,
    api::{
        ApiError, Enrolment, JoinToken, Key, Kind, Object, ObjectMeta,
        lichen::enrolment::{EnrolmentStatus, MAX_SERIAL_NUMBER},
        meta::Map,
        time::{rfc3339, unix_ms},
    },
    effect::{Action, Effect, Response},
    engine::Engine,
    event::{EnrolRequest, RenewRequest},
};

pub(crate) use certificates::bytes_of;

/// What the refusals of all boards are recorded for. No device is called so.
const ALL: &str = "all";
/// So long after its first answer a board is answered again: that may have been lost, with the network or the power.
const ANSWERED_AGAIN_FOR_MS: UnixMs = 24 * 3600 * 1000;
/// Bytes that are kept of what a board says that it is.
const MAX_MODEL: usize = 128;

/// What a board gets for its request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// A certificate, as this device; and the token is used once more.
    Enrolled { name: String, uses_token: bool },
    /// A certificate for the board that is this device already.
    Again { name: String },
    /// Nothing yet.
    Pending { name: String },
}

/// What is known about a request: the token that it names, the enrolment of the name that it asks for, and the one that
/// waits for its serial number.
struct Known<'a> {
    token: Option<&'a JoinToken>,
    of_name: Option<&'a Enrolment>,
    registered: Option<&'a Enrolment>,
}

fn decide(request: &EnrolRequest, known: &Known<'_>, now: UnixMs) -> Result<Answer, String> {
    let registered = known.registered;
    let name = registered.map_or(&request.name, |enrolment| &enrolment.metadata.name);
    let present = registered.or(known.of_name);
    let key = request.key.to_string();
    if let Some(enrolment) = present {
        if enrolment.spec.revoked {
            return Err(format!("{name} was revoked by an operator"));
        }
        let is_other = !enrolment.status.key.is_empty() && enrolment.status.key != key;
        if is_other && enrolment.spec.approved {
            return Err(format!(
                "another board is enrolled as {name}; join by another name (--name), or, if this one takes its place, \
                 have an operator say: lichen device forget {name}"
            ));
        }
        // Anybody can wait under any name, so that keeps out nobody who has a right to it. Who waits with a certificate of this
        // hub's has one as well.
        let gives_way = request.token.is_some() && !enrolment.status.sealing_key.is_empty();
        if is_other && !gives_way {
            return Err(format!(
                "another board asks to be {name} and waits for approval; join by another name (--name), or have an \
                 operator say: lichen device deny {name}"
            ));
        }
        let is_kept = enrolment.phase() == "Registered" && registered.is_none();
        if is_kept && request.token.is_none() {
            return Err(format!(
                "{name} is kept for a board with another serial number; join by another name (--name) or with a token, or \
                  have an operator say: lichen device forget {name}"
            ));
        }
        // Its own answer may have been lost on the way. Who has seen its request can repeat it, and must not become it in
        // anything: a device changes what is known of it by renewing, with its certificate.
        if enrolment.is_admitted() && !is_other {
            let EnrolmentStatus { sealing_key, agent, .. } = &enrolment.status;
            let is_known = *sealing_key == request.sealing_key.to_string()
                && *agent == request.agent.to_string();
            if !is_known {
                return Err(format!(
                    "{name} is enrolled with this key and with another one for Secrets, or from another state directory; if \
                     the device was set up anew, have an operator say: lichen device forget {name}"
                ));
            }
            if is_on_its_way(enrolment, now) {
                return Ok(Answer::Again { name: name.clone() });
            }
        }
        if enrolment.is_admitted() && request.token.is_none() {
            return Err(format!(
                "{name} has joined already and renews its certificate by showing it; if that is lost or ended too long ago, it \
                 has to join again: {WAY_BACK}"
            ));
        }
    }
    if let Some((_, secret)) = &request.token {
        check_token(known.token, secret, name, now)?;
        return Ok(Answer::Enrolled { name: name.clone(), uses_token: true });
    }
    let is_expected = registered.is_some_and(|enrolment| enrolment.spec.approved);
    if is_expected {
        return Ok(Answer::Enrolled { name: name.clone(), uses_token: false });
    }
    Ok(Answer::Pending { name: name.clone() })
}

/// Whether the first answer to a board that was let in may not have reached it yet.
fn is_on_its_way(enrolment: &Enrolment, now: UnixMs) -> bool {
    let EnrolmentStatus { certificate_not_after, enrolled_at, .. } = &enrolment.status;
    let answered = enrolled_at.as_deref().and_then(unix_ms);
    let is_fresh = |answered| now < answered + ANSWERED_AGAIN_FOR_MS;
    certificate_not_after.is_none() || answered.is_some_and(is_fresh)
}

fn check_token(
    token: Option<&JoinToken>,
    secret: &Hash,
    name: &str,
    now: UnixMs,
) -> Result<(), String> {
    let unknown = "the hub does not know this token: it was mistyped, or deleted; make another with: lichen token create";
    let token = token.ok_or(unknown)?;
    let kept = Hash::parse(&token.spec.secret_hash).unwrap_or(Hash([0; 32]));
    if !is_same(&kept, secret) {
        return Err(unknown.to_owned());
    }
    token.check_use(now).map_err(|why| format!("{why}; make another with: lichen token create"))?;
    if !token.allows_name(name) {
        return Err(format!(
            "the token is for devices called {}; join by such a name (--name) instead of {name}",
            token.spec.name_pattern
        ));
    }
    Ok(())
}

/// Whether two hashes are the same, in a time that does not tell where they differ.
fn is_same(one: &Hash, other: &Hash) -> bool {
    one.0.iter().zip(other.0).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

impl Engine {
    /// A board asks to be a device.
    pub(crate) fn enrol(&mut self, request: EnrolRequest) -> Result<Response, ApiError> {
        let request = EnrolRequest {
            serial_number: short(&request.serial_number, MAX_SERIAL_NUMBER),
            model: short(&request.model, MAX_MODEL),
            ..request
        };
        if !is_device_name(&request.name) {
            let name = &request.name;
            return Err(ApiError::BadRequest(format!(
                "{name:?} can't be a device's name: use 1 to 63 of a-z, 0-9 and '-', none at either end"
            )));
        }
        let answer = {
            let known = Known {
                token: self.token_of(&request),
                of_name: self.enrolment(&request.name),
                registered: self.registered(&request.serial_number),
            };
            decide(&request, &known, self.known_ms())
        };
        let node = |name: &str| Key::new(Kind::Node, "", name);
        match answer {
            Err(why) => {
                let EnrolRequest { name, address, .. } = &request;
                let said = format!("a board at {address} may not join as {name}: {why}");
                let about = Key::new(Kind::Enrolment, "", ALL);
                self.record_newest(&about, Severity::Warning, "EnrolmentRefused", said);
                Err(ApiError::Forbidden(why))
            }
            Ok(Answer::Enrolled { name, uses_token }) => {
                let token = uses_token.then(|| self.token_of(&request).cloned()).flatten();
                let labels = token.as_ref().map(|token| token.spec.labels.clone());
                self.keep_enrolment(&name, &request, true, labels)?;
                // A board for which there is no room leaves its token as it is.
                if let Some(token) = token {
                    self.use_token(token);
                }
                let said = format!("{name} may be a device, asked for at {}", request.address);
                self.record(&node(&name), Severity::Normal, "Enrolled", said);
                Ok(Response::Enrolled { name })
            }
            Ok(Answer::Again { name }) => {
                let said = format!("{name} asks again at {}", request.address);
                self.record(&node(&name), Severity::Normal, "Enrolled", said);
                Ok(Response::Enrolled { name })
            }
            Ok(Answer::Pending { name }) => {
                if self.enrolment(&name).is_none_or(|known| known.status.key.is_empty()) {
                    self.check_neighbours(&request.address)?;
                    self.make_room_to_wait()?;
                    self.keep_enrolment(&name, &request, false, None)?;
                    let said = format!(
                        "a board at {} asks to be {name}: lichen device approve {name}",
                        request.address
                    );
                    self.record(&node(&name), Severity::Normal, "EnrolmentPending", said);
                }
                Ok(Response::EnrolmentPending { name })
            }
        }
    }

    /// A board with a certificate of this hub's that is no device here waits for an operator, as one that asks without a
    /// token.
    pub(crate) fn on_stranger(&mut self, device: &str, key: Hash, address: &str) {
        let is_new = self.enrolment(device).is_none() && is_device_name(device);
        if !is_new || self.make_room_to_wait().is_err() {
            return;
        }
        let meta = ObjectMeta { name: device.to_owned(), generation: 1, ..ObjectMeta::default() };
        let status = EnrolmentStatus {
            key: key.to_string(),
            address: address.to_owned(),
            requested_at: Some(rfc3339(self.known_ms())),
            ..EnrolmentStatus::default()
        };
        let mut enrolment = Enrolment { metadata: meta, spec: Default::default(), status };
        enrolment.set_phase();
        let object = Object::Enrolment(enrolment);
        if self.check_room(&object).is_err() {
            return;
        }
        self.create_stored(object, None);
        let said = format!(
            "a board at {address} has a certificate as {device}, and is not enrolled here; if this hub was restored from \
             an older backup: lichen device approve {device}"
        );
        let node = Key::new(Kind::Node, "", device);
        self.record(&node, Severity::Warning, "EnrolmentPending", said);
    }

    /// A device asks for a new certificate, for the same key or another one.
    pub(crate) fn renew(&mut self, request: &RenewRequest) -> Result<Response, ApiError> {
        let RenewRequest { device, key, new_key, sealing_key, agent } = request;
        let known = self.enrolment(device).filter(|enrolment| enrolment.is_admitted());
        let has_key = |enrolment: &&Enrolment| keys(enrolment).contains(key);
        let Some(enrolment) = known.filter(has_key) else {
            return Err(ApiError::Forbidden(format!(
                "{device} is not enrolled here with this key; an operator can say: lichen device list"
            )));
        };
        let mut enrolment = enrolment.clone();
        let status = &mut enrolment.status;
        let [key, new_key] = [key, new_key].map(ToString::to_string);
        if status.key != key {
            // The answer with the newer key's certificate may have been lost. Whoever has the older one gets that and no more.
            let is_the_same = status.key == new_key
                && status.sealing_key == sealing_key.to_string()
                && status.agent == agent.to_string();
            return if is_the_same {
                Ok(Response::Done)
            } else {
                Err(ApiError::Forbidden(format!(
                    "{device} has asked for a certificate of another key since, and may only ask for the very same again"
                )))
            };
        }
        status.previous_key.clear();
        if status.key != new_key {
            status.previous_key = key;
            status.key = new_key;
        }
        status.sealing_key = sealing_key.to_string();
        status.agent = agent.to_string();
        self.store_enrolment(enrolment);
        Ok(Response::Done)
    }

    /// A device has shown this key: if it is the newest one, that has arrived, and the one before is good for nothing.
    pub(crate) fn shown(&mut self, device: &str, key: &Hash) -> Response {
        let known = self.enrolment(device).filter(|enrolment| {
            !enrolment.status.previous_key.is_empty() && enrolment.status.key == key.to_string()
        });
        if let Some(mut enrolment) = known.cloned() {
            enrolment.status.previous_key.clear();
            self.store_enrolment(enrolment);
        }
        Response::Done
    }

    /// A certificate was issued. It may be handed out once this is answered: whatever a device holds, the hub knows.
    pub(crate) fn certified(
        &mut self,
        device: &str,
        not_after_ms: UnixMs,
        authority: &Hash,
        serial: &[u8],
    ) -> Result<Response, ApiError> {
        let key = Key::new(Kind::Enrolment, "", device);
        let enrolment = self.enrolment(device).ok_or(ApiError::NotFound(key))?;
        let mut enrolment = enrolment.clone();
        if enrolment.status.certificate_not_after.is_none() {
            enrolment.status.enrolled_at = Some(rfc3339(self.known_ms()));
        }
        certificates::note(&mut enrolment, serial, not_after_ms, self.known_ms())?;
        enrolment.status.certificate_not_after = Some(rfc3339(not_after_ms));
        enrolment.status.authority = authority.to_string();
        if !core::mem::take(&mut enrolment.status.message).is_empty() {
            self.touch_node(device);
        }
        self.store_enrolment(enrolment);
        Ok(Response::Done)
    }

    /// An admission is new or changed: who may come in follows it, and so do the labels of its device.
    pub(crate) fn admission_changed(&mut self, enrolment: &Enrolment) {
        let device = enrolment.metadata.name.clone();
        self.effects.push(admission(enrolment, device));
        // What the admission said before, an operator may have changed on the Node.
        let before =
            self.enrolment(&enrolment.metadata.name).map(|known| known.spec.labels.clone());
        let is_news = |(name, value): &(&String, &String)| {
            before.as_ref().and_then(|labels| labels.get(*name)) != Some(*value)
        };
        let news = enrolment.spec.labels.iter().filter(is_news);
        let news = news.map(|(name, value)| (name.clone(), value.clone())).collect();
        self.label(&enrolment.metadata.name.clone(), news);
        // Its secrets are sealed to the key that it has now.
        if self.state.fleet.get(&enrolment.metadata.name).is_some() {
            self.dirty.assignments.insert(enrolment.metadata.name.clone());
        }
    }

    /// The key to which a device's secrets are sealed. None of one that may not come in.
    pub(crate) fn sealing_key(&self, device: &str) -> Option<[u8; 32]> {
        let enrolment = self.enrolment(device).filter(|enrolment| enrolment.is_admitted())?;
        Hash::parse(&enrolment.status.sealing_key).map(|key| key.0)
    }

    /// Who may come in and who may not, for a shell that has just started.
    pub(crate) fn admit_all(&mut self) {
        let name = |enrolment: &Enrolment| enrolment.metadata.name.clone();
        let all: Vec<_> =
            self.enrolments().map(|enrolment| admission(enrolment, name(enrolment))).collect();
        self.effects.extend(all);
    }

    /// Gives a device the labels that its enrolment says, beside those that it has.
    pub(crate) fn label_as_enrolled(&mut self, name: &str) {
        if let Some(labels) = self.enrolment(name).map(|known| known.spec.labels.clone()) {
            self.label(name, labels);
        }
    }

    fn label(&mut self, name: &str, more: Map) {
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        let mut labels = device.operator.labels.clone();
        labels.extend(more);
        if device.operator.labels != labels {
            device.operator.labels = labels;
            self.dirty.devices.insert(name.to_owned());
            self.touch_node(name);
            self.dirty_device(name);
        }
    }

    fn enrolment(&self, name: &str) -> Option<&Enrolment> {
        let key = Key::new(Kind::Enrolment, "", name);
        match self.state.objects.get(&key)?.object.as_ref() {
            Object::Enrolment(enrolment) => Some(enrolment),
            _ => None,
        }
    }

    fn join_token(&self, key: &Key) -> Option<&JoinToken> {
        match self.state.objects.get(key)?.object.as_ref() {
            Object::JoinToken(token) => Some(token),
            _ => None,
        }
    }

    fn enrolments(&self) -> impl Iterator<Item = &Enrolment> {
        let all = self.state.objects.of_kind(Kind::Enrolment);
        all.filter_map(|(_, stored)| match stored.object.as_ref() {
            Object::Enrolment(enrolment) => Some(enrolment),
            _ => None,
        })
    }

    /// The enrolment that waits for a board with this serial number.
    fn registered(&self, serial_number: &str) -> Option<&Enrolment> {
        let of_it = |enrolment: &&Enrolment| {
            enrolment.spec.serial_number == serial_number && enrolment.phase() == "Registered"
        };
        if serial_number.is_empty() { None } else { self.enrolments().find(of_it) }
    }

    fn token_of(&self, request: &EnrolRequest) -> Option<&JoinToken> {
        let (id, _) = request.token.as_ref()?;
        self.join_token(&Key::new(Kind::JoinToken, "", id))
    }

    /// Counts a use of a token.
    fn use_token(&mut self, mut token: JoinToken) {
        token.status.used = token.status.used.saturating_add(1);
        self.put(Object::JoinToken(token), None, Action::Modified);
    }

    fn keep_enrolment(
        &mut self,
        name: &str,
        request: &EnrolRequest,
        approved: bool,
        labels: Option<Map>,
    ) -> Result<(), ApiError> {
        let known = self.enrolment(name).cloned();
        let is_new = known.is_none();
        let meta = ObjectMeta { name: name.to_owned(), generation: 1, ..ObjectMeta::default() };
        let mut enrolment = known.unwrap_or_else(|| Enrolment {
            metadata: meta,
            spec: Default::default(),
            status: EnrolmentStatus::default(),
        });
        // Another board waited under this name.
        let key = request.key.to_string();
        if !enrolment.status.key.is_empty() && enrolment.status.key != key {
            enrolment.status = EnrolmentStatus::default();
        }
        enrolment.spec.approved = approved;
        if let Some(labels) = labels {
            enrolment.spec.labels.extend(labels);
            // A token was used: it is let in anew.
            enrolment.status.certificate_not_after = None;
        }
        let status = &mut enrolment.status;
        status.key = key;
        status.previous_key.clear();
        status.sealing_key = request.sealing_key.to_string();
        status.agent = request.agent.to_string();
        status.model.clone_from(&request.model);
        status.serial_number.clone_from(&request.serial_number);
        status.address.clone_from(&request.address);
        status.requested_at.get_or_insert_with(|| rfc3339(self.known_ms()));
        if let Some((token, _)) = &request.token {
            status.token.clone_from(token);
        }
        if is_new {
            let object = Object::Enrolment(enrolment.clone());
            self.check_room(&object)?;
            enrolment.set_phase();
            self.create_stored(Object::Enrolment(enrolment), None);
        } else {
            self.store_enrolment(enrolment);
        }
        Ok(())
    }

    fn store_enrolment(&mut self, mut enrolment: Enrolment) {
        enrolment.set_phase();
        self.put(Object::Enrolment(enrolment), None, Action::Modified);
    }
}

/// Whether a device may come in, for the shell.
fn admission(enrolment: &Enrolment, device: String) -> Effect {
    match enrolment.phase() {
        "Enrolled" => Effect::Admit { device, keys: keys(enrolment) },
        "Revoked" => {
            let why = format!("{device} was revoked by an operator");
            Effect::Dismiss { device, why }
        }
        _ => Effect::Disown { device },
    }
}

/// The keys that a device may show, the newest first.
fn keys(enrolment: &Enrolment) -> Vec<Hash> {
    let EnrolmentStatus { key, previous_key, .. } = &enrolment.status;
    [key, previous_key].into_iter().filter_map(|key| Hash::parse(key)).collect()
}

/// The beginning of a text, without what no terminal should be shown.
fn short(text: &str, most: usize) -> String {
    let shown = text.chars().filter(|letter| !letter.is_control());
    let mut kept = String::new();
    for letter in shown {
        if kept.len() + letter.len_utf8() > most {
            break;
        }
        kept.push(letter);
    }
    kept
}
