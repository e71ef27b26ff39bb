//! A session's parameters: SET, SHOW, RESET, and what clients are told of them.
//!
//! The value in force is that of SET LOCAL, while its transaction lasts, or else the session's. A
//! SET is undone when the transaction it is in is rolled back; RESET goes back to what the session
//! started with.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use tidemark_catalog::role::Role;
use tidemark_engine::producers::BatchNumber;

use self::in_force::InForce;
use self::options::parse_options;
use crate::error::{SqlError, SqlResult};
use crate::session::parameters::{self, Definition, Kind};
use crate::sqlstate;

pub mod in_force;
mod options;

/// The parameters that number what a session writes.
const PRODUCER: &str = "tidemark.producer";
const SEQUENCE: &str = "tidemark.sequence";

/// A session's parameters.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    superuser: bool,
    /// By lower-case name; only what differs from the defaults.
    session: BTreeMap<String, String>,
    local: BTreeMap<String, String>,
    /// What the session started with: where RESET goes back to.
    initial: BTreeMap<String, String>,
    /// What `session` was when the transaction began; outside a block, `None` while nothing was set.
    undo: Option<BTreeMap<String, String>>,
    in_block: bool,
    /// What the values in force mean, since one of them changed last.
    in_force: OnceLock<Arc<InForce>>,
}

/// What is set at some point of a transaction.
#[derive(Clone, Debug)]
pub struct SettingsSnapshot {
    session: BTreeMap<String, String>,
    local: BTreeMap<String, String>,
}

impl SessionSettings {
    /// The parameters of a new session, with what the startup message sets.
    ///
    /// # Errors
    /// A parameter does not exist, or its value is none.
    pub fn at_start(role: &Role, startup: &BTreeMap<String, String>) -> SqlResult<SessionSettings> {
        let mut settings = SessionSettings {
            superuser: role.superuser,
            session: BTreeMap::new(),
            local: BTreeMap::new(),
            initial: BTreeMap::new(),
            undo: None,
            in_block: false,
            in_force: OnceLock::new(),
        };
        let on_off = |value| if value { "on" } else { "off" };
        settings.session.insert("is_superuser".to_owned(), on_off(role.superuser).to_owned());
        settings.session.insert("session_authorization".to_owned(), role.name.clone());
        for (name, value) in startup {
            match name.as_str() {
                "user" | "database" | "replication" => {}
                name if name.starts_with("_pq_.") => {}
                "options" => {
                    for (name, value) in parse_options(value)? {
                        settings.set(&name, &value, Scope::Session)?;
                    }
                }
                name => settings.set(name, value, Scope::Session)?,
            }
        }
        settings.initial = settings.session.clone();
        settings.undo = None;
        Ok(settings)
    }

    /// The value in force, in the form that SHOW gives.
    ///
    /// # Errors
    /// There is no such parameter.
    pub fn show(&self, name: &str) -> SqlResult<String> {
        let key = name.to_ascii_lowercase();
        match parameters::find(&key) {
            Some(definition) => Ok(definition.show(self.raw(definition))),
            None => self.custom(&key).ok_or_else(|| unknown(name)),
        }
    }

    fn custom(&self, key: &str) -> Option<String> {
        self.local.get(key).or_else(|| self.session.get(key)).cloned()
    }

    fn raw(&self, definition: &Definition) -> &str {
        let key = definition.key();
        if !self.in_block && key.starts_with("transaction_") {
            // A statement outside a block is a transaction with the defaults.
            return self.value(&format!("default_{key}"));
        }
        let set = self.local.get(&key).or_else(|| self.session.get(&key));
        set.map_or(definition.default, String::as_str)
    }

    /// A value changes: what the values mean is found out again.
    fn change(&mut self) {
        self.in_force = OnceLock::new();
    }

    /// The value in force as it is kept: without the unit that SHOW adds.
    pub fn stored(&self, definition: &Definition) -> &str {
        self.raw(definition)
    }

    fn value(&self, name: &str) -> &str {
        let definition = parameters::find(name).expect("the name is one of ours");
        self.raw(definition)
    }

    /// All parameters with value and description, by name.
    pub fn show_all(&self) -> Vec<(&'static str, String, &'static str)> {
        let shown = parameters::ALL.iter();
        shown.map(|it| (it.name, it.show(self.raw(it)), it.description)).collect()
    }

    /// Gives a parameter a value.
    ///
    /// # Errors
    /// There is no such parameter, it cannot be changed, or the value is none.
    pub fn set(&mut self, name: &str, value: &str, scope: Scope) -> SqlResult<()> {
        let key = name.to_ascii_lowercase();
        let value = match parameters::find(&key) {
            Some(definition) => {
                definition.check_settable(self.superuser)?;
                definition.parse(value)?
            }
            // As in PostgreSQL, a name with a dot is the business of whoever uses it.
            None if is_custom(&key) => value.to_owned(),
            None => return Err(unknown(name)),
        };
        self.remember();
        self.change();
        match scope {
            Scope::Session => {
                self.local.remove(&key);
                self.session.insert(key, value);
            }
            Scope::Transaction => {
                self.local.insert(key, value);
            }
        }
        Ok(())
    }

    /// Gives a parameter the value that the session started with.
    ///
    /// # Errors
    /// There is no such parameter, or it cannot be changed.
    pub fn reset(&mut self, name: &str) -> SqlResult<()> {
        let key = name.to_ascii_lowercase();
        match parameters::find(&key) {
            Some(definition) => definition.check_settable(self.superuser)?,
            None if is_custom(&key) => {}
            None => return Err(unknown(name)),
        }
        self.remember();
        self.change();
        self.local.remove(&key);
        match self.initial.get(&key) {
            Some(value) => self.session.insert(key, value.clone()),
            None => self.session.remove(&key),
        };
        Ok(())
    }

    /// Gives all parameters the values that the session started with.
    pub fn reset_all(&mut self) {
        self.remember();
        self.change();
        self.local.clear();
        let keep = |key: &str| parameters::find(key).is_some_and(|it| it.kind == Kind::Internal);
        let kept: Vec<_> = self.session.iter().filter(|(key, _)| keep(key)).collect();
        let kept: Vec<(String, String)> = kept.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        self.session = self.initial.clone();
        self.session.extend(kept);
    }

    /// Keeps what is to be restored when the transaction is undone.
    fn remember(&mut self) {
        if self.undo.is_none() {
            self.undo = Some(self.session.clone());
        }
    }

    /// A transaction block begins. What was set just before, in the same message, is part of it.
    pub fn begin(&mut self) {
        self.remember();
        self.change();
        self.in_block = true;
    }

    /// A transaction ends well.
    pub fn commit(&mut self) {
        if self.in_block || !self.local.is_empty() {
            self.change();
        }
        self.local.clear();
        self.undo = None;
        self.in_block = false;
    }

    /// A transaction is undone.
    pub fn roll_back(&mut self) {
        if let Some(session) = self.undo.take() {
            self.change();
            self.session = session;
        }
        self.commit();
    }

    /// What is set now, for a savepoint.
    pub fn snapshot(&self) -> SettingsSnapshot {
        SettingsSnapshot { session: self.session.clone(), local: self.local.clone() }
    }

    /// Goes back to a savepoint.
    pub fn restore(&mut self, snapshot: SettingsSnapshot) {
        self.change();
        self.session = snapshot.session;
        self.local = snapshot.local;
    }

    /// The number of the next commit, if it has one.
    ///
    /// # Errors
    /// It has no producer, or a name that is none.
    pub fn batch_number(&self) -> SqlResult<Option<BatchNumber>> {
        let (producer, sequence) = (self.value(PRODUCER), self.value(SEQUENCE));
        if sequence.is_empty() {
            return Ok(None);
        }
        let sequence = sequence.parse().map_err(SqlError::internal)?;
        let number = BatchNumber::new(producer, sequence);
        number.map(Some).map_err(|error| {
            let message = format!("{SEQUENCE} is set without {PRODUCER}: {error}");
            SqlError::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        })
    }

    /// A commit had its number: the next one has none.
    pub fn forget_batch_number(&mut self) {
        self.change();
        self.session.remove(SEQUENCE);
        self.local.remove(SEQUENCE);
    }
}

/// For how long a parameter keeps a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// SET: until the session ends.
    Session,
    /// SET LOCAL: until the transaction ends.
    Transaction,
}

fn is_custom(key: &str) -> bool {
    key.split_once('.').is_some_and(|(class, name)| !class.is_empty() && !name.is_empty())
}

fn unknown(name: &str) -> SqlError {
    let message = format!("unrecognized configuration parameter \"{name}\"");
    SqlError::new(sqlstate::UNDEFINED_OBJECT, message)
}

#[cfg(test)]
mod tests {
    use tidemark_catalog::ids::RoleId;

    use super::*;

    fn settings(options: &str) -> SqlResult<SessionSettings> {
        let role = Role {
            id: RoleId(10),
            name: "tidemark".to_owned(),
            superuser: true,
            login: true,
            verifier: None,
        };
        let startup = BTreeMap::from([("options".to_owned(), options.to_owned())]);
        SessionSettings::at_start(&role, &startup)
    }

    #[test]
    fn options_of_the_startup_message_are_set() {
        let settings = settings("-c statement_timeout=5s --search-path=a,\\ b -cTimeZone=UTC").unwrap();
        assert_eq!(settings.show("statement_timeout").unwrap(), "5s");
        assert_eq!(settings.search_path(), ["a", "b"]);
    }

    #[test]
    fn an_unknown_parameter_is_an_error_and_a_custom_one_is_not() {
        let mut settings = settings("").unwrap();
        assert_eq!(
            settings.set("nonsense", "1", Scope::Session).unwrap_err().state(),
            sqlstate::UNDEFINED_OBJECT
        );
        settings.set("app.tenant", "7", Scope::Session).unwrap();
        assert_eq!(settings.show("app.tenant").unwrap(), "7");
    }

    #[test]
    fn a_rollback_undoes_set_and_set_local() {
        let mut settings = settings("").unwrap();
        settings.begin();
        settings.set("TimeZone", "UTC", Scope::Session).unwrap();
        settings.set("application_name", "a", Scope::Session).unwrap();
        settings.set("application_name", "b", Scope::Transaction).unwrap();
        assert_eq!(settings.application_name(), "b");
        settings.roll_back();
        assert_eq!(settings.application_name(), "");
        settings.begin();
        settings.set("application_name", "a", Scope::Session).unwrap();
        settings.set("application_name", "b", Scope::Transaction).unwrap();
        settings.commit();
        assert_eq!(settings.application_name(), "a");
    }

    #[test]
    fn a_parameter_that_only_the_server_sets_is_refused() {
        let error = settings("").unwrap().set("server_version", "99", Scope::Session).unwrap_err();
        assert_eq!(error.message(), "parameter \"server_version\" cannot be changed");
    }
}
