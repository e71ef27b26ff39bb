//! Who sends an HTTP request: the same roles and passwords as over the PostgreSQL protocol.
//!
//! A password comes as basic authentication, as the parameters `u` and `p`, or as a token of the form
//! `user:password`. Checking one is slow by design; one that was right is remembered by a keyed hash
//! for as long as its role's verifier stays the same.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use tidemark_catalog::role::ScramVerifier;

use crate::error::{SqlError, SqlResult};
use crate::server::Server;
use crate::sqlstate;
use crate::wire::auth::{check_password, has_passwords};

/// Passwords that were right are remembered up to this many.
const REMEMBERED_MAX: usize = 1000;

/// Passwords that were right, by a keyed hash of user and password.
#[derive(Debug, Default)]
pub struct Remembered(Mutex<HashMap<Vec<u8>, ScramVerifier>>);

/// Checks that the sender may write.
///
/// # Errors
/// 28P01 when it is not known, 28000 when it may not connect from where it is.
pub(super) fn authenticate(
    server: &Server,
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
    let now = view.role_by_name(&user).and_then(|role| role.verifier.clone());
    let mut remembered = server.remembered.0.lock().unwrap_or_else(PoisonError::into_inner);
    if now.is_some() && remembered.get(hash.as_ref()) == now.as_ref() {
        return Ok(());
    }
    drop(remembered);
    let role = check_password(&view, &user, &password)?;
    remembered = server.remembered.0.lock().unwrap_or_else(PoisonError::into_inner);
    if remembered.len() >= REMEMBERED_MAX {
        remembered.clear();
    }
    if let Some(verifier) = role.verifier {
        remembered.insert(hash.as_ref().to_vec(), verifier);
    }
    Ok(())
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
