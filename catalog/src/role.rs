//! Roles and what proves their passwords.

use std::fmt;

use crate::ids::RoleId;

/// What the server keeps of a password: RFC 5802's verifier, from which the password cannot be
/// computed back. `Debug` shows nothing secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// The salt.
    pub salt: Vec<u8>,
    /// `H(ClientKey)`
    pub stored_key: Vec<u8>,
    /// `HMAC(SaltedPassword, "Server Key")`
    pub server_key: Vec<u8>,
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramVerifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// One role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its identity for ever.
    pub id: RoleId,
    /// Its name.
    pub name: String,
    /// Whether every permission check passes.
    pub superuser: bool,
    /// Whether it may start a session.
    pub login: bool,
    /// How its password is checked; without one it can log in only where no password is asked.
    pub verifier: Option<ScramVerifier>,
}
