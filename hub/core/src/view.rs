//! Devices and Pods as objects of the API: `v1` Node and Pod. Built when asked for; nothing of them is stored.

mod node;
pub(crate) mod pod;
