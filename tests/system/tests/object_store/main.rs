//! The plugin's ObjectStore as a process, on a real blob server.
#![allow(missing_docs, clippy::unwrap_used)]

mod azure;
mod fetch;
mod fixture;

mod authentication;
mod doctor;
mod download;
mod errors;
mod interrupted;
mod managed;
mod role;
mod rotation;
mod secrets;
mod signed_url;
mod small_calls;
mod upload;
