//! Who the client is: SCRAM-SHA-256, or trust where that is allowed.
//!
//! A data directory without any password trusts clients on the loopback interface and nobody else
//! (the server does not listen elsewhere then). With a password every role needs its own. A role
//! that does not exist, or has no password, goes through the same exchange as any other and fails at
//! its end, so an answer does not tell which roles there are.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramSecret, ScramServerAuth, gen_salted_password};
use pgwire::error::PgWireError;
use pgwire::messages::startup::Authentication;
use tidemark_catalog::role::{Role, ScramVerifier};
use tidemark_catalog::view::View;

use crate::error::{SqlError, SqlResult};
use crate::security::same_bytes;
use crate::sqlstate;
use crate::wire::message::{decode_sasl_initial, decode_sasl_response, violation};
use crate::wire::stream::{Broken, Connection, STARTUP_BYTES_MAX};

const MECHANISM: &str = "SCRAM-SHA-256";
const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";
const SALT_BYTES: usize = 16;

/// What the text of a verifier begins with.
pub const VERIFIER_PREFIX: &str = "SCRAM-SHA-256$";

/// A password that comes over HTTP is put through so many rounds at most.
const ITERATIONS_MAX: u32 = 100_000;

/// What the exchange needs to know of the server.
#[derive(Debug)]
pub(crate) struct AuthContext<'a> {
    pub(crate) view: &'a View,
    pub(crate) peer: SocketAddr,
    /// The certificate chain, PEM, of an encrypted connection.
    pub(crate) certificate: Option<&'a [u8]>,
    /// A secret of this server, for answers about roles that do not exist.
    pub(crate) mock_secret: &'a [u8; 32],
}

/// What a password is checked with from now on.
pub fn verifier(password: &str, salt: [u8; SALT_BYTES]) -> ScramVerifier {
    let salted = gen_salted_password(password, &salt, SCRAM_ITERATIONS);
    let secret = ScramSecret::verifier_from_salted_password(salt.to_vec(), salted, SCRAM_ITERATIONS);
    match secret {
        ScramSecret::Verifier { salt, iterations, stored_key, server_key } => ScramVerifier {
            iterations: u32::try_from(iterations).expect("the iterations are a small constant"),
            salt,
            stored_key,
            server_key,
        },
        ScramSecret::SaltedPassword { .. } => unreachable!("a verifier was asked for"),
    }
}

/// The verifier that a client computed itself, as PostgreSQL writes it:
/// `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`, all but the number in Base64.
///
/// # Errors
/// It is none, or takes more rounds than are done here.
pub fn verifier_from_text(text: &str) -> SqlResult<ScramVerifier> {
    read_verifier(text).ok_or_else(|| {
        let message = "the password begins like a SCRAM verifier and is none";
        SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
            .with_hint(format!("A verifier has at most {ITERATIONS_MAX} iterations."))
    })
}

fn read_verifier(text: &str) -> Option<ScramVerifier> {
    const KEY_BYTES: usize = 32;
    let (rounds, keys) = text.strip_prefix(VERIFIER_PREFIX)?.split_once('$')?;
    let (iterations, salt) = rounds.split_once(':')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    let bytes = |text: &str| BASE64.decode(text).ok();
    let key = |text: &str| bytes(text).filter(|key| key.len() == KEY_BYTES);
    Some(ScramVerifier {
        iterations: iterations.parse().ok().filter(|count| (1..=ITERATIONS_MAX).contains(count))?,
        salt: bytes(salt).filter(|salt| !salt.is_empty())?,
        stored_key: key(stored_key)?,
        server_key: key(server_key)?,
    })
}

/// Whether any role has a password; if none has, loopback is trusted.
pub fn has_passwords(view: &View) -> bool {
    view.roles().any(|role| role.verifier.is_some())
}

/// Finds out who the client is.
pub(crate) async fn authenticate(
    connection: &mut Connection,
    user: &str,
    context: AuthContext<'_>,
) -> Result<Role, Broken> {
    let role = context.view.role_by_name(user);
    if !has_passwords(context.view) {
        if !context.peer.ip().is_loopback() {
            let message = format!("no access for host \"{}\": the server has no password", context.peer.ip());
            return Err(told(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, message));
        }
        let role = role.ok_or_else(|| {
            told(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, format!("role \"{user}\" does not exist"))
        })?;
        return may_log_in(role);
    }
    let known = role.and_then(|role| role.verifier.as_ref());
    let secret = match known {
        Some(verifier) => ScramSecret::Verifier {
            salt: verifier.salt.clone(),
            iterations: usize::try_from(verifier.iterations).expect("a small number"),
            stored_key: verifier.stored_key.clone(),
            server_key: verifier.server_key.clone(),
        },
        None => mock_secret(user, context.mock_secret),
    };
    let proved = exchange(connection, &context, secret).await;
    let failed = || {
        let message = format!("password authentication failed for user \"{user}\"");
        told(sqlstate::INVALID_PASSWORD, message)
    };
    match (proved, role) {
        (Ok(()), Some(role)) if known.is_some() => may_log_in(role),
        (Ok(()), _) | (Err(Refused::Password), _) => Err(failed()),
        (Err(Refused::Broken(broken)), _) => Err(broken),
    }
}

fn may_log_in(role: &Role) -> Result<Role, Broken> {
    if role.login {
        return Ok(role.clone());
    }
    let message = format!("role \"{}\" is not permitted to log in", role.name);
    Err(told(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, message))
}

fn told(state: crate::sqlstate::SqlState, message: String) -> Broken {
    Broken::Told(SqlError::fatal(state, message))
}

/// The same salt for the same name each time, and keys that nothing fits.
fn mock_secret(user: &str, secret: &[u8; 32]) -> ScramSecret {
    let derive = |what: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        ring::hmac::sign(&key, format!("{what}:{user}").as_bytes()).as_ref().to_vec()
    };
    let mut salt = derive("salt");
    salt.truncate(SALT_BYTES);
    ScramSecret::Verifier {
        salt,
        iterations: SCRAM_ITERATIONS,
        stored_key: derive("stored"),
        server_key: derive("server"),
    }
}

/// Why an exchange did not end well.
enum Refused {
    Password,
    Broken(Broken),
}

impl From<Broken> for Refused {
    fn from(broken: Broken) -> Refused {
        Refused::Broken(broken)
    }
}

impl From<SqlError> for Refused {
    fn from(error: SqlError) -> Refused {
        Refused::Broken(Broken::Told(error))
    }
}

async fn exchange(
    connection: &mut Connection,
    context: &AuthContext<'_>,
    secret: ScramSecret,
) -> Result<(), Refused> {
    let mut scram = ScramServerAuth::new();
    let mut mechanisms = vec![MECHANISM.to_owned()];
    if let Some(certificate) = context.certificate {
        scram.configure_certificate(certificate).map_err(refused)?;
        mechanisms.insert(0, MECHANISM_PLUS.to_owned());
    }
    connection.send(&Authentication::SASL(mechanisms.clone()))?;
    connection.flush().await?;

    let initial = decode_sasl_initial(read_response(connection).await?)?;
    if !mechanisms.contains(&initial.auth_method) {
        return Err(violation("client selected an invalid SASL authentication mechanism").into());
    }
    let first = initial.data.ok_or_else(|| violation("malformed SCRAM message"))?;
    let (server_first, waiting) =
        scram.on_client_first_message_with_secret(&first, secret).map_err(refused)?;
    connection.send(&Authentication::SASLContinue(server_first.into()))?;
    connection.flush().await?;

    let last = decode_sasl_response(read_response(connection).await?);
    let server_final = waiting.on_client_final_message(&last.data).map_err(refused)?;
    connection.send(&Authentication::SASLFinal(server_final.into()))?;
    Ok(())
}

/// The next message, which must be the client's part of the exchange: nothing else is looked at
/// before the client is known.
async fn read_response(connection: &mut Connection) -> Result<bytes::Bytes, Refused> {
    let (tag, body) = connection.read_message(STARTUP_BYTES_MAX).await?;
    if tag != b'p' {
        return Err(violation(format!("expected SASL response, got message type {tag}")).into());
    }
    Ok(body)
}

fn refused(error: PgWireError) -> Refused {
    match error {
        PgWireError::InvalidPassword(_) => Refused::Password,
        other => violation(format!("malformed SCRAM message: {other}")).into(),
    }
}

/// Checks a password that came in the clear, over HTTP.
pub fn check_password(view: &View, user: &str, password: &str) -> SqlResult<Role> {
    let failed = || {
        let message = format!("password authentication failed for user \"{user}\"");
        SqlError::new(sqlstate::INVALID_PASSWORD, message)
    };
    let role = view.role_by_name(user);
    let known = role.and_then(|role| role.verifier.as_ref());
    // Work is done for a role that does not exist too, so that time does not tell.
    let salt = known.map_or([0; SALT_BYTES].to_vec(), |verifier| verifier.salt.clone());
    let iterations = known.map_or(SCRAM_ITERATIONS, |verifier| verifier.iterations as usize);
    let salted = gen_salted_password(password, &salt, iterations);
    let given = ScramSecret::verifier_from_salted_password(salt, salted, iterations);
    let ScramSecret::Verifier { stored_key, .. } = given else { return Err(failed()) };
    match (role, known) {
        (Some(role), Some(verifier)) if same_bytes(&verifier.stored_key, &stored_key) => Ok(role.clone()),
        _ => Err(failed()),
    }
}
