//! A real blob server, and what stands between it and a plugin.
//!
//! ```text
//! plugin ─► (Link: latency) ─► (Proxy: faults, a log) ─► Azurite ◄─ Client: a look at what is there
//! ```
//!
//! Each is reached over HTTPS at `https://127.0.0.1:PORT/ACCOUNT` with a certificate of one [`Authority`], and runs
//! on threads or in a process of its own, so no test's clock or blocking call reaches it.

mod authority;
mod azurite;
mod client;
mod link;
mod process;
pub mod proxy;
mod sign;
mod threads;
mod token;

pub use authority::Authority;
pub use azurite::{Account, Azurite, Data, Logins};
pub use client::{Blocks, Client, Properties};
pub use link::Link;
pub use proxy::Proxy;
pub use token::token;
