//! What the tests of the whole server share: starting the real binary, ending it as gently or as
//! rudely as a test wants, and reading what it says about itself.

#![expect(clippy::disallowed_methods, reason = "these are real processes in real time")]

pub mod failpoints;
pub mod failure;
pub mod http;
pub mod server;
