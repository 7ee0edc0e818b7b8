//! `agent: auto`: the plugin, a real API server, and an agent that it finds there.

mod found;
mod refused;
mod scene;
