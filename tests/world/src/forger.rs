//! A hostile broker: it delivers what no hub said, and what one said to somebody else, or long ago. It knows every frame that
//! went through it, and no key. Whatever it does, no device may do anything but refuse: see the check `hub-alone-is-heard`.

use std::collections::VecDeque;

use firmware_compat::{
    frame::{Kind, MAX_FRAME_BYTES},
    id::{Generation, Hash, PodId},
    v1::owned::{
        Action, Artefacts, Assignment, AssignmentId, Blob, Bytes, Command, Container,
        ContainerSecurity, Head, Layer, List, Packing, Part, Pod, PodSecurity, Report, Resources,
        RestartPolicy, RuntimeClass, Supervision, Text, Time,
    },
};
use sha2::{Digest, Sha256};

use crate::{World, broker::Packet, trust};

/// Frames that it remembers: those of many connections, restarts and boots.
const REMEMBERED: usize = 2000;

/// Every way in which it is hostile.
pub const WAYS: [&str; 8] = [
    "made-up",
    "altered",
    "misdelivered",
    "resigned",
    "unsigned",
    "replayed",
    "retained",
    "oversized",
];

/// What went through the broker, and to whom; oldest first.
#[derive(Debug, Default)]
pub struct Memory(VecDeque<(String, Packet)>);

impl Memory {
    pub fn note(&mut self, name: &str, packet: &Packet) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((name.to_owned(), packet.clone()));
    }
}

impl World {
    /// The broker does one hostile thing to a device. False if there is no such way.
    pub(crate) fn forge(&mut self, board: usize, way: &str) -> bool {
        // The embedded one is the hub itself.
        if !self.broker.external || !self.broker.up {
            return WAYS.contains(&way);
        }
        let name = self.boards[board].name.clone();
        match way {
            "made-up" => self.make_up(board, &name),
            "altered" => self.deliver_changed(&name, true, World::alter),
            "misdelivered" => self.deliver_changed(&name, false, |_, _| {}),
            "resigned" => self.deliver_changed(&name, true, |world, packet| {
                let to = if packet.to_all { "all" } else { &*name };
                world.raise_generation(packet);
                trust::forge_signature(&mut packet.bytes, to);
            }),
            "unsigned" => self.deliver_changed(&name, true, |_, packet| {
                let length = packet.bytes.len();
                packet.bytes.iter_mut().skip(length.saturating_sub(64)).for_each(|byte| *byte = 0);
            }),
            "replayed" => {
                for _ in 0..=self.up_to(20) {
                    self.replay(&name);
                }
            }
            "retained" => {
                let is_head = |packet: &Packet| packet.kind == Kind::Head;
                if let Some(old) = self.remembered(|of, packet| of == name && is_head(packet)) {
                    self.broker.retain(&name, old.bytes);
                }
            }
            "oversized" => {
                let bytes = vec![b'x'; MAX_FRAME_BYTES + 1];
                self.broker.retain(&name, bytes.clone());
                self.deliver(
                    &name,
                    Packet { kind: Kind::Head, bytes, to_all: false, by_hub: false },
                );
            }
            _ => return false,
        }
        true
    }

    /// Something that the broker has seen, changed and delivered. `own`: of this device, or for all; else of another.
    fn deliver_changed(
        &mut self,
        name: &str,
        own: bool,
        change: impl FnOnce(&mut Self, &mut Packet),
    ) {
        let is_meant = |of: &str, packet: &Packet| (packet.to_all || of == name) == own;
        let Some(mut packet) = self.remembered(is_meant) else { return };
        packet.by_hub = false;
        // On its own topic, or on that of all.
        packet.to_all ^= !own && self.chance(20);
        change(self, &mut packet);
        self.deliver(name, packet);
    }

    /// Something that a hub said to this device, or to all, as it was: of each kind as likely.
    fn replay(&mut self, name: &str) {
        let kinds = [Kind::Head, Kind::Part, Kind::Command, Kind::Time, Kind::Report];
        let kind = self.dice.choice(kinds);
        let is_meant =
            |of: &str, packet: &Packet| (packet.to_all || of == name) && Some(packet.kind) == kind;
        if let Some(mut packet) = self.remembered(is_meant) {
            packet.by_hub = false;
            self.deliver(name, packet);
        }
    }

    fn remembered(&mut self, is_meant: impl Fn(&str, &Packet) -> bool) -> Option<Packet> {
        let memory = &self.broker.memory.0;
        let meant: Vec<usize> = memory
            .iter()
            .enumerate()
            .filter(|(_, (of, packet))| is_meant(of, packet))
            .map(|(index, _)| index)
            .collect();
        let index = *meant.get(self.dice.usize(0..meant.len().max(1)))?;
        Some(self.broker.memory.0[index].1.clone())
    }

    fn alter(&mut self, packet: &mut Packet) {
        for _ in 0..=self.up_to(2) {
            let at = self.dice.usize(0..packet.bytes.len().max(1));
            let bit = 1 << self.dice.u8(0..8);
            if let Some(byte) = packet.bytes.get_mut(at) {
                *byte ^= bit;
            }
        }
    }

    /// A head that would be newer than every other, if it were believed.
    fn raise_generation(&mut self, packet: &mut Packet) {
        if packet.kind != Kind::Head {
            return;
        }
        let Ok((stamp, mut head)) = firmware_compat::frame::decode::<Head>(&packet.bytes) else {
            return;
        };
        head.assignment.generation.0 = head.assignment.generation.0.saturating_add(1);
        packet.bytes = firmware_compat::frame::encode(&head, stamp).unwrap_or_default();
    }

    /// An assignment that no hub made, with all that belongs to it; a time of the far future; orders.
    fn make_up(&mut self, board: usize, name: &str) {
        let it = &self.boards[board];
        let (session, held) = (it.link.session(), it.agent.as_ref().and_then(|a| a.assignment()));
        let pinned = it.pinned();
        let Some(lineage) = held.map(|held| held.lineage).or(pinned.map(|hub| hub.lineage)) else {
            return;
        };
        let generation = Generation(held.map_or(1, |held| held.generation.0.saturating_add(1)));
        let (hash, body, part_hash, part) = intruder();
        let length = u32::try_from(body.len()).unwrap_or(0);
        let assignment = AssignmentId { lineage, generation, hash };
        let unix_ms = u64::MAX / 2 + self.up_to(1000);
        let order = |action| Command { lineage, id: unix_ms, action };
        let keys = trust::keys(&[u64::MAX]).iter().copied().collect::<Vec<_>>();
        let keys = Action::Keys { keys: List::try_from(keys).unwrap_or_default() };
        let frames = [
            (Kind::Head, trust::forge(&Head { assignment, length }, name, 0)),
            (Kind::Part, trust::forge(&chunk(hash, body), name, 0)),
            (Kind::Part, trust::forge(&chunk(part_hash, part), name, 0)),
            (Kind::Time, trust::forge(&Time { lineage, unix_ms }, name, 0)),
            (Kind::Report, trust::forge(&Report { lineage, unix_ms, spread_ms: 0 }, name, 0)),
            (Kind::Command, trust::forge(&order(keys), name, session)),
            (Kind::Command, trust::forge(&order(Action::Report), name, session)),
            (Kind::Command, trust::forge(&order(logs()), name, session)),
        ];
        for (kind, bytes) in frames {
            if kind == Kind::Head {
                self.broker.retain(name, bytes.clone());
            }
            self.deliver(name, Packet { kind, bytes, to_all: false, by_hub: false });
        }
    }
}

fn chunk(hash: Hash, content: Vec<u8>) -> Part {
    let length = u32::try_from(content.len()).unwrap_or(0);
    Part { hash, length, offset: 0, bytes: Bytes::try_from(content).unwrap_or_default() }
}

fn logs() -> Action {
    Action::Logs {
        pod: PodId([6; 16]),
        container: Text::default(),
        follow: true,
        tail: None,
        previous: false,
        timestamps: false,
    }
}

/// A body and a part that agree with each other, and that no hub made.
fn intruder() -> (Hash, Vec<u8>, Hash, Vec<u8>) {
    let blob = Blob { digest: Hash([6; 32]), size: 6 };
    let layer = Layer { blob, packing: Packing::TarGzip };
    let container = Container {
        name: Text::cut("main"),
        reference: Text::cut("steady:666"),
        artefacts: Artefacts::Image {
            config: blob,
            layers: List::try_from(vec![layer]).unwrap_or_default(),
        },
        command: List::default(),
        args: List::default(),
        working_dir: Text::default(),
        env: List::default(),
        ports: List::default(),
        resources: Resources::default(),
        mounts: List::default(),
        security: ContainerSecurity::default(),
        supervision: Supervision::default(),
    };
    let pod = Pod {
        id: PodId([6; 16]),
        identity: Hash([6; 32]),
        namespace: Text::cut("default"),
        name: Text::cut("intruder"),
        hostname: Text::cut("intruder"),
        names: Default::default(),
        runtime_class: RuntimeClass::Container,
        init_containers: List::default(),
        containers: List::try_from(vec![container]).unwrap_or_default(),
        volumes: List::default(),
        restart: RestartPolicy::Always,
        grace_ms: 1000,
        active_deadline_s: 0,
        host_network: false,
        security: PodSecurity::default(),
        after: List::default(),
        secrets: List::default(),
    };
    let part = postcard::to_allocvec(&pod).unwrap_or_default();
    let part_hash = Hash(Sha256::digest(&part).into());
    let assignment = Assignment {
        pods: List::try_from(vec![part_hash]).unwrap_or_default(),
        removed_claims: List::default(),
    };
    let body = postcard::to_allocvec(&assignment).unwrap_or_default();
    (Hash(Sha256::digest(&body).into()), body, part_hash, part)
}
