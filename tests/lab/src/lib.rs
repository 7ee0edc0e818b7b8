//! To be written.

pub mod host;
