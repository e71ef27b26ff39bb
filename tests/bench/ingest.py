#!/usr/bin/env python3
"""How fast rows come in, next to PostgreSQL where it can do the same.

1. Each case gets a server of its own on an empty directory, and its rows in a file that was made before,
   where the protocol allows for it.
2. `bench load` sends them; its clock runs until all is durable and visible, and it counts the rows.
3. Then flushes and merges are waited for, and what they wrote is counted.
4. Cases that PostgreSQL knows are run there too, in turns (A B A B …).
5. `pgbench` inserts single rows by a prepared statement over 16 connections, in turns as well.

`ingest.json` and `ingest.md` go to the output directory.
"""

import argparse
import dataclasses
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import report, wire
from peers.base import PeerError, Settings
from peers.postgres_peer import Postgres
from peers.tidemark_peer import Tidemark, add_binaries, write_amplification

MIB = 1 << 20
INSERT_TABLE = "CREATE TABLE readings (ts timestamptz NOT NULL, host integer, name text, v double precision)"
DRAW = "\\set h random(1, 4000)\n\\set v random(0, 100)\n"
INSERTS = {
    "INSERT of single rows, prepared, 16 connections": (
        f"{DRAW}INSERT INTO readings VALUES (now(), :h, 'name', :v);\n"
    ),
    "the same, computed from parameters": (
        f"{DRAW}INSERT INTO readings VALUES (now(), :h, 'name_' || :h, :v * 0.5);\n"
    ),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A way of loading: what is sent, and how."""

    name: str
    protocol: str
    connections: int
    extent: tuple[str, ...]
    postgres: bool = False


def cases(options: argparse.Namespace) -> list[Case]:
    hours = ("--hours", str(options.hours))
    usual = ("--hosts", "4000", *hours)
    # About as many rows, of many series that report less often.
    many = ("--hosts", "100000", "--interval", "60s", "--hours", str(max(1, options.hours // 4)))
    late = (*usual, "--late-percent", "10")
    later = (*late, "--late-max", f"{options.hours - 1}h")
    copies = ("--hosts", "4000", "--hours", str(max(1, options.hours // 2)))
    return [
        Case("line, 4,000 series, 2 connections", "line", 2, usual),
        Case("line, 4,000 series, 1 connection", "line", 1, usual),
        Case("line, 100,000 series", "line", 2, many),
        Case("line, 10 % late by up to 5 min", "line", 2, late),
        Case("line, 10 % late by up to hours", "line", 2, later),
        Case("COPY csv, 1 connection", "copy-csv", 1, copies, postgres=True),
        Case("COPY csv, 2 connections", "copy-csv", 2, copies, postgres=True),
        Case("COPY binary, 1 connection", "copy-binary", 1, copies, postgres=True),
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_binaries(parser)
    parser.add_argument("--postgres-bin", default="/usr/lib/postgresql/15/bin")
    parser.add_argument("--postgres-user", default="postgres", help="who runs PostgreSQL when we are root")
    parser.add_argument("--hours", type=int, default=8, help="for how long 4,000 hosts report")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--insert-seconds", type=int, default=20, help="how long pgbench inserts")
    parser.add_argument("--only", help="only cases whose name has this in it")
    parser.add_argument("--out", type=Path, required=True, help="where ingest.json and ingest.md go")
    parser.add_argument("--work", type=Path, help="where data is kept meanwhile")
    return parser.parse_args()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Runs:
    """Servers on empty directories, one after another."""

    def __init__(self, options: argparse.Namespace, work: Path):
        self.options = options
        self.work = work

    def peer(self, kind: type) -> Tidemark | Postgres:
        directory = self.work / kind.name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        of_kind = {
            "binary": self.options.tidemark_binary,
            "arguments": self.options.tidemark_argument,
            "postgres_bin": self.options.postgres_bin,
            "postgres_user": self.options.postgres_user,
        }
        settings = Settings(
            bench=self.options.bench.resolve(),
            directory=directory,
            csv=self.work / "data",
            line=None,
            create=[],
            settle=[],
            options=of_kind,
        )
        peer = kind(settings)
        try:
            peer.start()
        except Exception:
            peer.stop()
            raise
        return peer

    def load(self, kind: type, case: Case, data: Path | None) -> dict:
        peer = self.peer(kind)
        try:
            peer.reset_peak_memory()
            source = ["--file", str(data)] if data else ["--generate", *case.extent]
            command = ["--target", kind.dialect, "--protocol", case.protocol, "--create", *source]
            command += ["--connections", str(case.connections), "--pg", peer.where]
            if kind is Tidemark:
                command += ["--http", peer.http]
            loaded = wire.load(peer.settings, command)
            loaded["peak_memory"] = peer.peak_memory()
            if kind is Tidemark:
                started = time.perf_counter()
                peer.settle()
                loaded["settle_seconds"] = time.perf_counter() - started
                loaded.update(written(peer))
            return loaded
        finally:
            peer.stop()
            shutil.rmtree(peer.settings.directory, ignore_errors=True)

    def insert(self, kind: type, statement: str) -> dict:
        """Single rows by pgbench: 16 connections, a prepared statement."""
        peer = self.peer(kind)
        try:
            options = " WITH (kind = 'timeseries', time_key = 'ts')" if kind is Tidemark else ""
            peer.client.execute(INSERT_TABLE + options)
            script = self.work / "insert.sql"
            script.write_text(statement)
            place = dict(part.split("=") for part in peer.where.split())
            command = ["pgbench", "-n", "-M", "prepared", "-c", "16", "-j", "2", "-f", str(script)]
            command += ["-T", str(self.options.insert_seconds), "-h", place["host"], "-p", place["port"]]
            command += ["-U", place["user"], place["dbname"]]
            finished = subprocess.run(command, capture_output=True, text=True, check=False)
            if finished.returncode != 0:
                raise PeerError(f"pgbench: {finished.stderr.strip()}")
            done = int(re.search(r"actually processed: (\d+)", finished.stdout)[1])
            rate = float(re.search(r"tps = ([\d.]+)", finished.stdout)[1])
            there = peer.client.rows("SELECT count(*) FROM readings")[0][0]
            if there != done:
                raise PeerError(f"{done} rows were inserted and {there} are there")
            return {"rows": done, "rows_per_second": rate}
        finally:
            peer.stop()
            shutil.rmtree(peer.settings.directory, ignore_errors=True)


def written(peer: Tidemark) -> dict:
    """What flushes and merges wrote, and what is left of it."""
    metrics = peer.metrics()
    return {
        "write_amplification": write_amplification(metrics),
        "merges": metrics["tidemark_merges_total"],
        "over_budget": metrics["tidemark_writes_over_budget_total"],
        "bytes_on_disk": peer.bytes_on_disk(),
    }


def make_data(options: argparse.Namespace, work: Path, case: Case) -> Path | None:
    kinds = {"line": "line", "copy-csv": "csv"}
    if case.protocol not in kinds:
        return None
    path = work / "data"
    say(f"{case.name}: making rows")
    command = [options.bench, "generate", "--format", kinds[case.protocol], "--out", path, *case.extent]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return path


def middle(loads: list[dict]) -> dict:
    """The load of the median speed, with the highest of the memory."""
    by_speed = sorted(loads, key=lambda load: load["rows_per_second"])
    chosen = dict(by_speed[len(by_speed) // 2])
    chosen["all_rows_per_second"] = [load["rows_per_second"] for load in loads]
    if "peak_memory" in chosen:
        chosen["peak_memory"] = max(load["peak_memory"] for load in loads)
    return chosen


def measure(options: argparse.Namespace, runs: Runs, work: Path) -> list[dict]:
    measured = []
    made: tuple | None = None
    for case in cases(options):
        if options.only and options.only not in case.name:
            continue
        if made is None or made[0] != (case.protocol, case.extent):
            made = ((case.protocol, case.extent), make_data(options, work, case))
        kinds = [Tidemark, Postgres] if case.postgres else [Tidemark]
        loads: dict[str, list[dict]] = {kind.name: [] for kind in kinds}
        for _ in range(options.rounds):
            for kind in kinds:
                loads[kind.name].append(runs.load(kind, case, made[1]))
        measured.append({"name": case.name, **{name: middle(of) for name, of in loads.items()}})
        say(line_of(measured[-1]))
    for name, statement in INSERTS.items():
        if options.only and options.only not in name:
            continue
        loads = {"tidemark": [], "postgres": []}
        for _ in range(options.rounds):
            for kind in (Tidemark, Postgres):
                loads[kind.name].append(runs.insert(kind, statement))
        measured.append({"name": name, **{peer: middle(of) for peer, of in loads.items()}})
        say(line_of(measured[-1]))
    return measured


def line_of(row: dict) -> str:
    ours, theirs = row["tidemark"], row.get("postgres")
    ratio = f"{ours['rows_per_second'] / theirs['rows_per_second']:.2f}×" if theirs else ""
    memory = f"{ours['peak_memory'] / MIB:.0f}" if "peak_memory" in ours else ""
    slow = f"{ours['answer_ms_p99']:.0f}" if "answer_ms_p99" in ours else ""
    amplification = f"{ours['write_amplification']:.2f}" if "write_amplification" in ours else ""
    disk = f"{ours['bytes_on_disk'] / MIB:.0f}" if "bytes_on_disk" in ours else ""
    other = f"{theirs['rows_per_second']:,.0f}" if theirs else ""
    cells = [row["name"], f"{ours['rows_per_second']:,.0f}", other, ratio, slow, memory, amplification, disk]
    return f"| {' | '.join(cells)} |"


def markdown(measured: list[dict]) -> str:
    names = ["case", "rows/s", "PostgreSQL", "÷", "p99 answer ms", "peak MiB", "write amplification", "disk MiB"]
    head = f"| {' | '.join(names)} |\n| --- {'| ---: ' * (len(names) - 1)}|\n"
    return head + "\n".join(map(line_of, measured)) + "\n"


def main() -> int:
    options = arguments()
    work = (options.work or Path(tempfile.mkdtemp(prefix="tidemark-ingest-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    # PostgreSQL runs as another user and must be able to pass through.
    work.chmod(0o755)
    try:
        measured = measure(options, Runs(options, work), work)
    except (PeerError, subprocess.CalledProcessError) as error:
        say(f"ingest.py: {error}")
        return 1
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)
        else:
            (work / "data").unlink(missing_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    everything = {"machine": report.machine(), "rounds": options.rounds, "cases": measured}
    (options.out / "ingest.json").write_text(json.dumps(everything, indent=2) + "\n")
    (options.out / "ingest.md").write_text(markdown(measured))
    print(markdown(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
