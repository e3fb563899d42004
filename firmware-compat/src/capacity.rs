//! Every bound of the wire, by name and with its reason. [`full`] is what a hub and a board accept, [`small`] what a
//! microcontroller reserves memory for. A message over a bound is refused whole; senders check before they send.

/// Chunks that answer one [`Want`](crate::frame::Kind::Want), at most. A broker's queue per session is bounded, so a device
/// asks again, from where it is, when these are used up.
pub const WINDOW_CHUNKS: usize = 64;
/// Bytes that answer one [`Want`](crate::frame::Kind::Want), at most: as many as a slow link carries before the device asks
/// again, and few enough that a fleet that asks at once does not fill the hub's memory.
pub const WINDOW_BYTES: usize = 256 * 1024;

/// What the hub signs of one frame, at most: header and message. What is long is named by its hash in what is signed, so
/// the longest is a command, and a microcontroller checks it on its stack.
pub const SIGNED_BYTES: usize = 512;

/// Bounds of the owned forms: hub and boards.
pub mod full {
    /// Version strings such as `0.1.0-rc.1+sha`.
    pub const VERSION: usize = 48;
    /// Short words from a known set: architecture, runtime name, class.
    pub const WORD: usize = 32;
    /// Kernel and board descriptions.
    pub const DESCRIPTION: usize = 128;
    /// CPU features that matter to compiled Wasm.
    pub const CPU_FEATURES: usize = 32;
    /// Runtimes on one device: crun, wasm, firmware and room for others.
    pub const RUNTIMES: usize = 8;
    /// Conditions of one device: one of each kind, and room for others.
    pub const CONDITIONS: usize = 8;
    /// Labels and annotations of a device, as operators set them on its command line.
    pub const LABELS: usize = 64;
    /// A label key: Kubernetes' 253 of prefix, a slash and 63 of name.
    pub const LABEL_KEY: usize = 317;
    /// A label value: Kubernetes' bound.
    pub const LABEL_VALUE: usize = 63;
    /// A namespace: one DNS label.
    pub const NAMESPACE: usize = 63;
    /// An object's name: a DNS subdomain.
    pub const NAME: usize = 253;
    /// An image reference as the operator wrote it.
    pub const REFERENCE: usize = 512;
    /// Pods that one device may be assigned: over twice Kubernetes' 110 per node.
    pub const PODS: usize = 256;
    /// Pods whose place one takes: a copy that runs, and those of quick changes after it that hardly began.
    pub const PREDECESSORS: usize = 16;
    /// Claims whose data one assignment has removed; more wait for the next one.
    pub const REMOVED_CLAIMS: usize = 64;
    /// Containers in one Pod.
    pub const CONTAINERS: usize = 16;
    /// Init containers in one Pod.
    pub const INIT_CONTAINERS: usize = 16;
    /// Layers in one image: OCI runtimes and overlayfs go no further.
    pub const LAYERS: usize = 128;
    /// Words of a command line.
    pub const ARGUMENTS: usize = 128;
    /// One word of a command line, or a path. Fits an inline script.
    pub const ARGUMENT: usize = 16 * 1024;
    /// A path: Linux' PATH_MAX.
    pub const PATH: usize = 4096;
    /// Environment variables of one container.
    pub const VARIABLES: usize = 256;
    /// Name of an environment variable.
    pub const VARIABLE_NAME: usize = 256;
    /// Value of an environment variable.
    pub const VARIABLE_VALUE: usize = 16 * 1024;
    /// Ports of one container.
    pub const PORTS: usize = 32;
    /// Volumes of one Pod, and mounts of one container.
    pub const VOLUMES: usize = 32;
    /// Files in one configMap volume.
    pub const FILES: usize = 128;
    /// One file of a configMap: Kubernetes' bound on the whole map.
    pub const FILE_BYTES: usize = 1024 * 1024;
    /// What one Pod needs of Secrets: one for each volume, and as many for variables.
    pub const SECRETS: usize = 64;
    /// Supplementary groups of one Pod.
    pub const GROUPS: usize = 32;
    /// Settings of the kernel that one Pod makes: more than there are safe ones.
    pub const SYSCTLS: usize = 16;
    /// Name or value of such a setting.
    pub const SYSCTL: usize = 63;
    /// Sources of one projected volume.
    pub const PROJECTED_SOURCES: usize = 32;
    /// Lines that a Pod adds to `/etc/hosts`.
    pub const HOST_ALIASES: usize = 64;
    /// Names in one of them.
    pub const ALIAS_NAMES: usize = 32;
    /// An IP address as text.
    pub const ADDRESS: usize = 45;
    /// Name servers that a Pod names: resolvers ask no more.
    pub const NAMESERVERS: usize = 3;
    /// Domains that a Pod's resolver looks in: Kubernetes' bound.
    pub const SEARCHES: usize = 32;
    /// Options of a Pod's resolver.
    pub const DNS_OPTIONS: usize = 32;
    /// CamelCase reasons.
    pub const REASON: usize = 64;
    /// A sentence for people.
    pub const MESSAGE: usize = 512;
    /// A sentence about one container, short enough that the status of a Pod with as many containers as it may have, each
    /// with a sentence about its state and one about its last end, fits a frame.
    pub const CONTAINER_MESSAGE: usize = 256;
    /// Probes of one container: one for each purpose.
    pub const PROBES: usize = 3;
    /// Hooks of one container: one for each moment.
    pub const HOOKS: usize = 2;
    /// Headers of one probe or hook.
    pub const HEADERS: usize = 16;
    /// Name of such a header.
    pub const HEADER_NAME: usize = 128;
    /// Value of such a header: what servers take.
    pub const HEADER_VALUE: usize = 4096;
    /// Path of the file with a container's last word.
    pub const MESSAGE_PATH: usize = PATH;
    /// A container's last word: Kubernetes' bound.
    pub const EXIT_MESSAGE: usize = 4096;
    /// The last words of all containers of a Pod together, so that its status fits a frame. Kubernetes' bound is 12 KiB of
    /// one word each; here the word of the time before is told, too.
    pub const EXIT_MESSAGES: usize = 16 * 1024;
    /// Bytes of a part in one frame, and of one reply. Fits [`crate::frame::MAX_FRAME_BYTES`] with room.
    pub const CHUNK: usize = 16 * 1024;
    /// Keys of one hub at a time: the one that it signs with, and the next one while it changes them.
    pub const SIGNING_KEYS: usize = 2;
    /// An assignment's body: a hash for each Pod, and the claims to remove. Fits one chunk.
    pub const BODY_BYTES: usize = 2 + PODS * 32 + 1 + REMOVED_CLAIMS * 16;
    /// A part that is a Pod: far above what a template of the API may be, far below what a board has memory for.
    pub const POD_BYTES: usize = 256 * 1024;
    /// A part that is the files of a ConfigMap: Kubernetes' bound on the whole map, and room for names.
    pub const CONFIG_BYTES: usize = FILE_BYTES + 64 * 1024;
    /// The same of a Secret, under a seal: the tag is 16 bytes long.
    pub const SEALED_BYTES: usize = CONFIG_BYTES + 16;
    /// A part that is sealed: the key in front of it, and its length.
    pub const SEALED_PART_BYTES: usize = 32 + 4 + SEALED_BYTES;
    /// An assignment's body and all of its parts, each counted once. Holds three configMaps of the largest size, and a
    /// board with 64 MB still has room.
    pub const ASSIGNMENT_BYTES: usize = 4 * 1024 * 1024;
    /// Parts that one Want may name besides the first: all Pods of an assignment that is new in all of its Pods would
    /// take four.
    pub const WANTED: usize = 64;
    /// Pods in one status frame; a longer report is sent in several.
    pub const STATUS_PODS: usize = 32;
}

/// Bounds of the fixed forms: a microcontroller with 64 KiB of RAM or less.
pub mod small {
    pub use super::full::{ADDRESS, LABEL_VALUE, NAMESPACE, REASON, SIGNING_KEYS, VERSION, WORD};
    /// Kernel and board descriptions.
    pub const DESCRIPTION: usize = 48;
    /// A microcontroller reports none or few.
    pub const CPU_FEATURES: usize = 4;
    /// Its firmware, and perhaps an interpreter.
    pub const RUNTIMES: usize = 2;
    /// What a microcontroller may have to say of its health.
    pub const CONDITIONS: usize = 2;
    /// Labels fixed at build time.
    pub const LABELS: usize = 8;
    /// Label keys of ours and short ones of the operator.
    pub const LABEL_KEY: usize = 64;
    /// Longest object name that a microcontroller takes.
    pub const NAME: usize = 96;
    /// Longest image reference that it takes.
    pub const REFERENCE: usize = 128;
    /// Pods at once: firmware slots.
    pub const PODS: usize = 2;
    /// Pods whose place one takes: as many as there are slots, twice over.
    pub const PREDECESSORS: usize = 4;
    /// It keeps no claims.
    pub const REMOVED_CLAIMS: usize = 0;
    /// One program each.
    pub const CONTAINERS: usize = 1;
    /// Firmware has no steps before its start.
    pub const INIT_CONTAINERS: usize = 0;
    /// Container layers never reach a microcontroller.
    pub const LAYERS: usize = 1;
    /// Words of a command line.
    pub const ARGUMENTS: usize = 4;
    /// One word of a command line.
    pub const ARGUMENT: usize = 64;
    /// A path.
    pub const PATH: usize = 64;
    /// Environment variables: settings of the firmware.
    pub const VARIABLES: usize = 8;
    /// Name of a variable.
    pub const VARIABLE_NAME: usize = 32;
    /// Value of a variable.
    pub const VARIABLE_VALUE: usize = 64;
    /// Ports.
    pub const PORTS: usize = 1;
    /// Volumes.
    pub const VOLUMES: usize = 1;
    /// Files in a configMap.
    pub const FILES: usize = 2;
    /// One file of a configMap.
    pub const FILE_BYTES: usize = 256;
    /// Firmware has no users, groups or kernel settings.
    pub const GROUPS: usize = 0;
    /// None, as for groups.
    pub const SYSCTLS: usize = 0;
    /// As none is taken.
    pub const SYSCTL: usize = 0;
    /// Sources of a projected volume.
    pub const PROJECTED_SOURCES: usize = 2;
    /// Firmware has no `/etc/hosts`.
    pub const HOST_ALIASES: usize = 0;
    /// Names in a line of it.
    pub const ALIAS_NAMES: usize = 0;
    /// Firmware asks the name servers that its network tells it.
    pub const NAMESERVERS: usize = 0;
    /// Domains that it looks in.
    pub const SEARCHES: usize = 0;
    /// Options of its resolver.
    pub const DNS_OPTIONS: usize = 0;
    /// Secrets: settings of the firmware that others must not read.
    pub const SECRETS: usize = 1;
    /// Two files of the largest size with their names, and a tag.
    pub const SEALED_BYTES: usize = 768;
    /// A sentence for people.
    pub const MESSAGE: usize = 128;
    /// A sentence about the one program.
    pub const CONTAINER_MESSAGE: usize = 64;
    /// Firmware has its own watchdog.
    pub const PROBES: usize = 0;
    /// It is started and stopped as a whole.
    pub const HOOKS: usize = 0;
    /// Without probes and hooks there are none.
    pub const HEADERS: usize = 0;
    /// The same.
    pub const HEADER_NAME: usize = 0;
    /// The same.
    pub const HEADER_VALUE: usize = 0;
    /// It has no files.
    pub const MESSAGE_PATH: usize = 0;
    /// A sentence about its end.
    pub const EXIT_MESSAGE: usize = CONTAINER_MESSAGE;
    /// Bytes of a part in one frame, and of one reply.
    pub const CHUNK: usize = 512;
    /// Parts that one Want may name besides the first: it holds one at a time.
    pub const WANTED: usize = 0;
    /// Pods in one status frame.
    pub const STATUS_PODS: usize = 2;
}
