//! A board as a member of its hub: its certificate on its disk, and the calls by which it keeps that up. When it calls is
//! decided by [`lichen_agent_core::membership`], as in an agent; the shell around it is the world's.

use std::collections::BTreeSet;

use firmware_compat::{
    enrolment::Renewal,
    id::{BootId, Hash},
    time::{Instant, UnixMs},
};
use lichen_agent_core::{
    Event,
    membership::{
        due::{Asked, Lifetime, renew_at_s},
        known_time::Floor,
        upkeep::{Outcome, Sign, Step, Upkeep},
    },
};
use sha2::{Digest, Sha256};

use crate::{
    Due, World,
    board::{Board, Wake},
    canary::Canary,
    declared::{Spec, Thing},
};

/// The file of a board's certificate, and of what it keeps of its hub.
const IDENTITY: &str = "identity";

/// What a hub says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// CAs that are to be believed.
    pub authorities: BTreeSet<u64>,
    pub renewal: Option<Renewal>,
    /// The hub's known time.
    pub said_ms: UnixMs,
}

/// What a board keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub lifetime: Lifetime,
    /// The CA that issued its certificate.
    pub authority: u64,
    pub facts: Facts,
}

/// What a hub answers.
#[derive(Clone, Debug)]
pub enum Answer {
    Identity(Identity),
    Facts(Facts),
}

/// A running agent's membership.
#[derive(Debug)]
pub struct Member {
    upkeep: Upkeep,
    known: Floor,
    calling: bool,
    /// Of the newest look at what is due.
    number: u64,
}

impl Identity {
    fn to_bytes(&self) -> Vec<u8> {
        let Self { lifetime, authority, facts } = self;
        let renewal = facts.renewal.map_or([0, 0], |asked| [asked.issued_before_ms, asked.by_ms]);
        let head = [lifetime.issued_ms, lifetime.not_after_s, *authority, facts.said_ms];
        let all = head.into_iter().chain(renewal).chain(facts.authorities.iter().copied());
        all.flat_map(u64::to_le_bytes).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let all: Vec<u64> = bytes.as_chunks().0.iter().map(|it| u64::from_le_bytes(*it)).collect();
        let (head, authorities) = all.split_first_chunk()?;
        let [issued_ms, not_after_s, authority, said_ms, issued_before_ms, by_ms] = *head;
        let renewal = (by_ms > 0).then_some(Renewal { issued_before_ms, by_ms });
        let authorities = authorities.iter().copied().collect();
        let facts = Facts { authorities, renewal, said_ms };
        Some(Self { lifetime: Lifetime { issued_ms, not_after_s }, authority, facts })
    }

    fn renew_at_s(&self, random: u64) -> u64 {
        let at_ms = self.facts.said_ms;
        let asked = self.facts.renewal.map(|renewal| Asked { renewal, at_ms });
        renew_at_s(self.lifetime, asked, random)
    }
}

impl Board {
    /// What it keeps of its hub, once it has joined.
    pub fn identity(&self) -> Option<Identity> {
        Identity::from_bytes(self.disk.read(IDENTITY)?)
    }

    /// By which the hub knows it: of the key in its certificate.
    pub fn key(&self) -> Hash {
        Hash(
            Sha256::new()
                .chain_update(b"certificate")
                .chain_update(self.sealing_key())
                .finalize()
                .into(),
        )
    }

    /// From where it comes, for people.
    pub fn address(&self) -> String {
        format!("the place of {}", self.label)
    }

    fn forget_identity(&mut self) {
        let _full = self.disk.replace(IDENTITY, &[]);
    }
}

impl World {
    /// Of a board's kernel.
    pub(crate) fn boot_id(&self, board: usize) -> BootId {
        match self.is(Canary::BootsAreAllAlike) {
            true => BootId([7; 16]),
            false => self.boards[board].boot_id(),
        }
    }

    /// An agent has started.
    pub(crate) fn start_member(&mut self, board: usize) {
        let random = self.dice.clone().u64(..);
        let it = &mut self.boards[board];
        it.member = it.identity().map(|identity| Member {
            upkeep: Upkeep::new(identity.renew_at_s(random), false, Instant(0)),
            known: Floor::new(it.heard_ms, Instant(0)),
            calling: false,
            number: 0,
        });
        self.keep_up(board);
    }

    /// The link says something.
    pub(crate) fn member_saw(&mut self, board: usize, sign: Sign) {
        if let Some(member) = &mut self.boards[board].member {
            member.upkeep.saw(sign);
            self.keep_up(board);
        }
    }

    /// The hub has said what time it is.
    pub(crate) fn member_heard(&mut self, board: usize, unix_ms: UnixMs) {
        let now = self.boards[board].instant(self.now);
        if let Some(member) = &mut self.boards[board].member {
            member.known.raise(unix_ms, now);
        }
    }

    /// Does what is due, or waits until something is.
    fn keep_up(&mut self, board: usize) {
        let now = self.boards[board].instant(self.now);
        let never_renews = self.is(Canary::RenewalsAreForgotten);
        let Some(member) = self.boards[board].member.as_mut().filter(|it| !it.calling) else {
            return;
        };
        let step = member.upkeep.next(now, member.known.now_ms(now) / 1000);
        if let Step::Wait(time) = step {
            member.number += 1;
            let wake = Wake::Upkeep { number: member.number };
            let life = self.boards[board].life;
            let after = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
            return self.at(after, Due::Board { board, life, wake });
        }
        member.calling = true;
        if step == Step::Renew && never_renews {
            return;
        }
        self.call_hub(board, step);
    }

    /// It is time to look.
    pub(crate) fn upkeep_is_due(&mut self, board: usize, number: u64) {
        if self.boards[board].member.as_ref().is_some_and(|member| member.number == number) {
            self.keep_up(board);
        }
    }

    /// The hub has answered, or nobody has. `step` is `None` for a board that joins.
    pub(crate) fn called(
        &mut self,
        board: usize,
        step: Option<Step>,
        result: Result<Answer, (Outcome, String)>,
    ) {
        let in_vain = || Err((Outcome::InVain, "the answer was lost".to_owned()));
        let reachable = self.boards[board].is_on_the_network();
        let result = if reachable { result } else { in_vain() };
        let mut outcome = Outcome::Done;
        match result {
            Ok(answer) => {
                if self.keep(board, answer).is_err() {
                    outcome = Outcome::InVain;
                }
            }
            Err((how, why)) => {
                let is_final = how == Outcome::Refused
                    || (how == Outcome::NotAuthenticated && step == Some(Step::Renew));
                if is_final {
                    self.tell(&format!("{} is kept out: {why}", self.boards[board].label));
                    self.boards[board].kept_out = Some(why);
                }
                outcome = how;
            }
        }
        let Some(step) = step else {
            if outcome == Outcome::Done {
                self.start_member(board);
                self.link_hurries(board);
            }
            return;
        };
        let random = self.dice.u64(..);
        let it = &mut self.boards[board];
        let now = it.instant(self.now);
        let Some(identity) = it.identity() else { return };
        let Some(member) = &mut it.member else { return };
        member.calling = false;
        let renew_at_s = identity.renew_at_s(random);
        match step {
            Step::Renew => member.upkeep.renewed(outcome, renew_at_s, now, random),
            _ => {
                member.upkeep.asked(outcome, now, random);
                member.upkeep.renew_at(renew_at_s);
            }
        }
        if step == Step::Renew && outcome == Outcome::Done {
            self.link_hurries(board);
        }
        self.keep_up(board);
    }

    /// Keeps an answer, durably. A board whose disk takes nothing stays with what it has.
    fn keep(&mut self, board: usize, answer: Answer) -> Result<(), &'static str> {
        let it = &mut self.boards[board];
        let identity = match answer {
            Answer::Identity(identity) => {
                self.renewals += 1;
                let end_s = identity.lifetime.not_after_s;
                self.story.tell(self.now, &format!("{} has a certificate until {end_s}", it.label));
                identity
            }
            Answer::Facts(facts) => {
                let Some(known) = it.identity() else { return Ok(()) };
                // The time alone is no news.
                let is_news = facts.authorities != known.facts.authorities
                    || facts.renewal != known.facts.renewal;
                if !is_news {
                    return Ok(());
                }
                self.renewals += 1;
                Identity { facts, ..known }
            }
        };
        it.disk.replace(IDENTITY, &identity.to_bytes())
    }

    /// A person takes a board that is kept out back in: forgotten by the hub, it joins again with a key of its own.
    pub(crate) fn rejoin(&mut self, board: usize) {
        if !self.needs_certificate(board) || self.boards[board].is_clone() {
            return;
        }
        let label = self.boards[board].label.clone();
        self.tell(&format!("{label} joins anew"));
        self.kill_agent(board, Some(100));
        let it = &mut self.boards[board];
        it.kept_out = None;
        it.forget_identity();
        it.make_key();
        let thing = Thing::Enrolment(it.name.clone());
        self.declare(thing.clone(), None);
        self.declare(thing, Some(Spec::Enrolment { revoked: false }));
    }

    /// Whether a board's agent runs on though it may not come in.
    pub(crate) fn is_kept_out(&self, board: usize) -> bool {
        self.boards[board].kept_out.is_some()
    }

    /// While a canary has broken it: an agent that is kept out gives up what it runs.
    pub(crate) fn give_up_work(&mut self, board: usize) {
        if self.is(Canary::KeptOutStopsWork) {
            self.feed(board, Event::Shutdown { drain: true });
        }
    }
}
