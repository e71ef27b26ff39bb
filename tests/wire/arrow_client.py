"""ADBC, connectorx and polars: clients that read results by COPY in binary, into Arrow's columns.

    arrow_client.py <URI> <what a table needs at its end>
"""

import datetime
import sys
from decimal import Decimal

try:
    import adbc_driver_postgresql.dbapi as adbc
    import connectorx
    import polars
    import pyarrow
except ImportError as error:
    sys.exit(f"{error}: pip install -r tests/requirements.txt, or start the tests by tests/run")

UTC = datetime.timezone.utc
FIRST = datetime.datetime(2024, 1, 1, tzinfo=UTC)
SECOND = datetime.datetime(2024, 1, 2, tzinfo=UTC)
THIRD = datetime.datetime(2024, 1, 3, tzinfo=UTC)

COLUMNS = [
    ("ts", "timestamptz"),
    ("a", "int2"),
    ("b", "int4"),
    ("c", "int8"),
    ("d", "float4"),
    ("e", "float8"),
    ("f", "text"),
    ("g", "bool"),
    ("h", "bytea"),
    ("i", "date"),
    ("j", "timestamp"),
    ("k", "numeric"),
    ("m", "int4[]"),
]

ROW = {
    "ts": FIRST,
    "a": 1,
    "b": 2,
    "c": 3,
    "d": 1.5,
    "e": 2.5,
    "f": "ä",
    "g": True,
    "h": b"\x00\xff",
    "i": datetime.date(2024, 2, 29),
    "j": datetime.datetime(2024, 1, 1, 1, 2, 3),
    "k": "1.25",
    "m": [1, None],
}


def with_adbc(uri, table_options):
    columns = ", ".join(f"{name} {type_name}" for name, type_name in COLUMNS)
    with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE r ({columns}) {table_options}")
        cursor.execute(
            "INSERT INTO r VALUES ('2024-01-01', 1, 2, 3, 1.5, 2.5, 'ä', true, '\\x00ff', '2024-02-29', "
            "'2024-01-01 01:02:03', 1.25, '{1,NULL}')"
        )
        cursor.execute("INSERT INTO r (ts) VALUES ('2024-01-02')")
        cursor.execute("SELECT * FROM r ORDER BY ts")
        rows = cursor.fetch_arrow_table().to_pylist()
        assert rows == [ROW, {name: SECOND if name == "ts" else None for name in ROW}], rows
        cursor.execute("SELECT count(*) FROM r WHERE b = $1", (2,))
        assert cursor.fetchall() == [(1,)]
        # Tables go in by COPY in binary too.
        table = pyarrow.table(
            {
                "ts": pyarrow.array([THIRD], pyarrow.timestamp("us", "UTC")),
                "b": pyarrow.array([7], pyarrow.int32()),
                "f": pyarrow.array(["ingested"]),
            }
        )
        assert cursor.adbc_ingest("r", table, mode="append") == 1
        schema = connection.adbc_get_table_schema("r")
        assert schema.names == [name for name, _ in COLUMNS], schema


def with_polars(uri):
    query = "SELECT ts, a, b, c, d, e, f, g, i, j FROM r ORDER BY ts"
    for engine in ("adbc", "connectorx"):
        frame = polars.read_database_uri(query, uri, engine=engine)
        assert frame.height == 3
        first = frame.row(0, named=True)
        assert first == {name: ROW[name] for name in first}, (engine, first)
        assert frame["b"].to_list() == [2, None, 7], engine
        assert frame["f"].to_list() == ["ä", None, "ingested"], engine


def with_connectorx(uri):
    for protocol in ("binary", "csv", "cursor"):
        table = connectorx.read_sql(uri, "SELECT b, k, f FROM r", return_type="arrow", protocol=protocol)
        assert sorted(table.column("b").to_pylist(), key=str) == [2, 7, None], protocol
        assert [Decimal(str(value)) for value in table.column("k").to_pylist() if value] == [Decimal("1.25")]
    parts = connectorx.read_sql(
        uri, "SELECT b, f FROM r WHERE b IS NOT NULL", return_type="arrow", partition_on="b", partition_num=2
    )
    assert sorted(parts.column("b").to_pylist()) == [2, 7], parts


def main(uri, table_options):
    with_adbc(uri, table_options)
    with_polars(uri)
    with_connectorx(uri)
    print("all is well")


main(*sys.argv[1:])
