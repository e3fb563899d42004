//! The group `storage.k8s.io/v1`: what is done with claims.

pub mod storage_class;

pub use storage_class::StorageClass;
