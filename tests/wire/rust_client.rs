//! tokio-postgres.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt, TryStreamExt, pin_mut};
use tidemark_tests::server::Server;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutRow, BinaryCopyOutStream};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::certificate::{Key, make};
use crate::clients::{PASSWORD, protected};
use crate::tls::trusting;

type Anything = Box<dyn std::error::Error + Sync + Send>;

/// The bytes of a value as they are on the wire, for types that need a crate of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Binary(Vec<u8>);

impl<'a> FromSql<'a> for Binary {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Binary, Anything> {
        Ok(Binary(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Binary {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Anything> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

fn config(server: &Server) -> Config {
    server.connection_string().parse().unwrap()
}

async fn connect(server: &Server) -> Client {
    let (client, connection) = config(server).connect(NoTls).await.unwrap();
    // Its error is the client's too.
    tokio::spawn(async move { connection.await.ok() });
    client
}

fn code(error: &Error) -> &SqlState {
    error.code().unwrap_or_else(|| panic!("no error of the server: {error}"))
}

#[tokio::test]
async fn tokio_postgres_prepares_and_reads_every_type() {
    let server = Server::start();
    let client = connect(&server).await;
    let statement = client
        .prepare(
            "SELECT $1::bool, $2::int2, $3::int4, $4::int8, $5::float4, $6::float8, $7::text, $8::varchar, \
             $9::bytea, $10::text[], $11::int8[], $12::float8[], $13::text",
        )
        .await
        .unwrap();
    let types: Vec<&str> = statement.params().iter().map(Type::name).collect();
    let expected = [
        "bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "bytea", "_text", "_int8",
        "_float8", "text",
    ];
    assert_eq!(types, expected);
    let columns: Vec<&str> = statement.columns().iter().map(|column| column.type_().name()).collect();
    assert_eq!(columns, expected);
    let row = client
        .query_one(
            &statement,
            &[
                &true,
                &i16::MIN,
                &i32::MAX,
                &i64::MIN,
                &f32::INFINITY,
                &f64::NAN,
                &"ä'\"\\",
                &"short",
                &&b"\0\xff"[..],
                &vec![Some("a,b"), None, Some("NULL"), Some("")],
                &Vec::<i64>::new(),
                &vec![0.1, f64::NEG_INFINITY],
                &None::<&str>,
            ],
        )
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0));
    assert_eq!(
        (row.get::<_, i16>(1), row.get::<_, i32>(2), row.get::<_, i64>(3)),
        (i16::MIN, i32::MAX, i64::MIN)
    );
    assert_eq!(row.get::<_, f32>(4), f32::INFINITY);
    assert!(row.get::<_, f64>(5).is_nan());
    assert_eq!((row.get::<_, &str>(6), row.get::<_, &str>(7)), ("ä'\"\\", "short"));
    assert_eq!(row.get::<_, &[u8]>(8), b"\0\xff");
    assert_eq!(row.get::<_, Vec<Option<&str>>>(9), [Some("a,b"), None, Some("NULL"), Some("")]);
    assert!(row.get::<_, Vec<i64>>(10).is_empty());
    assert_eq!(row.get::<_, Vec<f64>>(11), [0.1, f64::NEG_INFINITY]);
    assert_eq!(row.get::<_, Option<&str>>(12), None);
}

#[tokio::test]
async fn tokio_postgres_takes_bytes_of_the_other_types_as_they_came() {
    let server = Server::start();
    let client = connect(&server).await;
    for (type_name, literal) in [
        ("numeric", "-12345678901234567890.123456789"),
        ("date", "infinity"),
        ("timestamp", "-infinity"),
        ("timestamptz", "2024-02-29 23:59:59.999999+00"),
        ("interval", "1 year 2 mons -3 days +04:05:06.789"),
        ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("json", "{\"a\":  1}"),
        ("jsonb", "{\"a\": [1, null]}"),
        ("numeric[]", "{1.5,NULL}"),
        ("timestamptz[]", "{\"2024-02-29 23:59:59.999999+00\",NULL}"),
    ] {
        let row = client.query_one(&format!("SELECT '{literal}'::{type_name}"), &[]).await.unwrap();
        let sent: Binary = row.get(0);
        let sql = format!("SELECT $1::{type_name}, $1::{type_name}::text");
        let row =
            client.query_one(&sql, &[&sent]).await.unwrap_or_else(|error| panic!("{type_name}: {error}"));
        assert_eq!(row.get::<_, Binary>(0), sent, "{type_name}");
        assert_eq!(row.get::<_, String>(1), literal, "{type_name}");
    }
}

const MAKE: &str =
    "CREATE TABLE t (ts timestamptz, v int4, w text) WITH (kind = 'timeseries', time_key = 'ts')";

#[tokio::test]
async fn tokio_postgres_opens_several_portals_in_a_transaction() {
    let server = Server::start();
    let mut client = connect(&server).await;
    let transaction = client.transaction().await.unwrap();
    let statement = transaction.prepare("SELECT g FROM generate_series(1, 100000) AS t (g)").await.unwrap();
    let (one, other) =
        (transaction.bind(&statement, &[]).await.unwrap(), transaction.bind(&statement, &[]).await.unwrap());
    for round in 0..5 {
        for (portal, size) in [(&one, 1000), (&other, 10)] {
            let rows = transaction.query_portal(portal, size).await.unwrap();
            let first = round * size + 1;
            let numbers: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
            assert_eq!(numbers, (first..first + size).collect::<Vec<_>>());
        }
    }
    assert_eq!(transaction.query_portal(&one, 0).await.unwrap().len(), 95_000);
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn tokio_postgres_streams_pipelines_and_copies() {
    let server = Server::start();
    let client = connect(&server).await;
    client.batch_execute(MAKE).await.unwrap();
    let sink = client.copy_in("COPY t FROM STDIN").await.unwrap();
    pin_mut!(sink);
    for part in 0..100 {
        let lines: String = (0..1000).map(|row| format!("2024-01-01\t{}\tx\n", part * 1000 + row)).collect();
        sink.send(Bytes::from(lines)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 100_000);
    let rows = client.query_raw("SELECT v FROM t ORDER BY v", std::iter::empty::<i32>()).await.unwrap();
    let sum =
        rows.map_ok(|row| i64::from(row.get::<_, i32>(0))).try_fold(0, |sum, v| async move { Ok(sum + v) });
    assert_eq!(sum.await.unwrap(), 99_999 * 100_000 / 2);
    let stream = client.copy_out("COPY (SELECT v, w FROM t WHERE v < 3 ORDER BY v) TO STDOUT").await.unwrap();
    let parts: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert_eq!(parts.concat(), b"0\tx\n1\tx\n2\tx\n");
    // A COPY whose sink is dropped is one that failed.
    let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN").await.unwrap();
    drop(sink);
    // Many at a time, answered in order.
    let numbers = futures_util::future::join_all((0..100_i32).map(|number| {
        let client = &client;
        async move { client.query_one("SELECT $1::int4 * 2", &[&number]).await.unwrap().get::<_, i32>(0) }
    }));
    assert_eq!(numbers.await, (0..100).map(|number| number * 2).collect::<Vec<_>>());
    let count: i64 = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(count, 100_000);
}

#[tokio::test]
async fn tokio_postgres_copies_in_binary() {
    let server = Server::start();
    let client = connect(&server).await;
    client.batch_execute(&MAKE.replace("w text", "w text, f float8, many int8[]")).await.unwrap();
    let types = [Type::TIMESTAMPTZ, Type::INT4, Type::TEXT, Type::FLOAT8, Type::INT8_ARRAY];
    let sink = client.copy_in("COPY t FROM STDIN (FORMAT binary)").await.unwrap();
    let writer = BinaryCopyInWriter::new(sink, &types);
    pin_mut!(writer);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200);
    for number in 0..10_000_i32 {
        let time = start + Duration::from_secs(u64::try_from(number).unwrap());
        let word = (number % 3 > 0).then(|| format!("word {number}"));
        let many: Vec<Option<i64>> = vec![Some(number.into()), None];
        writer.as_mut().write(&[&time, &number, &word, &(f64::from(number) / 4.0), &many]).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), 10_000);
    let stream =
        client.copy_out("COPY (SELECT * FROM t ORDER BY ts) TO STDOUT (FORMAT binary)").await.unwrap();
    let rows: Vec<BinaryCopyOutRow> = BinaryCopyOutStream::new(stream, &types).try_collect().await.unwrap();
    assert_eq!(rows.len(), 10_000);
    for (number, row) in (0..10_000_i32).zip(&rows) {
        let time = start + Duration::from_secs(u64::try_from(number).unwrap());
        assert_eq!((row.get::<SystemTime>(0), row.get::<i32>(1)), (time, number));
        assert_eq!(row.get::<Option<String>>(2), (number % 3 > 0).then(|| format!("word {number}")));
        assert_eq!(row.get::<f64>(3), f64::from(number) / 4.0);
        assert_eq!(row.get::<Vec<Option<i64>>>(4), [Some(number.into()), None]);
    }
}

fn seconds_after_2024(seconds: i32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200 + u64::try_from(seconds).unwrap())
}

#[tokio::test]
async fn tokio_postgres_inserts_arrays_as_rows() {
    let server = Server::start();
    let client = connect(&server).await;
    client.batch_execute(&MAKE.replace("w text", "w text, s symbol, f float8")).await.unwrap();
    let statement = client
        .prepare(
            "INSERT INTO t (ts, v, w, s, f) SELECT * FROM unnest($1::timestamptz[], $2::int4[], $3::text[], \
             $4::text[], $5::float8[])",
        )
        .await
        .unwrap();
    let types: Vec<&str> = statement.params().iter().map(Type::name).collect();
    assert_eq!(types, ["_timestamptz", "_int4", "_text", "_text", "_float8"]);
    let numbers: Vec<i32> = (0..20_000).collect();
    let times: Vec<SystemTime> = numbers.iter().map(|number| seconds_after_2024(*number)).collect();
    let words: Vec<Option<String>> =
        numbers.iter().map(|number| (number % 2 == 0).then(|| format!("word {number}"))).collect();
    let symbols: Vec<String> = numbers.iter().map(|number| format!("s{}", number % 10)).collect();
    // An array that is shorter goes on with NULL.
    let floats: Vec<f64> = numbers[..10_000].iter().map(|number| f64::from(*number) / 4.0).collect();
    let count = client.execute(&statement, &[&times, &numbers, &words, &symbols, &floats]).await.unwrap();
    assert_eq!(count, 20_000);
    let rows = client.query("SELECT ts, v, w, s, f FROM t ORDER BY v", &[]).await.unwrap();
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row.get::<_, SystemTime>(0), times[at]);
        assert_eq!((row.get::<_, i32>(1), row.get::<_, Option<String>>(2)), (numbers[at], words[at].clone()));
        assert_eq!(
            (row.get::<_, String>(3), row.get::<_, Option<f64>>(4)),
            (symbols[at].clone(), floats.get(at).copied())
        );
    }
    assert_eq!(rows.len(), 20_000);
    // What is no array, or one of other elements.
    let other =
        client.prepare("INSERT INTO t (ts, v) SELECT * FROM unnest($1::timestamptz[], $2::int4[])").await;
    let other = other.unwrap();
    let mut integers = BytesMut::new();
    vec![1_i64, 2].to_sql(&Type::INT8_ARRAY, &mut integers).unwrap();
    let error = client.execute(&other, &[&times, &Binary(integers.to_vec())]).await.unwrap_err();
    assert_eq!(code(&error), &SqlState::DATATYPE_MISMATCH);
    let error = client.execute(&other, &[&times, &Binary(vec![0; 11])]).await.unwrap_err();
    assert_eq!(code(&error), &SqlState::PROTOCOL_VIOLATION);
    let count: i64 = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get(0);
    assert_eq!(count, 20_000);
}

#[tokio::test]
async fn tokio_postgres_inserts_as_many_parameters_as_there_can_be() {
    let server = Server::start();
    let client = connect(&server).await;
    client.batch_execute(MAKE).await.unwrap();
    let rows = 65_535 / 3;
    let list = (0..rows).map(|row| format!("(${}, ${}, ${})", row * 3 + 1, row * 3 + 2, row * 3 + 3));
    let sql = format!("INSERT INTO t VALUES {}", list.collect::<Vec<_>>().join(", "));
    let numbers: Vec<i32> = (0..rows).collect();
    let times: Vec<SystemTime> = numbers.iter().map(|number| seconds_after_2024(*number)).collect();
    let words: Vec<Option<String>> =
        numbers.iter().map(|number| (number % 3 > 0).then(|| number.to_string())).collect();
    let values: Vec<&(dyn ToSql + Sync)> = (0..numbers.len())
        .flat_map(|at| [&times[at] as &(dyn ToSql + Sync), &numbers[at], &words[at]])
        .collect();
    let statement = client.prepare(&sql).await.unwrap();
    assert_eq!(statement.params().len(), 65_535);
    let count = client.execute(&statement, &values).await.unwrap();
    assert_eq!(count, u64::try_from(rows).unwrap());
    let row = client.query_one("SELECT count(*), sum(v), count(w), max(ts) FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), i64::from(rows));
    assert_eq!(row.get::<_, i64>(1), i64::from(rows) * (i64::from(rows) - 1) / 2);
    assert_eq!(row.get::<_, i64>(2), i64::try_from(words.iter().flatten().count()).unwrap());
    assert_eq!(row.get::<_, SystemTime>(3), seconds_after_2024(rows - 1));
}

#[tokio::test]
async fn tokio_postgres_reads_what_an_insert_returns() {
    let server = Server::start();
    let mut client = connect(&server).await;
    client.batch_execute(&MAKE.replace("w text", "w text, s symbol")).await.unwrap();
    let statement = client
        .prepare("INSERT INTO t VALUES ($1, $2, $3, 'x') RETURNING v, w AS word, v * 2 AS twice, ts, s")
        .await;
    let statement = statement.unwrap();
    let columns: Vec<(&str, &str)> =
        statement.columns().iter().map(|column| (column.name(), column.type_().name())).collect();
    let expected = [("v", "int4"), ("word", "text"), ("twice", "int4"), ("ts", "timestamptz"), ("s", "text")];
    assert_eq!(columns, expected);
    for number in 0..3 {
        let time = seconds_after_2024(number);
        let row = client.query_one(&statement, &[&time, &number, &None::<&str>]).await.unwrap();
        assert_eq!(
            (row.get::<_, i32>(0), row.get::<_, Option<&str>>(1), row.get::<_, i32>(2)),
            (number, None, number * 2)
        );
        assert_eq!((row.get::<_, SystemTime>(3), row.get::<_, &str>(4)), (time, "x"));
    }
    // In a transaction the rows are there at once, and gone with it.
    let transaction = client.transaction().await.unwrap();
    let sql = "INSERT INTO t SELECT ts, v + 10, w, s FROM t RETURNING v";
    let rows = transaction.query(sql, &[]).await.unwrap();
    let mut numbers: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [10, 11, 12]);
    assert_eq!(transaction.query("SELECT v FROM t", &[]).await.unwrap().len(), 6);
    transaction.rollback().await.unwrap();
    assert_eq!(client.query("SELECT v FROM t", &[]).await.unwrap().len(), 3);
}

#[tokio::test]
async fn tokio_postgres_ends_transactions_and_sees_their_errors() {
    let server = Server::start();
    let mut client = connect(&server).await;
    client.batch_execute(MAKE).await.unwrap();
    let insert = "INSERT INTO t VALUES (to_timestamp_of($1), 1, 'a')";
    assert_eq!(code(&client.prepare(insert).await.unwrap_err()), &SqlState::UNDEFINED_FUNCTION);
    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO t VALUES ('2024-01-01', $1, $2)", &[&1_i32, &"a"]).await.unwrap();
    transaction.rollback().await.unwrap();
    let mut transaction = client.transaction().await.unwrap();
    assert_eq!(transaction.execute("INSERT INTO t VALUES ('2024-01-01', 1, 'kept')", &[]).await.unwrap(), 1);
    let nested = transaction.transaction().await.unwrap();
    nested.execute("INSERT INTO t VALUES ('2024-01-01', 2, 'gone')", &[]).await.unwrap();
    assert_eq!(
        code(&nested.query("SELECT * FROM missing", &[]).await.unwrap_err()),
        &SqlState::UNDEFINED_TABLE
    );
    assert_eq!(code(&nested.query("SELECT 1", &[]).await.unwrap_err()), &SqlState::IN_FAILED_SQL_TRANSACTION);
    nested.rollback().await.unwrap();
    transaction.commit().await.unwrap();
    let rows = client.query("SELECT w FROM t", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<&str>>(), ["kept"]);
    let error = client.query("SELECT v,\n nope FROM t", &[]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(
        (error.code(), error.message()),
        (&SqlState::UNDEFINED_COLUMN, "column \"nope\" does not exist")
    );
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(12)));
    assert_eq!(error.parsed_severity(), Some(tokio_postgres::error::Severity::Error));
}

#[tokio::test]
async fn tokio_postgres_cancels_and_times_out() {
    let server = Server::start();
    let client = connect(&server).await;
    let endless = "SELECT g FROM generate_series(1, 100000000000) AS t (g)";
    let rows = client.query_raw(endless, std::iter::empty::<i32>()).await.unwrap();
    pin_mut!(rows);
    for _ in 0..1000 {
        rows.next().await.unwrap().unwrap();
    }
    client.cancel_token().cancel_query(NoTls).await.unwrap();
    let error = loop {
        match rows.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("the result ended"),
        }
    };
    assert_eq!(code(&error), &SqlState::QUERY_CANCELED);
    client.batch_execute("SET statement_timeout = '50ms'").await.unwrap();
    let error = client.query_one("SELECT count(*) FROM generate_series(1, 100000000000) AS t (g)", &[]).await;
    assert_eq!(code(&error.unwrap_err()), &SqlState::QUERY_CANCELED);
    client.batch_execute("DISCARD ALL").await.unwrap();
    let timeout: String = client.query_one("SHOW statement_timeout", &[]).await.unwrap().get(0);
    assert_eq!(timeout, "0");
}

#[tokio::test]
async fn tokio_postgres_proves_its_password_bound_to_the_certificate() {
    for key in [Key::EllipticCurve, Key::Rsa] {
        let certificate = make(key);
        let server = tidemark_tests::server::Options::new()
            .setting("password", PASSWORD)
            .setting("tls-cert", certificate.certificate.display())
            .setting("tls-key", certificate.key.display())
            .start();
        let tls = || MakeRustlsConnect::new(trusting(&certificate, &[]));
        let mut config = config(&server);
        config.host("localhost").ssl_mode(SslMode::Require).password(PASSWORD);
        config.channel_binding(tokio_postgres::config::ChannelBinding::Require);
        let (client, connection) = config.connect(tls()).await.unwrap();
        tokio::spawn(async move { connection.await.ok() });
        let who: String = client.query_one("SELECT current_user", &[]).await.unwrap().get(0);
        assert_eq!(who, "tidemark");
        config.password("wrong");
        let error = config.connect(tls()).await.err().unwrap();
        assert_eq!(code(&error), &SqlState::INVALID_PASSWORD);
    }
}

#[tokio::test]
async fn tokio_postgres_is_told_why_it_may_not_connect() {
    let (server, _certificate) = protected();
    let mut config = config(&server);
    config.password(PASSWORD).dbname("nowhere");
    let error = config.connect(NoTls).await.err().unwrap();
    assert_eq!(code(&error), &SqlState::INVALID_CATALOG_NAME);
    config.dbname("tidemark").user("nobody");
    let error = config.connect(NoTls).await.err().unwrap();
    assert_eq!(code(&error), &SqlState::INVALID_PASSWORD);
    config.user("tidemark").password("wrong");
    let error = config.connect(NoTls).await.err().unwrap();
    assert_eq!(code(&error), &SqlState::INVALID_PASSWORD);
}
