//! The plugin's ObjectStore as a process, on a real blob server.
#![allow(missing_docs, clippy::unwrap_used)]

mod fixture;

mod download;
mod interrupted;
mod upload;
