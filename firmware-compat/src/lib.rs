//! The wire contract between hub and devices: frames, messages, topics.
