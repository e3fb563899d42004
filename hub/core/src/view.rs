//! Devices, Pods and saved revisions as objects of the API. Built when asked for; no such object is stored.

mod node;
pub(crate) mod pod;
pub(crate) mod revision;
