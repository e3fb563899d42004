//! An assignment on its way: first its body, then those of its parts that the device does not have, in chunks that come in
//! any order, more than once and with gaps. Memory grows with what arrives and stays within the device's bound.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use firmware_compat::{
    capacity::{WINDOW_BYTES, WINDOW_CHUNKS, full as capacity},
    id::Hash,
    time::Instant,
    v1::owned::{Assignment, Head, List, Part as Chunk, Want},
};

use super::{
    Refusal,
    assemble::Assembler,
    hash,
    parts::{self, Part, PartKind, Parts, references},
};
use crate::backoff::{Rng, WANT, WANT_FIRST};

/// An assignment on its way.
#[derive(Debug)]
pub struct Incoming {
    pub head: Head,
    /// Once its body is here: what it refers to, and its bytes.
    body: Option<(Assignment, Vec<u8>)>,
    /// What arrives at present, by hash.
    coming: BTreeMap<Hash, Assembler>,
    /// Parts that are here.
    parts: Parts,
    /// Of those that were on their way before: they may have most in common with this one.
    carried: Carried,
    /// Bytes of parts that came or are coming, by what their chunks say.
    gathered: usize,
    max_bytes: usize,
    /// Asked for in a row without anything new.
    wants: u32,
    /// How often the whole of something was not what its hash says.
    damaged: u32,
    want_at: Instant,
    /// What was asked for last and is not here yet.
    asked: BTreeSet<Hash>,
    /// What may still come in answer to the last Want.
    window: Window,
}

/// What is left of an assignment that another took the place of: at most as much as one may have.
#[derive(Debug, Default)]
struct Carried {
    /// Parts that came.
    parts: Parts,
    /// Parts of which something came.
    coming: BTreeMap<Hash, Assembler>,
}

impl Carried {
    /// Heads can follow each other faster than their bodies come: one without a body hands on what it was given.
    fn from(before: Incoming) -> Self {
        match before.body {
            Some(_) => Self { parts: before.parts, coming: before.coming },
            None => before.carried,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Window {
    bytes: usize,
    chunks: usize,
}

const FULL_WINDOW: Window = Window { bytes: WINDOW_BYTES, chunks: WINDOW_CHUNKS };

/// What a chunk led to.
#[derive(Debug)]
pub enum Progress {
    /// It was not wanted, or something is still missing.
    Going,
    /// Something that was complete does not match its hash.
    Damaged,
    /// Everything is here.
    Complete(Assignment, Vec<u8>, Parts),
}

impl Incoming {
    /// `before`: the one that it takes the place of.
    pub fn new(head: Head, before: Option<Self>, max_bytes: usize, now: Instant) -> Self {
        Self {
            head,
            body: None,
            coming: BTreeMap::new(),
            parts: Parts::new(),
            carried: before.map(Carried::from).unwrap_or_default(),
            gathered: 0,
            max_bytes,
            wants: 0,
            damaged: 0,
            want_at: now + WANT_FIRST,
            asked: BTreeSet::new(),
            window: FULL_WINDOW,
        }
    }

    pub fn want_at(&self) -> Instant {
        self.want_at
    }

    /// Whether the hub was asked and has not answered with anything new.
    pub fn is_unanswered(&self) -> bool {
        self.wants > 0
    }

    /// The link is new: nothing was asked for on it. The hub sends the body behind its head, parts only when asked.
    pub fn link_up(&mut self, now: Instant) {
        self.wants = 0;
        self.window = FULL_WINDOW;
        self.want_at = if self.body.is_some() { now } else { now + WANT_FIRST };
    }

    /// What is to be asked for now.
    pub fn want(&mut self, now: Instant, rng: &mut Rng) -> Want {
        self.wants = self.wants.saturating_add(1);
        self.window = FULL_WINDOW;
        let wait = WANT.delay(1) + WANT.jittered(self.wants.max(self.damaged), rng);
        self.want_at = now + wait;
        let mut missing: Vec<Hash> = self.missing().into_keys().collect();
        // What has begun comes first: only the first can be asked for from where it is.
        let gap = |hash: &Hash| self.coming.get(hash).map_or(0, Assembler::gap);
        let begun = missing.iter().position(|hash| gap(hash) > 0).unwrap_or(0);
        let hash = match missing.is_empty() {
            true => self.head.assignment.hash,
            false => missing.swap_remove(begun),
        };
        missing.truncate(capacity::WANTED);
        self.asked = missing.iter().copied().chain([hash]).collect();
        Want { hash, offset: gap(&hash), also: List::try_from(missing).unwrap_or_default() }
    }

    /// What is not here yet, each once.
    fn missing(&self) -> BTreeMap<Hash, PartKind> {
        match &self.body {
            None => BTreeMap::new(),
            Some((body, _)) => references(body, &self.parts)
                .filter(|(hash, _)| !self.parts.contains_key(hash))
                .collect(),
        }
    }

    /// Takes a chunk. `known` finds parts that the device has.
    pub fn take(
        &mut self,
        chunk: Chunk,
        known: impl Fn(&Hash, PartKind) -> Option<Part>,
        now: Instant,
    ) -> Result<Progress, Refusal> {
        let Some(max) = self.expects(&chunk) else { return Ok(Progress::Going) };
        let length = usize::try_from(chunk.length).unwrap_or(usize::MAX);
        self.forget_other_length(&chunk.hash, length);
        if !self.coming.contains_key(&chunk.hash) {
            self.gathered = self.gathered.saturating_add(length);
            if length == 0 || length > max || self.gathered > self.max_bytes {
                let max = max.min(self.max_bytes);
                return Err(Refusal::Claim { length: length.max(self.gathered), max });
            }
        }
        let coming = self.coming.entry(chunk.hash).or_insert_with(|| Assembler::new(chunk.length));
        let size = chunk.bytes.len();
        if !coming.take(chunk.offset, chunk.bytes) {
            return Ok(Progress::Going);
        }
        let is_complete = coming.is_complete();
        self.wants = 0;
        self.window.bytes = self.window.bytes.saturating_sub(size);
        self.window.chunks = self.window.chunks.saturating_sub(1);
        let used_up = self.window.bytes == 0 || self.window.chunks == 0;
        self.want_at = if used_up { now } else { now + WANT.delay(self.damaged.max(1)) };
        if is_complete { self.complete(chunk.hash, known, now) } else { Ok(Progress::Going) }
    }

    /// One hash has one length: some sender did not tell the truth, and the hub's chunks must not be the ones that are
    /// dropped for good.
    fn forget_other_length(&mut self, of: &Hash, length: usize) {
        if let Some(other) = self.coming.get(of).map(Assembler::length).filter(|l| *l != length) {
            self.coming.remove(of);
            self.gathered = self.gathered.saturating_sub(other);
        }
    }

    /// How long what a chunk is of may be; `None` if it is not missing.
    fn expects(&self, chunk: &Chunk) -> Option<usize> {
        match &self.body {
            None => {
                let is_body =
                    chunk.hash == self.head.assignment.hash && chunk.length == self.head.length;
                is_body.then_some(capacity::BODY_BYTES)
            }
            Some(_) => self.missing().get(&chunk.hash).map(|kind| kind.max_bytes()),
        }
    }

    /// All bytes of something are here.
    fn complete(
        &mut self,
        of: Hash,
        known: impl Fn(&Hash, PartKind) -> Option<Part>,
        now: Instant,
    ) -> Result<Progress, Refusal> {
        let Some(mut assembler) = self.coming.remove(&of) else { return Ok(Progress::Going) };
        self.asked.remove(&of);
        let bytes = assembler.empty();
        if hash(&bytes) != of {
            // Some chunk was not what the hub sent: start over, more slowly each time.
            self.gathered = self.gathered.saturating_sub(bytes.len());
            self.damaged = self.damaged.saturating_add(1);
            self.want_at = now + WANT_FIRST + WANT.delay(self.damaged);
            return Ok(Progress::Damaged);
        }
        match self.missing().get(&of).filter(|_| self.body.is_some()) {
            Some(kind) => {
                let part = Part::read(*kind, &bytes).map_err(|error| Refusal::Part(of, error))?;
                self.parts.insert(of, part);
            }
            None => self.body = Some((parts::read_body(&bytes, of)?, bytes)),
        }
        self.look_for_known(known);
        self.go_on_with_carried();
        if !self.missing().is_empty() {
            // Everything that was asked for is here, and more is needed.
            if self.asked.is_empty() {
                self.want_at = now;
            }
            return Ok(Progress::Going);
        }
        let Some((assignment, body)) = self.body.take() else { return Ok(Progress::Going) };
        Ok(Progress::Complete(assignment, body, core::mem::take(&mut self.parts)))
    }

    /// Takes over what the device has. A Pod that is known may refer to more that is.
    fn look_for_known(&mut self, known: impl Fn(&Hash, PartKind) -> Option<Part>) {
        loop {
            let found: Vec<(Hash, Part)> = self
                .missing()
                .into_iter()
                .filter_map(|(hash, kind)| {
                    Some((
                        hash,
                        known(&hash, kind).or_else(|| self.carried.parts.get(&hash).cloned())?,
                    ))
                })
                .collect();
            if found.is_empty() {
                return;
            }
            self.parts.extend(found);
        }
    }

    /// What came of a part before needs not come again.
    fn go_on_with_carried(&mut self) {
        for (hash, kind) in self.missing() {
            let Some(assembler) = self.carried.coming.remove(&hash) else { continue };
            let gathered = self.gathered.saturating_add(assembler.length());
            if assembler.length() <= kind.max_bytes() && gathered <= self.max_bytes {
                self.gathered = gathered;
                self.coming.entry(hash).or_insert(assembler);
            }
        }
    }
}
