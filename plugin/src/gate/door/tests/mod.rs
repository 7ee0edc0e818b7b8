//! The door by real clients over loopback. Kubernetes is in memory here; a real one asks in `tests/gate_door`.

mod clients;
mod connections;
pub(crate) mod fake;
mod house;
mod requests;
