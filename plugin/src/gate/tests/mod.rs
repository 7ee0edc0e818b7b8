//! Every way an attempt can go, each ending with: nothing frozen, and a verdict that does not say too much.

mod answers;
mod counted;
mod endings;
mod requests;
mod scene;
