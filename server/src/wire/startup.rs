//! From the first byte to the first ReadyForQuery.
//!
//! 1. SSLRequest and GSSENCRequest, each at most once, or TLS right away, or a CancelRequest, which
//!    is obeyed in silence.
//! 2. The startup message, which says who, which database, and settings.
//! 3. Authentication. Until it is over nothing but its own messages is understood, each at most
//!    10,000 bytes, all within ten seconds; every error ends the connection.
//! 4. Parameters, the key for cancelling, ready.
//!
//! Bytes that a client sent after SSLRequest without waiting for the answer were not encrypted; they
//! would be taken for encrypted ones later, so such a client is refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey,
};
use tidemark_catalog::role::Role;
use tokio::net::TcpStream;

use crate::config::BOOTSTRAP_NAME;
use crate::error::{SqlError, SqlResult};
use crate::server::Server;
use crate::session::registry::Registered;
use crate::session::settings::SessionSettings;
use crate::sqlstate;
use crate::wire::auth::{AuthContext, authenticate};
use crate::wire::encode;
use crate::wire::message::{self, violation};
use crate::wire::stream::{Broken, Connection};

/// How long a client may take until it is known.
const STARTUP_TIME_MAX: Duration = Duration::from_secs(10);

const PROTOCOL_3: i32 = 0x0003_0000;
const CANCEL_REQUEST: i32 = 80_877_102;
const SSL_REQUEST: i32 = 80_877_103;
const GSSENC_REQUEST: i32 = 80_877_104;

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// A client that is known.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) role: Role,
    pub(crate) database: String,
    pub(crate) settings: SessionSettings,
    pub(crate) registered: Registered,
}

/// Brings a connection to its first ReadyForQuery; `None` when it ended before, in order or not.
pub(crate) async fn start(
    server: &Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<(Connection, Client)> {
    let mut connection = match encrypt(server, stream).await {
        Ok(Some(connection)) => connection,
        Ok(None) | Err(Broken::Gone) => return None,
        Err(Broken::Told(_)) => unreachable!("told within `encrypt`"),
    };
    let started = tokio::time::timeout(STARTUP_TIME_MAX, introduce(server, &mut connection, peer)).await;
    let error = match started {
        Ok(Ok(Some(client))) => return Some((connection, client)),
        Ok(Ok(None)) | Ok(Err(Broken::Gone)) => return None,
        Ok(Err(Broken::Told(error))) => error,
        Err(_) => SqlError::new(sqlstate::QUERY_CANCELED, "canceling authentication due to timeout"),
    };
    refuse(connection, error).await;
    None
}

/// Tells the client and ends the connection. Before it is known, every error is fatal.
async fn refuse(mut connection: Connection, error: SqlError) {
    let fatal = error.with_severity(crate::error::Severity::Fatal);
    if connection.send(&encode::error_response(&fatal)).is_ok() {
        tokio::time::timeout(STARTUP_TIME_MAX, connection.close()).await.ok();
    }
}

/// Steps before the startup message: encryption, where it is asked for.
async fn encrypt(server: &Arc<Server>, stream: TcpStream) -> Result<Option<Connection>, Broken> {
    let connection = Connection::new(Box::new(stream), false);
    match tokio::time::timeout(STARTUP_TIME_MAX, negotiate(server, connection)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err((connection, Broken::Told(error)))) => {
            if let Some(connection) = connection {
                refuse(connection, error).await;
            }
            Ok(None)
        }
        Ok(Err((_, Broken::Gone))) | Err(_) => Err(Broken::Gone),
    }
}

type Negotiated = Result<Option<Connection>, (Option<Connection>, Broken)>;

async fn negotiate(server: &Arc<Server>, mut connection: Connection) -> Negotiated {
    let first = connection.peek().await.map_err(|broken| (None, broken))?;
    if first == TLS_HANDSHAKE {
        let Some(tls) = &server.tls else { return Err((None, Broken::Gone)) };
        return direct_tls(tls, connection).await;
    }
    let (mut asked_for_ssl, mut asked_for_gss) = (false, false);
    loop {
        let request = match connection.peek_request().await {
            Ok(request) => request,
            Err(broken) => return Err((Some(connection), broken)),
        };
        let is_repeated = match request {
            SSL_REQUEST => std::mem::replace(&mut asked_for_ssl, true),
            GSSENC_REQUEST => std::mem::replace(&mut asked_for_gss, true),
            _ => return Ok(Some(connection)),
        };
        if is_repeated {
            return Err((Some(connection), Broken::Told(violation("repeated encryption request"))));
        }
        if let Err(broken) = connection.read_startup().await {
            return Err((Some(connection), broken));
        }
        if connection.has_unread_input() {
            let message = "received unencrypted data after SSL request";
            return Err((Some(connection), Broken::Told(violation(message))));
        }
        let tls = server.tls.as_ref().filter(|_| request == SSL_REQUEST);
        connection.output.extend_from_slice(if tls.is_some() { b"S" } else { b"N" });
        if let Err(broken) = connection.flush().await {
            return Err((None, broken));
        }
        if let Some(tls) = tls {
            let transport = connection.into_transport();
            let stream = tls.acceptor.accept(transport).await.map_err(|_| (None, Broken::Gone))?;
            return Ok(Some(Connection::new(Box::new(stream), true)));
        }
    }
}

async fn direct_tls(tls: &crate::wire::tls::Tls, connection: Connection) -> Negotiated {
    let stream = connection.into_replayed_transport();
    let stream = tls.direct_acceptor.accept(stream).await.map_err(|_| (None, Broken::Gone))?;
    // Without the protocol's name this may be a client of another protocol.
    if stream.get_ref().1.alpn_protocol().is_none() {
        return Err((None, Broken::Gone));
    }
    Ok(Some(Connection::new(Box::new(stream), true)))
}

/// Steps 2 to 4; `None` for a cancel request.
async fn introduce(
    server: &Arc<Server>,
    connection: &mut Connection,
    peer: SocketAddr,
) -> Result<Option<Client>, Broken> {
    let mut body = connection.read_startup().await?;
    let version = body.get_i32();
    if version == CANCEL_REQUEST {
        if body.len() >= 8 {
            let process = body.get_i32();
            server.sessions.cancel(process, &body);
        }
        return Ok(None);
    }
    if version >> 16 != PROTOCOL_3 >> 16 {
        let (major, minor) = (version >> 16, version & 0xffff);
        let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
        return Err(Broken::Told(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message)));
    }
    let parameters = parameters(body).map_err(Broken::Told)?;
    negotiate_version(connection, version, &parameters).map_err(Broken::Told)?;
    let client = admit(server, connection, peer, &parameters).await?;
    greet(connection, &client).map_err(Broken::Told)?;
    connection.flush().await?;
    Ok(Some(client))
}

pub(crate) fn parameters(body: Bytes) -> SqlResult<BTreeMap<String, String>> {
    let mut reader = message::Reader(body);
    let mut parameters = BTreeMap::new();
    loop {
        let name = reader.string()?;
        if name.is_empty() {
            break;
        }
        parameters.insert(name, reader.string()?);
    }
    reader
        .finish()
        .map_err(|_| violation("invalid startup packet layout: expected terminator as last byte"))?;
    Ok(parameters)
}

/// Tells a client that asked for a later minor version, or for options of the protocol, that there
/// are none.
fn negotiate_version(
    connection: &mut Connection,
    version: i32,
    parameters: &BTreeMap<String, String>,
) -> SqlResult<()> {
    let options: Vec<String> = parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    if version == PROTOCOL_3 && options.is_empty() {
        return Ok(());
    }
    connection.send(&NegotiateProtocolVersion::new(PROTOCOL_3, options))
}

async fn admit(
    server: &Arc<Server>,
    connection: &mut Connection,
    peer: SocketAddr,
    parameters: &BTreeMap<String, String>,
) -> Result<Client, Broken> {
    let user = parameters.get("user").filter(|user| !user.is_empty());
    let user = user.ok_or_else(|| {
        let message = "no PostgreSQL user name specified in startup packet";
        Broken::Told(SqlError::new(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, message))
    })?;
    let database = parameters.get("database").filter(|name| !name.is_empty()).unwrap_or(user);
    let view = server.engine.view();
    let certificate = server.tls.as_ref().filter(|_| connection.is_encrypted());
    let context = AuthContext {
        view: &view,
        peer,
        certificate: certificate.map(|tls| tls.certificate_pem.as_ref()),
        mock_secret: &server.mock_secret,
    };
    let role = authenticate(connection, user, context).await?;
    // What follows is told only to clients that are known.
    if server.is_draining() {
        let message = "the database system is shutting down";
        return Err(Broken::Told(SqlError::new(sqlstate::CANNOT_CONNECT_NOW, message)));
    }
    if parameters.get("replication").is_some_and(|value| value != "false" && value != "0") {
        return Err(Broken::Told(SqlError::unsupported("the replication protocol")));
    }
    if database != BOOTSTRAP_NAME {
        let message = format!("database \"{database}\" does not exist");
        return Err(Broken::Told(SqlError::new(sqlstate::INVALID_CATALOG_NAME, message)));
    }
    let settings = SessionSettings::at_start(&role, parameters).map_err(Broken::Told)?;
    let registered = server.sessions.register(role.superuser, server.random_key()).map_err(Broken::Told)?;
    Ok(Client { role, database: database.clone(), settings, registered })
}

fn greet(connection: &mut Connection, client: &Client) -> SqlResult<()> {
    connection.send(&Authentication::Ok)?;
    for (name, value) in client.settings.reported().iter() {
        connection.send(&ParameterStatus::new((*name).to_owned(), value.clone()))?;
    }
    let key = i32::from_be_bytes(client.registered.key());
    connection.send(&BackendKeyData::new(client.registered.process(), SecretKey::I32(key)))
}
