//! What attackers try, with the tools that they would use: OpenSSL, curl, Mosquitto's clients, a relay on the way. Each test
//! is a "can't" of THREATS.md, which names it; what an attacker can do stands there as well.

mod artefacts;
mod broker;
mod card;
mod certificates;
mod clocks;
mod joining;
mod manifests;
mod operators;
mod topics;
mod way;
