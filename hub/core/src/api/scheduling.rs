//! The group `scheduling.k8s.io/v1`: who comes first when devices are full.

pub mod priority_class;

pub use priority_class::PriorityClass;
