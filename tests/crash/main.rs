//! The real server, killed again and again while it is written to through real clients.
//!
//! Each test prints its seed; `TIDEMARK_CRASH_SEED` repeats one, `TIDEMARK_CRASH_KILLS` asks for
//! more than the ordinary number of kills, and `TIDEMARK_CRASH_DEFECT=flush::forget_flushed_lsn=return`
//! puts a defect into the server that the torture must find.

#![expect(clippy::disallowed_methods, reason = "these are real processes in real time")]

mod damage;
mod disk_full;
mod journal;
mod memory;
mod power_cut;
mod story;
mod teller;
mod torture;
mod writers;

use std::sync::Arc;

use tidemark_tests::failure::Result;
use tidemark_tests::server::Server;
use tokio_postgres::{Client, NoTls};

/// A client of the server, which drives its connection by itself.
pub(crate) async fn connect(server: &Server) -> Result<Client> {
    connect_to(&server.connection_string()).await
}

/// The same, to an address that outlives the server.
pub(crate) async fn connect_to(connection_string: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(connection_string, NoTls).await?;
    // It ends when the server does, and the client tells.
    tokio::spawn(async move { connection.await.ok() });
    Ok(client)
}

/// One number.
pub(crate) async fn number(client: &Client, query: &str) -> Result<i64> {
    Ok(client.query_one(query, &[]).await?.try_get(0)?)
}

/// Shared between tasks.
pub(crate) type Shared<T> = Arc<std::sync::Mutex<T>>;
