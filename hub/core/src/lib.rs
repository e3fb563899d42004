//! Decisions of the hub: objects, fleet, scheduling, assignments. No clock, no IO.
