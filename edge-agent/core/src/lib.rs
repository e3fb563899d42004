//! Decisions of the agent: what to fetch, start, stop and report. No clock, no IO.
