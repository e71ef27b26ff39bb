//! Connections over the PostgreSQL protocol.

use tokio_postgres::{Client, NoTls};

use crate::dataset::TABLE;
use tidemark_tests::failure::{Context, Result};

/// Where Tidemark listens, and as whom it lets a local client in.
pub(crate) const DEFAULT_CONNECTION: &str = "host=127.0.0.1 port=5433 user=tidemark dbname=tidemark";

pub(crate) async fn connect(parameters: &str) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(parameters, NoTls).await.context(|| format!("connect to {parameters}"))?;
    tokio::spawn(async move {
        // The client's own calls fail too, and say so to someone who waits.
        connection.await.ok();
    });
    client.batch_execute("SET TIME ZONE 'UTC'").await.context(|| "set the time zone".to_owned())?;
    Ok(client)
}

/// The rows of the table; none when there is no table yet.
pub(crate) async fn count_rows(client: &Client) -> Result<u64> {
    match client.query_one(&format!("SELECT count(*) FROM {TABLE}"), &[]).await {
        Ok(row) => Ok(row.try_get::<_, i64>(0)?.cast_unsigned()),
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE) => Ok(0),
        Err(error) => Err(error).context(|| format!("count the rows of {TABLE}")),
    }
}
