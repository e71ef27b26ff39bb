//! The server as its clients meet it: the PostgreSQL protocol, byte by byte and through the clients
//! that people use, and HTTP.
//!
//! | module | has |
//! | --- | --- |
//! | [`raw`] | a client that says anything, and shows every answer as a line of text |
//! | [`conversation`] | what is said after the start: pipelines, portals, transactions, COPY |
//! | [`copying`] | COPY: formats, options, mistakes |
//! | [`types`] | every type, both ways, in both formats, against bytes that PostgreSQL sent |
//! | [`startup`], [`messages`] | attacks before the client is known, and after |
//! | [`streaming`] | large results, slow clients, cancelling |
//! | [`tls`], [`certificate`] | encryption, and passwords over it |
//! | [`upserts`] | ON CONFLICT among writers that do the same, and rows that come again |
//! | [`merges`] | what the server tells of its merges and segments |
//! | [`symbols`] | symbol columns with more values than they may have |
//! | [`lifecycle`] | where the server listens, how it is configured, how it ends |
//! | [`http`], [`line_http`] | health, metrics, line protocol |
//! | [`http_limits`], [`line_tcp`] | attacks over HTTP, and on the plain line protocol |
//! | [`remote_write`], [`otlp`], [`agents`] | Prometheus, OpenTelemetry, and agents as they are configured |
//! | [`psql`], [`rust_client`], [`python`], [`java`] | psql, tokio-postgres, psycopg, pgjdbc |
//!
//! The conversations, the types, and the scripts of psycopg and pgjdbc say what PostgreSQL 15 does.
//! With `TIDEMARK_TEST_REFERENCE=host:port` they talk to a real one instead of our server, to see that
//! it is so: it needs a superuser and a database `tidemark`, and trusts its clients.

#![expect(clippy::disallowed_methods, reason = "these are real processes in real time")]
#![expect(clippy::type_complexity, reason = "a table of cases says by its columns what it is")]

mod agents;
mod certificate;
mod clients;
mod conversation;
mod copying;
mod http;
mod http_limits;
mod java;
mod lifecycle;
mod line_http;
mod line_tcp;
mod merges;
mod messages;
mod numbered;
mod otlp;
mod psql;
mod python;
mod raw;
mod remote_write;
mod rust_client;
mod startup;
mod streaming;
mod symbols;
mod tls;
mod types;
mod upserts;
