"""The PostgreSQL protocol by libpq, all rows fetched in binary.

libpq and not a cursor of Python: turning rows into Python objects would take longer than most
queries and would be counted as the server's time.
"""

import json
import struct
import subprocess
import time
from pathlib import Path

import psycopg
from psycopg import pq

from peers.base import PeerError, Settings

POSTGRES_EPOCH_US = 946_684_800_000_000
BINARY = 1
COPY_BYTES = 1 << 18


class Client:
    def __init__(self, parameters: str):
        self.connection = psycopg.connect(parameters, autocommit=True)
        self.execute("SET TIME ZONE 'UTC'")

    def execute(self, sql: str) -> pq.PGresult:
        result = self.connection.pgconn.exec_params(sql.encode(), None, result_format=BINARY)
        if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            raise PeerError(result.error_message.decode().strip())
        return result

    def run(self, sql: str) -> tuple[float, int]:
        started = time.perf_counter()
        result = self.execute(sql)
        return (time.perf_counter() - started) * 1e3, result.ntuples

    def rows(self, sql: str) -> list[tuple]:
        result = self.execute(sql)
        columns = [(at, decoder(result.ftype(at))) for at in range(result.nfields)]
        return [
            tuple(
                None if result.get_value(row, at) is None else decode(result.get_value(row, at))
                for at, decode in columns
            )
            for row in range(result.ntuples)
        ]

    def close(self) -> None:
        self.connection.close()


def decoder(type_oid: int):
    """How to read the binary form of a type."""
    integer = {21: ">h", 23: ">i", 20: ">q"}.get(type_oid)
    if integer:
        return lambda raw: struct.unpack(integer, raw)[0]
    if type_oid in (1114, 1184):
        return lambda raw: (struct.unpack(">q", raw)[0] + POSTGRES_EPOCH_US) * 1000
    if type_oid in (700, 701):
        return lambda raw: struct.unpack(">f" if type_oid == 700 else ">d", raw)[0]
    if type_oid in (25, 1043, 19):
        return lambda raw: raw.decode()
    raise PeerError(f"cannot read a column of the type with OID {type_oid}")


def wait_for(parameters: str, process: subprocess.Popen, log: Path, seconds: float = 60) -> Client:
    """Connects as soon as the server that was just started takes connections."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return Client(parameters)
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-2000:]
                raise PeerError(f"the server does not take connections: {error}\n{tail}") from error
            time.sleep(0.05)


def load(settings: Settings, arguments: list[str]) -> dict:
    """Loads by `bench load`, which checks every answer and the number of rows afterwards."""
    report = settings.directory / "load.json"
    command = [str(settings.bench), "load", "--json", str(report), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise PeerError(f"bench load: {finished.stderr.strip()}")
    return json.loads(report.read_text())


def copy(client: Client, settings: Settings) -> dict:
    """Makes the table and loads the file by a COPY."""
    for statement in settings.create:
        client.execute(statement)
    before = time.perf_counter()
    with client.connection.cursor() as cursor, settings.csv.open("rb") as file:
        with cursor.copy(f"COPY {settings.table} FROM STDIN (FORMAT csv)") as copied:
            while block := file.read(COPY_BYTES):
                copied.write(block)
    seconds = time.perf_counter() - before
    return {"rows": client.rows(f"SELECT count(*) FROM {settings.table}")[0][0], "seconds": seconds}
