"""chDB: ClickHouse as a library, with a MergeTree table in a directory."""

import io
import time

import pyarrow

from peers import arrow
from peers.base import Peer


class Chdb(Peer):
    name = "chdb"
    dialect = "clickhouse"

    def start(self) -> str:
        import chdb.session

        self.session = chdb.session.Session(str(self.settings.directory))
        return self.text("SELECT version()")

    def text(self, sql: str) -> str:
        return str(self.session.query(sql, "TabSeparated")).strip()

    def load(self) -> dict:
        for statement in self.settings.create:
            self.session.query(statement)
        structure = self.text(
            "SELECT arrayStringConcat(groupArray(concat(name, ' ', type)), ', ') FROM"
            f" (SELECT name, type FROM system.columns WHERE table = '{self.settings.table}'"
            " AND database = currentDatabase() ORDER BY position) FORMAT TabSeparatedRaw"
        )
        escaped = structure.replace("'", "\\'")
        started = time.perf_counter()
        self.session.query(
            f"INSERT INTO {self.settings.table} SELECT * FROM file('{self.settings.csv}', 'CSV', '{escaped}')"
            " SETTINGS date_time_input_format = 'best_effort'"
        )
        seconds = time.perf_counter() - started
        return {"rows": int(self.text(f"SELECT count() FROM {self.settings.table}")), "seconds": seconds}

    def settle(self) -> None:
        for statement in self.settings.settle:
            self.session.query(statement)

    def run(self, sql: str) -> tuple[float, int]:
        started = time.perf_counter()
        # Its own format, which costs it least.
        result = self.session.query(sql, "Native")
        return (time.perf_counter() - started) * 1e3, result.size()

    def rows(self, sql: str) -> list[tuple]:
        result = self.session.query(sql, "ArrowStream")
        table = pyarrow.ipc.open_stream(io.BytesIO(result.bytes())).read_all()
        # Instants in whole seconds come as plain numbers.
        for at, column in enumerate(self.text(f"DESCRIBE ({sql})").splitlines()):
            if column.split("\t")[1].startswith("DateTime("):
                instants = table.column(at).cast(pyarrow.int64()).cast(pyarrow.timestamp("s"))
                table = table.set_column(at, table.column_names[at], instants)
        return arrow.rows(table)

    def bytes_on_disk(self) -> int:
        # The directory also keeps parts that were merged away and the library's own logs.
        of_table = f"active AND table = '{self.settings.table}'"
        return int(self.text(f"SELECT sum(bytes_on_disk) FROM system.parts WHERE {of_table}"))

    def stop(self) -> None:
        self.session.close()
