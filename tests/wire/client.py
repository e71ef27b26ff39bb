"""psycopg 3 against a server: every line asserts what PostgreSQL 15 does.

    client.py session <connection string> <what a table needs at its end>
    client.py password <connection string> <password> <certificate>
"""

import datetime
import math
import sys
import threading
import uuid
from decimal import Decimal

try:
    import psycopg
except ImportError:
    sys.exit("psycopg is needed for this test: pip install 'psycopg[binary]', or start the tests by tests/run")
from psycopg import errors, pq
from psycopg.types.json import Json, Jsonb

UTC = datetime.timezone.utc

VALUES = [
    ("bool", True),
    ("int2", -32768),
    ("int4", 2147483647),
    ("int8", -9223372036854775808),
    ("float4", 1.5),
    ("float8", 0.1),
    ("float8", math.inf),
    ("float8", -math.inf),
    ("numeric", Decimal("-12345678901234567890.123456789")),
    ("numeric", Decimal("0")),
    ("text", "ä'\"\\ ☃"),
    ("text", ""),
    ("varchar", "short"),
    ("bytea", b"\x00\xff'\\"),
    ("date", datetime.date(2024, 2, 29)),
    ("timestamp", datetime.datetime(2024, 2, 29, 23, 59, 59, 999999)),
    ("timestamptz", datetime.datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)),
    ("interval", datetime.timedelta(days=3, hours=4, microseconds=5)),
    ("interval", datetime.timedelta(days=-1)),
    ("uuid", uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    ("bool[]", [True, None, False]),
    ("int4[]", [1, None, -3]),
    ("int8[]", []),
    ("float8[]", [0.1, math.inf]),
    ("numeric[]", [Decimal("1.5"), None]),
    ("text[]", ["a,b", None, "NULL", "", '"', "\\", "{}"]),
    ("date[]", [datetime.date(2000, 1, 1), None]),
    ("timestamptz[]", [datetime.datetime(2024, 1, 1, tzinfo=UTC), None]),
    ("uuid[]", [uuid.UUID(int=0)]),
]


def fails(state, run):
    """Runs what fails with this SQLSTATE; the error."""
    try:
        run()
    except psycopg.Error as error:
        assert error.sqlstate == state, f"{error.sqlstate} is not {state}: {error}"
        return error
    raise AssertionError(f"no error {state}")


def types(connection):
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        for name, value in VALUES:
            for placeholder in ("%s", "%t", "%b"):
                sql = f"SELECT {placeholder}::{name}, NULL::{name}"
                got = cursor.execute(sql, [value]).fetchone()
                assert got == (value, None), f"{sql}: {got} is not {value!r} (binary={binary})"
        assert math.isnan(cursor.execute("SELECT %b::float8", [math.nan]).fetchone()[0])
        for document in ({"a": [1, 2.5, None, True], "b": {"c": "ä"}}, [], "s", 1, None):
            assert cursor.execute("SELECT %s::json", [Json(document)]).fetchone()[0] == document
            assert cursor.execute("SELECT %s::jsonb", [Jsonb(document)]).fetchone()[0] == document
        # What Python's types cannot hold is an error of the client, and was sent all the same.
        fails(None, lambda: cursor.execute("SELECT 'infinity'::timestamptz").fetchone())
        text = cursor.execute("SELECT 'infinity'::timestamptz::text, '-infinity'::date::text").fetchone()
        assert text == ("infinity", "-infinity"), text
    cursor = connection.execute("SELECT 1::int4 AS a, 'x'::varchar(7) AS b, 1.5::numeric(10,2) AS c")
    description = [(it.name, it.type_code, it.precision, it.scale) for it in cursor.description]
    assert [it[:2] for it in description] == [("a", 23), ("b", 1043), ("c", 1700)], description


def statements(connection, table_options):
    connection.execute(f"CREATE TABLE t (ts timestamptz, v int4, w text) {table_options}")
    cursor = connection.cursor()
    cursor.execute("INSERT INTO t VALUES (%s, %s, %s)", [datetime.datetime(2024, 1, 1, tzinfo=UTC), 1, "a"])
    assert cursor.statusmessage == "INSERT 0 1", cursor.statusmessage
    rows = [(datetime.datetime(2024, 1, day, tzinfo=UTC), day, None) for day in range(2, 30)]
    cursor.executemany("INSERT INTO t VALUES (%s, %s, %s)", rows)
    assert cursor.rowcount == 28, cursor.rowcount
    with connection.pipeline():
        one = connection.execute("SELECT count(*) FROM t")
        other = connection.execute("SELECT v FROM t WHERE v = %s", [7])
    assert (one.fetchone(), other.fetchone()) == ((29,), (7,))
    # The same statement again and again becomes a prepared one.
    for number in range(10):
        got = connection.execute("SELECT v, w FROM t WHERE v = %s", [number + 1], prepare=True).fetchall()
        assert got == [(number + 1, "a" if number == 0 else None)], got
    with connection.pipeline() as pipeline:
        connection.execute("INSERT INTO t VALUES ('2025-01-01', 1, 'gone')")
        connection.execute("SELECT 1 / v FROM t WHERE v - v = 0 AND 1 / (v - v) = 1")
        fails("22012", pipeline.sync)
    assert connection.execute("SELECT count(*) FROM t WHERE w = 'gone'").fetchone() == (0,)


def upserts(connection, table_options):
    keyed = table_options.replace("time_key", "dedup_key = 'ts, v', time_key")
    unique = "" if table_options else ", UNIQUE (ts, v)"
    connection.execute(f"CREATE TABLE u (ts timestamptz, v int4, n int4, w text{unique}) {keyed}")
    add = (
        "INSERT INTO u VALUES (%s, %s, %s, %s) ON CONFLICT (ts, v) "
        "DO UPDATE SET n = u.n + excluded.n, w = excluded.w"
    )
    time = datetime.datetime(2024, 1, 1, tzinfo=UTC)
    rows = [(time, number % 50, 1, f"row {number}") for number in range(200)]
    cursor = connection.cursor()
    cursor.executemany(add, rows)
    assert cursor.rowcount == 200, cursor.rowcount
    with connection.transaction():
        cursor.executemany(add, rows)
        assert connection.execute("SELECT count(*), sum(n), max(w) FROM u").fetchone() == (50, 400, "row 199")
    cursor.executemany(add + " WHERE excluded.v < 10 RETURNING v, n", rows[:50], returning=True)
    returned = []
    while True:
        returned += cursor.fetchall()
        if not cursor.nextset():
            break
    assert returned == [(number, 9) for number in range(10)], returned
    nothing = "INSERT INTO u VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"
    cursor.executemany(nothing, [(time, number, 1, None) for number in range(45, 55)])
    assert cursor.rowcount == 5, cursor.rowcount
    # An error takes what came before it in the pipeline with it.
    fails("22012", lambda: cursor.executemany(add.replace("u.n +", "1 / (excluded.n - 3) +"), [
        (time, 60, 1, None), (time, 1, 2, None), (time, 1, 3, None)
    ]))
    assert connection.execute("SELECT count(*), sum(n) FROM u").fetchone() == (55, 415)


def copy(connection):
    cursor = connection.cursor()
    with cursor.copy("COPY t (ts, v, w) FROM STDIN") as copy:
        for number in range(10_000):
            copy.write_row((datetime.datetime(2024, 6, 1, tzinfo=UTC), number, "tab\tline\nback\\slash"))
    assert cursor.rowcount == 10_000, cursor.rowcount
    with cursor.copy("COPY (SELECT v, w FROM t WHERE ts = '2024-06-01' ORDER BY v) TO STDOUT") as copy:
        copy.set_types(["int4", "text"])
        rows = list(copy.rows())
    assert rows == [(number, "tab\tline\nback\\slash") for number in range(10_000)]
    with cursor.copy("COPY (SELECT v, w FROM t WHERE v = 7) TO STDOUT (FORMAT csv, HEADER)") as copy:
        text = b"".join(bytes(part) for part in copy).decode()
    assert text.startswith("v,w\n7,"), text

    def broken():
        with cursor.copy("COPY t FROM STDIN") as copy:
            copy.write("2024-06-02\tx\ty\n")

    error = fails("22P02", broken)
    assert "COPY t, line 1, column v" in error.diag.context, error.diag.context

    def given_up():
        with cursor.copy("COPY t FROM STDIN") as copy:
            copy.write("2024-06-02\t1\ty\n")
            raise KeyError("mine")

    try:
        given_up()
        raise AssertionError("the error is the client's own")
    except KeyError:
        pass
    assert connection.execute("SELECT count(*) FROM t WHERE ts = '2024-06-02'").fetchone() == (0,)


COPIED = [
    ("ts", "timestamptz", [datetime.datetime(2024, 1, 1, 1, 2, 3, 4, UTC), datetime.datetime(2024, 1, 2, tzinfo=UTC)]),
    ("a", "bool", [True, False]),
    ("b", "int2", [-32768, 32767]),
    ("c", "int4", [-(2**31), 2**31 - 1]),
    ("d", "int8", [-(2**63), 2**63 - 1]),
    ("e", "float4", [1.5, -math.inf]),
    ("f", "float8", [0.1, math.inf]),
    ("g", "numeric", [Decimal("-1234567890.123456789"), Decimal("0")]),
    ("h", "text", ["tab\tline\nback\\slash", ""]),
    ("i", "varchar", ["ä☃", "x"]),
    ("j", "bytea", [b"\x00\xff", b""]),
    ("k", "date", [datetime.date(2024, 2, 29), datetime.date(1, 1, 1)]),
    ("l", "timestamp", [datetime.datetime(2024, 2, 29, 23, 59, 59, 999999), datetime.datetime(1970, 1, 1)]),
    ("m", "interval", [datetime.timedelta(days=3, microseconds=5), datetime.timedelta(days=-1)]),
    ("n", "uuid", [uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), uuid.UUID(int=0)]),
    ("o", "int4[]", [[1, None, -3], []]),
    ("p", "text[]", [["a,b", None, "NULL", ""], ["x"]]),
    ("q", "float8[]", [[0.5], [None]]),
    ("r", "timestamptz[]", [[datetime.datetime(2024, 1, 1, tzinfo=UTC)], []]),
]


def binary_copy(connection, table_options):
    columns = ", ".join(f"{name} {type_name}" for name, type_name, _ in COPIED)
    connection.execute(f"CREATE TABLE every_type ({columns}) {table_options}")
    types = [type_name for _, type_name, _ in COPIED]
    rows = [tuple(values[at] for _, _, values in COPIED) for at in (0, 1)]
    rows.append((datetime.datetime(2024, 1, 3, tzinfo=UTC), *[None] * (len(COPIED) - 1)))
    cursor = connection.cursor()
    with cursor.copy("COPY every_type FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
    assert cursor.rowcount == 3, cursor.rowcount
    assert connection.execute("SELECT * FROM every_type ORDER BY ts").fetchall() == rows
    with cursor.copy("COPY (SELECT * FROM every_type ORDER BY ts) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(types)
        assert list(copy.rows()) == rows
    # What goes out goes in.
    with cursor.copy("COPY every_type TO STDOUT (FORMAT binary)") as copy:
        data = b"".join(bytes(part) for part in copy)
    with cursor.copy("COPY every_type FROM STDIN (FORMAT binary)") as copy:
        copy.write(data)
    twice = connection.execute("SELECT * FROM every_type ORDER BY ts").fetchall()
    assert twice == [row for row in rows for _ in (0, 1)], twice
    with cursor.copy("COPY t (ts, v) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["timestamptz", "int4"])
        for number in range(50_000):
            copy.write_row((datetime.datetime(2024, 6, 3, tzinfo=UTC), number))
    with cursor.copy("COPY (SELECT v FROM t WHERE ts = '2024-06-03') TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int4"])
        assert sum(row[0] for row in copy.rows()) == 50_000 * 49_999 // 2

    def wrong_type():
        with cursor.copy("COPY t (ts, v) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["timestamptz", "int8"])
            copy.write_row((datetime.datetime(2024, 6, 4, tzinfo=UTC), 1))

    error = fails("22P03", wrong_type)
    assert error.diag.message_primary == "incorrect binary data format"
    assert error.diag.context == "COPY t, line 1, column v", error.diag.context


def transactions(connection):
    connection.autocommit = False
    connection.execute("INSERT INTO t VALUES ('2024-07-01', 1, 'gone')")
    assert connection.info.transaction_status == pq.TransactionStatus.INTRANS
    connection.rollback()
    with connection.transaction():
        connection.execute("INSERT INTO t VALUES ('2024-07-01', 2, 'kept')")
        try:
            with connection.transaction():
                connection.execute("INSERT INTO t VALUES ('2024-07-01', 3, 'gone')")
                connection.execute("SELECT * FROM missing")
        except errors.UndefinedTable as error:
            assert error.diag.message_primary == 'relation "missing" does not exist'
            assert error.diag.statement_position == "15", error.diag.statement_position
            assert error.diag.severity_nonlocalized == "ERROR"
    assert connection.execute("SELECT v FROM t WHERE ts = '2024-07-01'").fetchall() == [(2,)]
    connection.rollback()
    fails("42703", lambda: connection.execute("SELECT nope FROM t"))
    fails("25P02", lambda: connection.execute("SELECT 1"))
    assert connection.info.transaction_status == pq.TransactionStatus.INERROR
    connection.rollback()
    connection.read_only = True
    fails("25006", lambda: connection.execute("INSERT INTO t VALUES ('2024-07-01', 1, 'x')"))
    connection.rollback()
    connection.read_only = None
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    assert connection.execute("SHOW transaction_isolation").fetchone() == ("repeatable read",)
    connection.rollback()
    connection.isolation_level = None
    connection.autocommit = True


def settings(connection):
    connection.execute("SET application_name = 'check'")
    assert connection.info.parameter_status("application_name") == "check"
    connection.execute("SET TIME ZONE 'Europe/Berlin'")
    assert connection.info.parameter_status("TimeZone") == "Europe/Berlin"
    value = connection.execute("SELECT '2024-07-01 12:00'::timestamptz").fetchone()[0]
    assert value.utcoffset() == datetime.timedelta(hours=2), value
    connection.execute("DISCARD ALL")
    assert connection.execute("SHOW application_name").fetchone() == ("",)
    assert connection.info.parameter_status("TimeZone") == "Etc/UTC"
    fails("42704", lambda: connection.execute("SET nonsense = 1"))
    fails("22023", lambda: connection.execute("SET TimeZone = 'Middle/Earth'"))
    connection.execute("SET statement_timeout = '50ms'")
    fails("57014", lambda: connection.execute("SELECT count(*) FROM generate_series(1, 100000000000) AS t (g)"))
    connection.execute("RESET statement_timeout")


def large(connection):
    sql = "SELECT g, 'x'::text FROM generate_series(1, 300000) AS t (g)"
    count = 0
    for row in connection.cursor().stream(sql):
        count += 1
        assert row[0] == count
    assert count == 300_000
    # Cancelled from another thread; a cancel that comes before the statement runs is for nothing.
    over = threading.Event()

    def cancel():
        while not over.wait(0.01):
            connection.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    fails("57014", lambda: connection.execute("SELECT count(*) FROM generate_series(1, 100000000000) AS t (g)"))
    over.set()
    canceller.join()
    assert connection.execute("SELECT 1").fetchone() == (1,)


def session(connection_string, table_options):
    with psycopg.connect(connection_string, autocommit=True) as connection:
        connection.prepare_threshold = 2
        assert connection.info.server_version // 10000 == 15
        types(connection)
        statements(connection, table_options)
        upserts(connection, table_options)
        copy(connection)
        binary_copy(connection, table_options)
        transactions(connection)
        settings(connection)
        large(connection)


def password(connection_string, word, certificate):
    plain = {"sslmode": "disable", "password": word}
    tls = {"host": "localhost", "sslmode": "verify-full", "sslrootcert": certificate, "password": word}
    direct = {"sslnegotiation": "direct"} if pq.version() >= 170000 else {}
    for options in (plain, tls, tls | {"channel_binding": "require"}, tls | direct):
        with psycopg.connect(connection_string, **options) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("tidemark",)
            assert connection.pgconn.ssl_in_use == (options is not plain)
    for options in (plain, tls):
        try:
            psycopg.connect(connection_string, **options | {"password": "wrong"})
            raise AssertionError("a wrong password is accepted")
        except psycopg.OperationalError as error:
            assert 'password authentication failed for user "tidemark"' in str(error), error


{"session": session, "password": password}[sys.argv[1]](*sys.argv[2:])
print("all is well")
