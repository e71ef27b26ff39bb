//! Sessions: what a client has set up, prepared and opened, and what it is doing.
//!
//! | module | has |
//! | --- | --- |
//! | [`settings`], [`parameters`] | SET and SHOW |
//! | [`transaction`] | the transaction block and what it wrote |
//! | [`prepared`] | statements that were prepared, portals that are open |
//! | [`execute`] | carrying statements out |
//! | [`system`] | the running server for the system views |
//! | [`outcome`], [`field`] | what a statement gives back |
//! | [`control`], [`registry`] | cancelling, timeouts, how many sessions there are |
//! | [`activity`] | what others see of a session |

use std::collections::HashMap;
use std::sync::Arc;

use tidemark_catalog::role::Role;

use crate::error::SqlError;
use crate::server::Server;
use crate::session::prepared::{Portal, Statements};
use crate::session::registry::Registered;
use crate::session::settings::SessionSettings;
use crate::session::transaction::Transaction;

pub mod activity;
pub mod control;
pub mod execute;
pub mod field;
pub mod outcome;
pub mod parameters;
pub mod prepared;
pub mod registry;
pub mod settings;
pub mod system;
pub mod transaction;

/// A client's session.
#[derive(Debug)]
pub struct Session {
    /// The server.
    pub server: Arc<Server>,
    /// Who the client is.
    pub role: Role,
    /// The database it is connected to.
    pub database: String,
    /// Its parameters.
    pub settings: SessionSettings,
    /// Its place among the sessions.
    pub registered: Registered,
    /// Its transaction.
    pub transaction: Transaction,
    /// What it prepared, by name; the unnamed one has the empty name.
    pub statements: Statements,
    /// What it opened, by name; the unnamed one has the empty name.
    pub portals: HashMap<String, Portal>,
    /// What it is to be told besides results.
    pub notices: Vec<SqlError>,
}

/// The most prepared statements and portals of a session, each.
pub const NAMES_MAX: usize = 10_000;

impl Session {
    /// A new session.
    pub fn new(
        server: Arc<Server>,
        role: Role,
        database: String,
        settings: SessionSettings,
        registered: Registered,
    ) -> Session {
        let started_us = server.clock.wall_us();
        registered.page().write(|activity| {
            activity.role = Some((role.id, role.name.clone()));
            activity.started_us = started_us;
            activity.changed_us = started_us;
        });
        Session {
            server,
            role,
            database,
            settings,
            registered,
            transaction: Transaction::default(),
            statements: Statements::default(),
            portals: HashMap::new(),
            notices: Vec::new(),
        }
    }

    /// A statement failed: a block has failed with it, and outside of one all is undone that belongs
    /// to the same transaction.
    pub fn fail(&mut self) {
        self.transaction.fail();
        if !self.transaction.is_in_block() {
            self.settings.roll_back();
        }
    }

    /// Outside a block, what comes next is a new transaction, with a time of its own.
    pub fn end_implicit(&mut self) {
        if !self.transaction.is_in_block() {
            drop(self.transaction.take_pending());
            self.settings.commit();
        }
    }
}
