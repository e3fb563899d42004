//! The group `batch/v1`: work that ends.

pub mod job;

pub use job::Job;
