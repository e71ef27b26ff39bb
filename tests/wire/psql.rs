//! psql, the client that everybody has.

use std::process::{Command, Output};

use tidemark_tests::server::Server;

use crate::clients::{PASSWORD, install, output_of, protected, run, texts};

fn missing() -> String {
    install("psql", "the Debian package postgresql-client-15")
}

/// psql that prints rows with `|` between columns, and nothing else.
fn psql(server: &Server, more: &str) -> Command {
    let mut command = Command::new("psql");
    command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
    command.arg("-d").arg(format!("{} {more}", server.connection_string()));
    command.env("PGCONNECT_TIMEOUT", "60").env_remove("PGPASSWORD").env("PGPASSFILE", "/nowhere/pgpass");
    command
}

fn answer(server: &Server, sql: &str) -> String {
    let mut command = psql(server, "");
    command.args(["-c", sql]);
    output_of(command, missing())
}

#[test]
fn psql_reads_every_type_as_text() {
    let server = Server::start();
    for line in include_str!("types.tsv").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let (type_name, literal, text) = (fields[0], fields[3], fields[4]);
        // One process for each would take long, so a sample: the last of each type.
        let next = include_str!("types.tsv").lines().skip_while(|it| *it != line).nth(1);
        if next.is_some_and(|next| next.split('\t').next() == Some(type_name)) {
            continue;
        }
        let sql = format!("SELECT '{}'::{type_name}", literal.replace('\'', "''"));
        assert_eq!(answer(&server, &sql), format!("{text}\n"), "{sql}");
    }
}

#[test]
fn psql_runs_a_script_with_copy_and_transactions() {
    let server = Server::start();
    let directory = tempfile::TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("in.csv"), "ts,v,w\n2024-01-01,1,a\n2024-01-02,,\"b,c\"\n").unwrap();
    let script = format!(
        "\
CREATE TABLE t (ts timestamptz, v int4, w text) WITH (kind = 'timeseries', time_key = 'ts');
\\copy t FROM '{input}' (FORMAT csv, HEADER)
BEGIN;
INSERT INTO t VALUES ('2024-01-03', 3, 'gone');
ROLLBACK;
BEGIN;
INSERT INTO t VALUES ('2024-01-04', 4, 'kept');
COMMIT;
\\pset null NULL
SELECT v, w FROM t ORDER BY ts;
\\copy (SELECT v, w FROM t ORDER BY ts) TO '{output}' (FORMAT csv)
\\copy t TO '{binary}' (FORMAT binary)
\\copy t FROM '{binary}' (FORMAT binary) WHERE v > 1
SELECT v, w FROM t ORDER BY ts;
SELECT g FROM generate_series(1, 5) AS s (g);
SHOW server_version;
SELECT :'VERSION_NUM' <> '';
",
        input = path("in.csv"),
        output = path("out.csv"),
        binary = path("out.bin")
    );
    std::fs::write(path("script.sql"), script).unwrap();
    let mut command = psql(&server, "");
    command.args(["-f", &path("script.sql")]);
    let printed = output_of(command, missing());
    assert_eq!(printed, "1|a\nNULL|b,c\n4|kept\n1|a\nNULL|b,c\n4|kept\n4|kept\n1\n2\n3\n4\n5\n15.10\nt\n");
    assert_eq!(std::fs::read_to_string(path("out.csv")).unwrap(), "1,a\n,\"b,c\"\n4,kept\n");
}

/// psql's commands about the catalogs: what each asks is answered, if only by there being nothing.
#[test]
fn every_command_of_psql_about_the_catalogs_is_answered() {
    let server = Server::start();
    answer(&server, "CREATE TABLE t (ts timestamptz, v int4) WITH (kind = 'timeseries', time_key = 'ts')");
    let commands = [
        "d a A Ac Af Ao Ap b c C config d D dp E es et eu ew f fa fn fp ft fw F Fd Fp Ft g i it l L m n o O",
        "p P Pi Pn Pt rds Rp Rs s S t ti tvs T u v x X y",
    ];
    // One process for each would take long.
    let mut all = psql(&server, "");
    all.args(["-v", "ON_ERROR_STOP=0"]);
    for command in commands.iter().flat_map(|line| line.split(' ')) {
        for suffix in ["", "+", "S", "S+", " *.*", "+ t", " public.*", "S+ pg_catalog.*", " t*", " \"T\""] {
            let letters = if command == "d" { "" } else { command };
            all.args(["-c".to_owned(), format!("\\echo {letters}{suffix}"), "-c".to_owned()]);
            all.arg(format!("\\d{letters}{suffix}"));
        }
    }
    let others = [
        "\\dAc btree integer",
        "\\dAc+ btree",
        "\\dAf btree integer",
        "\\dAf+ btree",
        "\\dAo btree integer_ops",
        "\\dAo+ btree",
        "\\dAp btree integer_ops",
        "\\dAp+ btree",
        "\\dd t",
        "\\ddp",
        "\\dfS+ abs integer",
        "\\doS + integer integer",
        "\\drds tidemark tidemark",
        "\\dconfig w*",
        "\\l",
        "\\l+",
        "\\l tide*",
        "\\z",
        "\\z t",
        "\\sf abs(integer)",
        "\\sf+ now()",
        "\\sv pg_views",
        "\\sv+ pg_tables",
        "\\lo_list",
        "\\conninfo",
        "\\encoding",
        "\\d information_schema.columns",
        "\\d+ tidemark.*",
    ];
    for command in others {
        all.args(["-c", command]);
    }
    let Output { stdout, stderr, .. } = run(&mut all, &missing());
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(!stderr.contains("ERROR") && !stderr.contains("server closed"), "{stderr}");
    assert!(stdout.lines().any(|line| line == "f+ t"), "{stdout}");
    let lines = [
        ("\\doS + integer integer", "pg_catalog|+|integer|integer|integer|add\n"),
        ("\\dfS jsonb_typeof", "pg_catalog|jsonb_typeof|text|jsonb|func\n"),
        ("\\dC bytea", ""),
        ("\\da max", "pg_catalog|max|integer|integer|maximum value of all integer input values\n"),
        ("\\dTS uuid", "pg_catalog|uuid|UUID datatype\n"),
    ];
    for (command, line) in lines {
        let printed = answer(&server, command);
        assert!(printed.contains(line), "{command}: {printed}");
    }
}

#[test]
fn psql_shows_errors_with_their_place() {
    let server = Server::start();
    let mut command = psql(&server, "");
    command.args(["-v", "VERBOSITY=verbose", "-c", "SELECT 1,\n nope"]);
    let output = run(&mut command, &missing());
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.starts_with("ERROR:  42703: column \"nope\" does not exist\nLINE 2:  nope\n         ^\n"),
        "{stderr}"
    );
}

fn connect(server: &Server, more: &str, password: Option<&str>) -> Output {
    let mut command = psql(server, more);
    command.arg("-w").args(["-c", "SELECT current_user"]);
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    run(&mut command, &missing())
}

#[test]
fn psql_proves_its_password_with_and_without_tls() {
    let (server, certificate) = protected();
    let root = format!("sslrootcert={}", certificate.certificate.display());
    for more in [
        "sslmode=disable".to_owned(),
        "sslmode=require channel_binding=disable".to_owned(),
        format!("sslmode=verify-full {root} channel_binding=require"),
        format!("sslmode=verify-full host=localhost {root} channel_binding=require"),
    ] {
        let output = connect(&server, &more, Some(PASSWORD));
        let (stdout, stderr) = texts(&output);
        assert_eq!(stdout, "tidemark\n", "{more}: {stderr}");
    }
    let refused = |more: &str, password: Option<&str>, expected: &str| {
        let output = connect(&server, more, password);
        let (stdout, stderr) = texts(&output);
        assert_eq!((output.status.code(), stdout.as_str()), (Some(2), ""), "{more}");
        assert!(stderr.contains(expected), "{more}: {stderr}");
    };
    let failed = "FATAL:  password authentication failed for user \"tidemark\"";
    refused("sslmode=disable", Some("wrong"), failed);
    refused("sslmode=require", Some("wrong"), failed);
    refused("sslmode=require", Some(""), "no password supplied");
    refused("sslmode=require", None, "no password supplied");
    refused("user=nobody", Some(PASSWORD), "FATAL:  password authentication failed for user \"nobody\"");
    refused("dbname=nowhere", Some(PASSWORD), "FATAL:  database \"nowhere\" does not exist");
    let other = crate::certificate::make(crate::certificate::Key::EllipticCurve);
    let other = format!("sslmode=verify-full sslrootcert={}", other.certificate.display());
    refused(&other, Some(PASSWORD), "certificate verify failed");
}

#[test]
fn a_role_that_was_made_has_its_own_password_and_no_rights() {
    let (server, _certificate) = protected();
    let mut make = psql(&server, "");
    make.env("PGPASSWORD", PASSWORD);
    make.args(["-c", "CREATE ROLE reader LOGIN PASSWORD 'first'", "-c", "CREATE ROLE closed PASSWORD 'x'"]);
    output_of(make, missing());
    let who = |password: &str| texts(&connect(&server, "user=reader", Some(password)));
    assert_eq!(who("first").0, "reader\n");
    assert!(who(PASSWORD).1.contains("password authentication failed for user \"reader\""));
    let closed = texts(&connect(&server, "user=closed", Some("x")));
    assert!(closed.1.contains("FATAL:  role \"closed\" is not permitted to log in"), "{}", closed.1);
    let mut change = psql(&server, "");
    change.env("PGPASSWORD", PASSWORD).args(["-c", "ALTER ROLE reader PASSWORD 'second'"]);
    output_of(change, missing());
    assert_eq!(who("second").0, "reader\n");
    assert!(who("first").1.contains("password authentication failed"));
    // Who is no superuser makes no roles.
    let mut escalate = psql(&server, "user=reader");
    escalate.env("PGPASSWORD", "second").args(["-c", "CREATE ROLE evil SUPERUSER LOGIN"]);
    let output = run(&mut escalate, &missing());
    assert!(texts(&output).1.contains("permission denied"), "{}", texts(&output).1);
    let mut takeover = psql(&server, "user=reader");
    takeover.env("PGPASSWORD", "second").args(["-c", "ALTER ROLE tidemark PASSWORD 'mine'"]);
    let output = run(&mut takeover, &missing());
    assert!(texts(&output).1.contains("permission denied") || texts(&output).1.contains("must be superuser"));
    // psql's \password asks how to compute a verifier, and sends that instead of the password.
    let verifier = "SCRAM-SHA-256$4096:Tc8FhnQKiC6aZN3aKSIP4A==$fU5uzWPmdMuJNAi/CjmZpx727rlkjCU3NqE6g1qbEGM=:\
                    ZqUSLCeCEJgfojSRrVU7vcG3FhHjoj5iKwUGGFlfXNA=";
    let mut change = psql(&server, "user=reader");
    change.env("PGPASSWORD", "second");
    change.args([
        "-c",
        "SHOW password_encryption",
        "-c",
        &format!("ALTER USER reader PASSWORD '{verifier}'"),
    ]);
    assert_eq!(output_of(change, missing()), "scram-sha-256\n");
    assert_eq!(who("from psql").0, "reader\n");
    assert!(who(verifier).1.contains("password authentication failed"));
    let mut broken = psql(&server, "user=reader");
    broken.env("PGPASSWORD", "from psql").args(["-c", "ALTER USER reader PASSWORD 'SCRAM-SHA-256$1:a$b:c'"]);
    assert!(texts(&run(&mut broken, &missing())).1.contains("begins like a SCRAM verifier"));
}
