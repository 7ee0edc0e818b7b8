//! Node agents as the use cases see them: something that holds filesystems frozen.

mod call;
mod directory;
mod hold;
mod joint;
mod look;
mod nodes;
mod pin;
mod reach;
mod tcp;
mod unix;

pub use directory::{AgentAddress, Directory, Nodes, Token};
pub use look::{AgentView, Mounted};
pub use nodes::NodeAgents;
pub use reach::{Reach, Stream};
pub use unix::UnixAgent;

#[cfg(test)]
mod tests;
