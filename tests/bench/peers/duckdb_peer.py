"""DuckDB, with a database file; rows sorted when they are loaded, or left in the order of time."""

import time

from peers import arrow
from peers.base import Peer


class Duckdb(Peer):
    """Sorted as questions are asked: by host and time, then it skips what belongs to other hosts."""

    name = "duckdb"
    dialect = "duckdb"
    sorted = True

    def start(self) -> str:
        import duckdb

        self.path = self.settings.directory / "bench.duckdb"
        self.connection = duckdb.connect(str(self.path))
        return duckdb.__version__

    def load(self) -> dict:
        for statement in self.settings.create:
            self.connection.execute(statement)
        columns = self.connection.execute(f"DESCRIBE {self.settings.table}").fetchall()
        types = ", ".join(f"'{name}': '{type_name}'" for name, type_name, *_ in columns)
        file = f"read_csv('{self.settings.csv}', header = false, columns = {{{types}}})"
        started = time.perf_counter()
        table = self.settings.table
        order = f" ORDER BY {self.settings.order}" if self.sorted else ""
        self.connection.execute(f"INSERT INTO {table} SELECT * FROM {file}{order}")
        seconds = time.perf_counter() - started
        rows = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return {"rows": rows, "seconds": seconds}

    def settle(self) -> None:
        for statement in self.settings.settle:
            self.connection.execute(statement)

    def run(self, sql: str) -> tuple[float, int]:
        started = time.perf_counter()
        table = self.connection.sql(sql).to_arrow_table()
        return (time.perf_counter() - started) * 1e3, table.num_rows

    def rows(self, sql: str) -> list[tuple]:
        return arrow.rows(self.connection.sql(sql).to_arrow_table())

    def bytes_on_disk(self) -> int:
        return sum(path.stat().st_size for path in self.settings.directory.glob("bench.duckdb*"))

    def stop(self) -> None:
        self.connection.close()


class DuckdbUnsorted(Duckdb):
    """In the order of the file, which is that of time."""

    name = "duckdb-unsorted"
    sorted = False
