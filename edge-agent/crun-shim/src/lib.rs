//! The process that supervises one instance, and its protocol.
