//! The gate's door: where the API server asks, and what makes that it trusts whom it asks.

mod reviewer;

pub use self::reviewer::Reviewer;
