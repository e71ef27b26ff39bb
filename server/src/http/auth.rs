//! Who sends an HTTP request: the same roles and passwords as over the PostgreSQL protocol.
//!
//! A password comes as basic authentication, as the parameters `u` and `p`, or as a token of the form
//! `user:password`. Checking one is slow by design, so it is done away from the threads of the network,
//! a few at a time; one that was right is remembered by a keyed hash for as long as its role's verifier
//! stays the same.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use tidemark_catalog::role::{Role, ScramVerifier};
use tokio::sync::Semaphore;

use crate::error::{SqlError, SqlResult};
use crate::server::Server;
use crate::sqlstate;
use crate::wire::auth::{check_password, has_passwords};

/// Passwords that were right are remembered up to this many.
const REMEMBERED_MAX: usize = 1000;

/// Passwords that are checked at a time. Whoever guesses passwords waits for others who do, and
/// not the clients whose passwords are remembered.
const CHECKS_MAX: usize = 2;

/// Passwords that were right, by a keyed hash of user and password.
#[derive(Debug)]
pub struct Remembered {
    verifiers: Mutex<HashMap<Vec<u8>, ScramVerifier>>,
    checks: Semaphore,
}

impl Default for Remembered {
    fn default() -> Remembered {
        Remembered { verifiers: Mutex::default(), checks: Semaphore::new(CHECKS_MAX) }
    }
}

impl Remembered {
    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, ScramVerifier>> {
        self.verifiers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, hash: &[u8], verifier: ScramVerifier) {
        let mut verifiers = self.lock();
        if verifiers.len() >= REMEMBERED_MAX {
            verifiers.clear();
        }
        verifiers.insert(hash.to_vec(), verifier);
    }
}

/// Checks that the sender may write.
///
/// # Errors
/// 28P01 when it is not known, 28000 when it may not connect from where it is.
pub(super) async fn authenticate(
    server: &Arc<Server>,
    peer: SocketAddr,
    headers: &HeaderMap,
    parameters: &HashMap<String, String>,
) -> SqlResult<()> {
    let view = server.engine.view();
    if !has_passwords(&view) {
        if peer.ip().is_loopback() {
            return Ok(());
        }
        let message = format!("no access for host \"{}\": the server has no password", peer.ip());
        return Err(SqlError::new(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, message));
    }
    let (user, password) = credentials(headers, parameters)
        .ok_or_else(|| SqlError::new(sqlstate::INVALID_PASSWORD, "a user and a password are needed"))?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &server.mock_secret);
    let hash = hmac::sign(&key, format!("{}:{user}:{password}", user.len()).as_bytes());
    let remembered = server.remembered.lock().get(hash.as_ref()).cloned();
    if let Some(role) = view.role_by_name(&user)
        && remembered.is_some()
        && remembered == role.verifier
    {
        return may_log_in(role);
    }
    let _check = server.remembered.checks.acquire().await.expect("the semaphore is never closed");
    let checked = server.query_runtime.spawn_blocking(move || check_password(&view, &user, &password)).await;
    let role = checked.map_err(SqlError::internal)??;
    may_log_in(&role)?;
    if let Some(verifier) = role.verifier {
        server.remembered.remember(hash.as_ref(), verifier);
    }
    Ok(())
}

fn may_log_in(role: &Role) -> SqlResult<()> {
    if role.login {
        return Ok(());
    }
    let message = format!("role \"{}\" is not permitted to log in", role.name);
    Err(SqlError::new(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, message))
}

fn credentials(headers: &HeaderMap, parameters: &HashMap<String, String>) -> Option<(String, String)> {
    if let (Some(user), Some(password)) = (parameters.get("u"), parameters.get("p")) {
        return Some((user.clone(), password.clone()));
    }
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, value) = header.split_once(' ')?;
    let pair = match scheme.to_ascii_lowercase().as_str() {
        "basic" => String::from_utf8(BASE64.decode(value.trim()).ok()?).ok()?,
        "token" | "bearer" => value.trim().to_owned(),
        _ => return None,
    };
    let (user, password) = pair.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
