//! `agent: auto`: the plugin, a real API server, and an agent that it finds there.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod doctor;
mod found;
mod refused;
mod scene;
