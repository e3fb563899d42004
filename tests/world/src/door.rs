//! The hub's door for devices: its endpoint, what it issues, and whom it believes. Who comes in is decided by
//! [`lichen_hub_core::admission`] and by the engine, as in a hub; a certificate here is a few numbers, its CA one of them.
//!
//! Boards with a copied card meet it in every world whose broker is the hub. Certificates are asked for in worlds that begin
//! with the step `certificates`, and there of boards with an agent. An operator's broker has its own door.

use std::collections::{BTreeMap, BTreeSet};

use firmware_compat::{enrolment::Renewal, id::Hash, time::Instant};
use lichen_agent_core::membership::{
    due::Lifetime,
    upkeep::{Outcome, Step},
};
use lichen_hub_core::{
    admission::{
        boards::{Boards, Comer},
        roster::{Roster, Verdict},
        validity,
    },
    api::ApiError,
    effect::{Effect, Response},
    event::{self, Event, Request},
};

use crate::{
    Due, World,
    canary::Canary,
    hub::{Asked, Hub, HubWake},
    member::{Answer, Facts, Identity},
};

/// How far known time goes on before it is saved again, in seconds.
const SAVE_EVERY: u64 = 24 * 3600;
/// What `lichen_trust` takes for a leap of the clock, and since when it does: the beginning of 2026.
const LEAP_S: u64 = 366 * 24 * 3600;
const BEGINNING_S: u64 = 1_767_225_600;

/// How long certificates last.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// In seconds.
    pub certificate_s: u64,
    /// After its end a certificate is good for a new one for so many seconds.
    pub grace_s: u64,
}

/// What an endpoint knows; a hub that starts again has forgotten it.
#[derive(Debug, Default)]
pub struct Door {
    roster: Roster,
    /// Indices of the boards under each name.
    boards: BTreeMap<String, Boards<usize>>,
}

/// What lies beside a hub's store: its CAs, and the time that it knows, in seconds.
#[derive(Debug, Default)]
pub struct Vault {
    /// The CA that issues.
    authority: u64,
    /// Since when.
    since_s: u64,
    /// The one before, and until when it is believed.
    previous: Option<(u64, u64)>,
    known_s: u64,
    /// When it was known, on the world's clock.
    known_at: u64,
    saved_s: u64,
}

impl Vault {
    /// The CAs that are believed.
    pub fn authorities(&self) -> BTreeSet<u64> {
        [Some(self.authority), self.previous.map(|(old, _)| old)].into_iter().flatten().collect()
    }

    /// The hub goes on from what it has saved.
    pub fn restart(&mut self, now: u64) {
        (self.known_s, self.known_at) = (self.saved_s, now);
    }

    fn carried_on(&self, now: u64) -> u64 {
        self.known_s + (now - self.known_at) / 1000
    }

    fn renewal(&self) -> Option<Renewal> {
        let (_, until_s) = self.previous?;
        Some(validity::early_renewal(self.since_s, until_s))
    }
}

/// Certificates and CAs by their numbers, where the hub has a hash.
fn fingerprint(authority: u64) -> Hash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&authority.to_le_bytes());
    Hash(hash)
}

impl Hub {
    /// The time that its engine is shown: its clock's, if that has not leapt, and no earlier one than is known.
    pub fn believed_ms(&self, now: u64) -> u64 {
        let (clock_ms, carried_on) = (self.unix_ms(now), self.vault.carried_on(now));
        let leaps =
            carried_on >= BEGINNING_S && (clock_ms / 1000).saturating_sub(carried_on) > LEAP_S;
        if leaps { carried_on * 1000 } else { clock_ms.max(carried_on * 1000) }
    }

    /// The time by which it issues and judges, as `lichen_trust` has it: the furthest that its clock has been without leaping,
    /// and from there on.
    pub fn known_s(&mut self, now: u64) -> u64 {
        let known_s = self.believed_ms(now) / 1000;
        let vault = &mut self.vault;
        if known_s > vault.carried_on(now) {
            (vault.known_s, vault.known_at) = (known_s, now);
        }
        if known_s >= vault.saved_s + SAVE_EVERY {
            vault.saved_s = known_s;
        }
        known_s
    }

    fn facts(&mut self, now: u64) -> Facts {
        let said_ms = self.known_s(now) * 1000;
        Facts { authorities: self.vault.authorities(), renewal: self.vault.renewal(), said_ms }
    }
}

impl World {
    /// Whether boards need certificates.
    pub(crate) fn has_certificates(&self) -> bool {
        self.certificates.is_some() && !self.broker.external
    }

    /// Whether a board needs one.
    pub(crate) fn needs_certificate(&self, board: usize) -> bool {
        self.has_certificates() && self.boards[board].firmware.is_none()
    }

    /// The engine says who may come in.
    pub(crate) fn door_learns(&mut self, hub: usize, effect: Effect) {
        let roster = &mut self.hubs[hub].door.roster;
        let device = match effect {
            Effect::Admit { device, keys } => {
                roster.admit(&device, &keys);
                device
            }
            Effect::Dismiss { .. } if self.canary == Some(Canary::RevocationsAreNotHeard) => return,
            Effect::Dismiss { device, why } => {
                roster.dismiss(&device, &why);
                device
            }
            Effect::Disown { device } => {
                roster.forget(&device);
                device
            }
            _ => return,
        };
        if hub == 0 && self.has_certificates() {
            self.end_unwelcome_session(&device);
        }
    }

    fn end_unwelcome_session(&mut self, device: &str) {
        let door = &mut self.hubs[0].door;
        let Some((_, conn)) = self.broker.holder(device) else {
            if !door.roster.is_welcome(device) {
                door.boards.remove(device);
                self.audit.forget_boards_of(device);
            }
            return;
        };
        let Some(key) = self.broker.key(device) else { return };
        let verdict = door.roster.verdict(device, &key);
        if verdict != Verdict::Welcome {
            door.boards.remove(device);
            self.audit.forget_boards_of(device);
            self.tell(&format!("the hub ends the session of {device}: {}", verdict.why(device)));
            self.close_session(device, conn, true);
        }
    }

    /// Whether a board comes in, or why it is kept out. The TLS of both sides, then the endpoint.
    pub(crate) fn comes_in(&mut self, board: usize) -> Result<(), String> {
        if self.broker.external || self.boards[board].firmware.is_some() {
            return Ok(());
        }
        if self.needs_certificate(board) {
            let identity = self.boards[board].identity().ok_or("it has not joined")?;
            if let Err(why) = self.believe_each_other(&identity) {
                // It says so, and that it takes a person to have it join again.
                self.boards[board].kept_out = Some(why.clone());
                return Err(why);
            }
            let known_s = self.hubs[0].known_s(self.now);
            if validity::has_ended(identity.lifetime.not_after_s, known_s) {
                return Err("its certificate has ended".to_owned());
            }
            let (device, key) = (self.boards[board].name.clone(), self.boards[board].key());
            let verdict = self.hubs[0].door.roster.verdict(&device, &key);
            if verdict != Verdict::Welcome {
                let why = verdict.why(&device);
                self.boards[board].kept_out = Some(why.clone());
                let address = self.boards[board].address();
                self.hub_event(0, Event::Stranger { device, key, address });
                return Err(why);
            }
        }
        self.has_the_name(board)
    }

    fn has_the_name(&mut self, board: usize) -> Result<(), String> {
        let (name, boot) = (self.boards[board].name.clone(), self.boot_id(board));
        let is_there = self.broker.holder(&name).is_some();
        let hub = &mut self.hubs[0];
        let now = Instant(self.now);
        let boards = hub.door.boards.entry(name.clone()).or_default();
        let Comer::Second { other, is_news } = boards.comes(boot, board, is_there, now) else {
            return Ok(());
        };
        if is_news {
            let boards = [other, board].map(|board| event::Board {
                agent: self.boards[board].agent_id(),
                boot: self.boot_id(board),
                address: self.boards[board].address(),
            });
            self.audit.note_two_boards(&name, boards.clone().map(|board| board.address), self.now);
            if !self.is(Canary::CopiesAreNotTold) {
                self.hub_event(0, Event::TwoBoards { device: name, boards });
            }
        }
        if is_there {
            return Err(format!("{} has its name", self.boards[other].label));
        }
        Ok(())
    }

    /// Each side's TLS has to know the CA of the other's certificate.
    fn believe_each_other(&self, identity: &Identity) -> Result<(), String> {
        let vault = &self.hubs[0].vault;
        let knows_hub = !vault.authorities().is_disjoint(&identity.facts.authorities);
        let is_known = vault.authorities().contains(&identity.authority);
        match (knows_hub, is_known) {
            (true, true) => Ok(()),
            (false, _) => Err("it does not know the hub's CA".to_owned()),
            (true, false) => Err("the hub does not know its CA any more".to_owned()),
        }
    }

    /// A board calls the HTTP side. The engine may have to answer first.
    pub(crate) fn call_hub(&mut self, board: usize, step: Step) {
        let asked = match self.answer_call(board, step) {
            Ok(Some(facts)) => return self.answer_later(board, step, Ok(Answer::Facts(facts))),
            Ok(None) => Request::Renew(event::RenewRequest {
                device: self.boards[board].name.clone(),
                key: self.boards[board].key(),
                new_key: self.boards[board].key(),
                sealing_key: self.boards[board].public_sealing_key(),
                agent: self.boards[board].agent_id(),
            }),
            Err(refusal) => return self.answer_later(board, step, Err(refusal)),
        };
        let life = self.boards[board].life;
        self.ask_hub(0, asked, Asked::Member { board, life, step: Some(step) });
    }

    /// What is answered without the engine; `None` if it has to be asked.
    fn answer_call(
        &mut self,
        board: usize,
        step: Step,
    ) -> Result<Option<Facts>, (Outcome, String)> {
        let in_vain = |why: &str| (Outcome::InVain, why.to_owned());
        if !self.boards[board].is_on_the_network() || self.hubs[0].engine.is_none() {
            return Err(in_vain("nobody answers"));
        }
        let identity = self.boards[board].identity().ok_or_else(|| in_vain("it has none"))?;
        self.believe_each_other(&identity).map_err(|why| in_vain(&why))?;
        let (device, key) = (self.boards[board].name.clone(), self.boards[board].key());
        let verdict = self.hubs[0].door.roster.verdict(&device, &key);
        if verdict != Verdict::Welcome {
            return Err((Outcome::Refused, verdict.why(&device)));
        }
        let known_s = self.hubs[0].known_s(self.now);
        let end_s = identity.lifetime.not_after_s;
        let grace_s = self.certificates.map_or(0, |lifetimes| lifetimes.grace_s);
        let ended = validity::has_ended(end_s, known_s);
        let is_good = match step {
            Step::Renew if self.is(Canary::GraceIsForgotten) => !ended,
            Step::Renew => validity::is_renewable(end_s, grace_s, known_s),
            _ => !ended,
        };
        match (is_good, step) {
            (true, Step::Renew) => Ok(None),
            (true, _) => Ok(Some(self.hubs[0].facts(self.now))),
            (false, Step::Renew) => {
                self.judge_renewal(board, end_s, known_s);
                let why = format!("{device} was away for longer than the hub waits: join again");
                Err((Outcome::NotAuthenticated, why))
            }
            (false, _) => Err((Outcome::NotAuthenticated, "its certificate has ended".to_owned())),
        }
    }

    fn answer_later(
        &mut self,
        board: usize,
        step: Step,
        result: Result<Answer, (Outcome, String)>,
    ) {
        self.answer_member(board, self.boards[board].life, Some(step), result);
    }

    /// An answer is on its way to a board.
    pub(crate) fn answer_member(
        &mut self,
        board: usize,
        life: u32,
        step: Option<Step>,
        result: Result<Answer, (Outcome, String)>,
    ) {
        let delay = 20 + self.up_to(self.weather.delay);
        let wake = crate::board::Wake::Called { step, result: Box::new(result) };
        self.at(delay, Due::Board { board, life, wake });
    }

    /// The engine has answered a board that joins or renews; `step` is `None` for one that joins.
    pub(crate) fn engine_answers(
        &mut self,
        board: usize,
        life: u32,
        step: Option<Step>,
        result: Result<Response, ApiError>,
    ) {
        // Whatever becomes of it, the hub has written.
        self.renewals += 1;
        let refused = match result {
            Ok(Response::Enrolled { .. } | Response::Done) => return self.issue(board, life, step),
            Ok(_) => "an operator has to approve it".to_owned(),
            Err(error) => error.to_string(),
        };
        self.answer_member(board, life, step, Err((Outcome::Refused, refused)));
    }

    fn issue(&mut self, board: usize, life: u32, step: Option<Step>) {
        let Some(lifetimes) = self.certificates else { return };
        let facts = self.hubs[0].facts(self.now);
        let issued_ms = facts.said_ms;
        // As `lichen_trust` has it: a board that asks again and again has few different ones.
        let step_s = (lifetimes.certificate_s / 64).max(1);
        let end_s = (issued_ms / 1000).saturating_add(lifetimes.certificate_s);
        let not_after_s = end_s / step_s * step_s;
        let lifetime = Lifetime { issued_ms, not_after_s };
        let identity = Identity { lifetime, authority: self.hubs[0].vault.authority, facts };
        let request = Request::Certified {
            device: self.boards[board].name.clone(),
            not_after_ms: not_after_s.saturating_mul(1000),
            authority: fingerprint(identity.authority),
            serial: not_after_s.to_be_bytes().to_vec(),
        };
        let identity = Box::new(identity);
        self.ask_hub(0, request, Asked::Certified { board, life, step, identity });
    }

    /// A board joins, as a person at its command line has it: an operator expects it, by its serial number.
    pub(crate) fn join(&mut self, board: usize) {
        let name = self.boards[board].name.clone();
        let thing = crate::declared::Thing::Enrolment(name.clone());
        if self.declared.possible(&thing).iter().all(Option::is_none) {
            self.declare(thing, Some(crate::declared::Spec::Enrolment { revoked: false }));
        }
        let it = &self.boards[board];
        let request = Request::Enrol(event::EnrolRequest {
            token: None,
            serial_number: name.clone(),
            name,
            key: it.key(),
            sealing_key: it.public_sealing_key(),
            agent: it.agent_id(),
            model: String::new(),
            address: it.address(),
        });
        let life = it.life;
        self.ask_hub(0, request, Asked::Member { board, life, step: None });
    }

    /// An operator makes a new CA. The present one is believed for so long.
    pub(crate) fn rotate_authority(&mut self, overlap_s: u64) {
        let known_s = self.hubs[0].known_s(self.now);
        let vault = &mut self.hubs[0].vault;
        // As in a hub: one rotation at a time.
        if vault.previous.is_some() {
            return;
        }
        vault.previous = Some((vault.authority, known_s.saturating_add(overlap_s)));
        (vault.authority, vault.since_s) = (vault.authority + 1, known_s);
        self.look_at_authorities();
    }

    /// Ends what is over, and looks again when the rest ends.
    pub(crate) fn look_at_authorities(&mut self) {
        if self.hubs[0].engine.is_none() || !self.has_certificates() {
            return;
        }
        let known_s = self.hubs[0].known_s(self.now);
        let vault = &mut self.hubs[0].vault;
        let until_s = vault.previous.map_or(0, |(_, until_s)| until_s);
        if known_s < until_s {
            let life = self.hubs[0].life;
            let wake = HubWake::Authorities;
            return self.at((until_s - known_s) * 1000, Due::Hub { hub: 0, life, wake });
        }
        vault.previous = None;
        let authority = fingerprint(vault.authority);
        self.ask_hub(0, Request::OnlyAuthority { authority }, Asked::Change(0));
    }
}
