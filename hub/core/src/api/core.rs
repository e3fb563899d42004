//! The core group, `v1`.

pub mod config_map;
pub mod event;
pub mod limit_range;
pub mod namespace;
pub mod node;
pub mod persistent_volume;
pub mod persistent_volume_claim;
pub mod pod;
pub mod resource_quota;
pub mod secret;
pub mod service_account;

pub use config_map::ConfigMap;
pub use event::Event;
pub use limit_range::LimitRange;
pub use namespace::Namespace;
pub use node::Node;
pub use persistent_volume::PersistentVolume;
pub use persistent_volume_claim::PersistentVolumeClaim;
pub use pod::Pod;
pub use resource_quota::ResourceQuota;
pub use secret::Secret;
pub use service_account::ServiceAccount;
