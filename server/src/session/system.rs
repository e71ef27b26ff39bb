//! The running server as the system views see it.

use std::sync::Arc;

use tidemark_catalog::producer::Producer;
use tidemark_engine::engine::Engine;

use crate::pg_catalog::system::System;

/// The engine, to be asked.
#[derive(Debug)]
pub struct RunningSystem(pub Arc<Engine>);

impl System for RunningSystem {
    fn producers(&self) -> Vec<(String, Producer)> {
        self.0.producers()
    }
}
