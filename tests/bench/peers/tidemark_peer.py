"""Tidemark: a server of our own from a binary, or one that already runs."""

import argparse
import subprocess
import time
import urllib.request
from pathlib import Path

from peers import wire
from peers.base import Peer, PeerError, directory_bytes
from peers.postgres_peer import free_port

# Idle memtables are flushed after 5 s; then merges follow.
QUIET_SECONDS = 10
SETTLE_SECONDS_MAX = 600


def add_binaries(parser: argparse.ArgumentParser) -> None:
    """The options of a script that starts servers of its own."""
    target = Path(__file__).resolve().parents[3] / "target/release"
    parser.add_argument("--bench", type=Path, default=target / "bench", help="the bench binary")
    parser.add_argument("--tidemark-binary", default=str(target / "tidemark"))
    parser.add_argument("--tidemark-argument", action="append", default=[], help="given to the server")


def write_amplification(metrics: dict[str, float]) -> float:
    """What flushes and merges wrote, against what flushes alone wrote."""
    flushed = metrics["tidemark_flush_bytes_total"]
    return (flushed + metrics["tidemark_merge_written_bytes_total"]) / flushed if flushed else 0


class Tidemark(Peer):
    name = "tidemark"
    dialect = "tidemark"
    server = None
    client = None

    def start(self) -> str:
        options = self.settings.options
        if options["binary"] is None:
            self.where, self.http = options["pg"], options["http"]
            self.data = Path(options["data"]) if options["data"] else None
            self.client = wire.Client(self.where)
        else:
            self.launch(options["binary"])
        return self.client.rows("SELECT version()")[0][0]

    def launch(self, binary: str) -> None:
        self.data = self.settings.directory / "data"
        log = self.settings.directory / "server.log"
        port, http_port = free_port(), free_port()
        self.http = f"127.0.0.1:{http_port}"
        self.where = f"host=127.0.0.1 port={port} user=tidemark dbname=tidemark"
        command = [binary, "--data-dir", str(self.data), "--pg-listen", f"127.0.0.1:{port}"]
        command += ["--http-listen", self.http, *self.settings.options["arguments"]]
        with log.open("w") as output:
            self.server = subprocess.Popen(command, stdout=output, stderr=output)
        self.client = wire.wait_for(self.where, self.server, log)

    def load(self) -> dict:
        if self.settings.table != "cpu":
            return wire.copy(self.client, self.settings)
        protocol = self.settings.options["protocol"]
        data = self.settings.line if protocol == "line" else self.settings.csv
        arguments = ["--target", "tidemark", "--protocol", protocol, "--create", "--file", str(data)]
        arguments += ["--pg", self.where, "--http", self.http, *self.settings.options["load"]]
        return wire.load(self.settings, arguments)

    def settle(self) -> None:
        """Waits until flushes and merges are over: until no file has changed for a while."""
        for statement in self.settings.settle:
            self.client.execute(statement)
        if self.data is None:
            time.sleep(2 * QUIET_SECONDS)
            return
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        before, since = None, time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            if time.monotonic() > deadline:
                raise PeerError(f"files still change after {SETTLE_SECONDS_MAX} s")
            time.sleep(0.5)
            now = sorted(str(path) for path in self.data.rglob("*.parquet"))
            if now != before:
                before, since = now, time.monotonic()

    def run(self, sql: str) -> tuple[float, int]:
        return self.client.run(sql)

    def rows(self, sql: str) -> list[tuple]:
        return self.client.rows(sql)

    def metrics(self) -> dict[str, float]:
        """What the server counts, by the names with labels."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return {line.split()[0]: float(line.split()[1]) for line in lines if line[0] != "#"}

    def bytes_on_disk(self) -> int:
        """The segments; the log keeps a fixed amount of space and is not part of the table."""
        return directory_bytes(self.data, "*.parquet") if self.data else 0

    def segments(self) -> str | None:
        """The directory with the table's segments: that of the collection with the most bytes."""
        if self.data is None:
            return None
        directories = {path.parent for path in self.data.rglob("*.parquet")}
        return str(max(directories, key=directory_bytes)) if directories else None

    def process_ids(self) -> list[int]:
        if self.server:
            return [self.server.pid]
        process_id = self.settings.options["process"]
        return [process_id] if process_id else []

    def stop(self) -> None:
        if self.client:
            self.client.close()
        if self.server:
            self.server.terminate()
            self.server.wait(timeout=120)
