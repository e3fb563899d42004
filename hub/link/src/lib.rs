//! The hub's way to its devices: the embedded MQTT broker, or a client of an external one.
