//! Images and artefacts: everything that the hub and `lichen image` know about them, without HTTP and without async.
//!
//! * keeping: [`store`] holds content-addressed blobs, [`walk`] says what an image consists of (also for collecting garbage);
//! * naming: [`name`] and [`reference`] for what users write, [`platform`] for what devices are;
//! * reading for a push: [`source`] opens a layout, an archive, a `.wasm` or a `.wat` as a [`source::Pushable`];
//! * making: [`pack`] turns a static binary or a directory into an image;
//! * planning: [`resolve`] goes from an image to what one device needs;
//! * serving: [`route`], [`range`], [`conditional`] and [`distribution`] are the pure half of the registry endpoint.
//!
//! What comes from a file or a peer is untrusted here: it is bounded, verified by digest and answered with an error.

pub mod archive;
pub mod blobs;
pub mod conditional;
pub mod digest;
pub mod distribution;
pub mod docker;
pub mod document;
pub mod elf;
pub mod layout;
pub mod media;
pub mod name;
pub mod pack;
pub mod platform;
pub mod range;
pub mod reference;
pub mod resolve;
mod rootfs;
pub mod route;
pub mod source;
pub mod store;
pub mod tree;
pub mod walk;
pub mod wasm;
pub mod write;

pub use digest::Digest;
pub use document::Descriptor;
pub use name::{Name, Tag};
pub use platform::Platform;
pub use reference::Reference;
pub use store::Store;
