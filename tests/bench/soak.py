#!/usr/bin/env python3
"""Rows that keep coming while others ask: for minutes, or for as long as one likes.

1. A server on an empty directory gets a table whose rows live for some hours of their own time, in
   partitions of an hour; `bench load` sends rows at a steady pace, so that partitions come, are merged, and
   go. Its answers' times are the stalls of writers.
2. Meanwhile one client asks dashboards' questions, one after another, and another looks at the server's
   memory, disk and counters every few seconds.
3. When no more rows come, the same questions are put again, at rest.
4. At the end every row that must be there is there: as many as hosts have reported since the oldest partition.

The exit status is 1 when something failed, rows are missing, or memory grew: the median of the last fifth
against that of the second fifth.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from peers import report, wire
from peers.base import PeerError, Settings, directory_bytes, status_bytes
from peers.tidemark_peer import Tidemark, add_binaries, write_amplification

MIB = 1 << 20
HOSTS = 4000
INTERVAL_SECONDS = 10
ROWS_PER_HOUR = HOSTS * 3600 // INTERVAL_SECONDS
SAMPLE_SECONDS = 5
REST_ROUNDS = 10
TAGS = "hostname region datacenter rack os arch team service service_version service_environment".split()
METRICS = "user system idle nice iowait irq softirq steal guest guest_nice".split()
QUESTIONS = {
    "newest hour of a host, by minute": (
        "SELECT date_trunc('minute', time) AS minute, max(usage_user) FROM cpu "
        "WHERE hostname = 'host_{host}' AND time >= timestamptz '{newest}' - interval '1 hour' "
        "GROUP BY minute ORDER BY minute"
    ),
    "newest hour of all hosts": (
        "SELECT hostname, avg(usage_user) FROM cpu "
        "WHERE time >= timestamptz '{newest}' - interval '1 hour' GROUP BY hostname"
    ),
    "hours of eight hosts": (
        "SELECT date_trunc('hour', time) AS hour, max(usage_user), max(usage_idle) FROM cpu "
        "WHERE hostname IN ('host_1','host_7','host_99','host_512','host_1024','host_2048','host_3000','host_3999') "
        "GROUP BY hour ORDER BY hour"
    ),
    "last row of each host": "SELECT DISTINCT ON (hostname) hostname, time, usage_user FROM cpu ORDER BY hostname, time DESC",
    "all": "SELECT count(*), sum(usage_user) FROM cpu",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_binaries(parser)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rows-per-second", type=int, default=100_000)
    parser.add_argument("--batch-rows", type=int, default=2_000)
    parser.add_argument("--late-percent", type=float, default=5)
    parser.add_argument("--ttl-hours", type=int, default=6, help="how long rows live, in their own time")
    parser.add_argument("--growth-max", type=float, default=1.15, help="how much memory may grow")
    parser.add_argument("--out", type=Path, required=True, help="where soak.json goes")
    parser.add_argument("--work", type=Path, help="where data is kept meanwhile")
    return parser.parse_args()


def create(ttl_hours: int) -> str:
    columns = ["time timestamptz(9) NOT NULL", *(f"{tag} SYMBOL" for tag in TAGS)]
    columns += [f"usage_{metric} double precision" for metric in METRICS]
    return (
        f"CREATE TABLE cpu ({', '.join(columns)}) WITH (kind = 'timeseries', time_key = 'time', "
        f"partition_by = '1 hour', series_key = 'hostname', ttl = '{ttl_hours} hours')"
    )


def ask_all(client: wire.Client) -> list[tuple[str, float]]:
    """Puts each question once, about the newest rows; how long the answers took."""
    newest = client.rows("SELECT max(time)::text FROM cpu")[0][0]
    if newest is None:
        return []
    host = time.monotonic_ns() % HOSTS
    return [
        (name, client.run(question.format(host=host, newest=newest))[0]) for name, question in QUESTIONS.items()
    ]


class Watch:
    """Looks at the server until it is told to stop."""

    def __init__(self, peer: Tidemark):
        self.peer = peer
        self.ended = threading.Event()
        self.failure: str | None = None
        self.samples: list[dict] = []
        self.times: dict[str, list[float]] = {name: [] for name in QUESTIONS}
        self.threads = [threading.Thread(target=self.guarded, args=(run,)) for run in (self.ask, self.sample)]

    def guarded(self, run) -> None:
        try:
            run()
        except Exception as error:  # whatever it is, the soak has failed
            self.failure = f"{run.__name__}: {error}"
            self.ended.set()

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def ask(self) -> None:
        client = wire.Client(self.peer.where)
        while not self.ended.wait(0.2):
            for name, milliseconds in ask_all(client):
                self.times[name].append(milliseconds)
        client.close()

    def sample(self) -> None:
        started = time.monotonic()
        while not self.ended.wait(SAMPLE_SECONDS):
            now = self.peer.metrics()
            self.samples.append(
                {
                    "seconds": time.monotonic() - started,
                    "memory": status_bytes(self.peer.server.pid, "VmRSS"),
                    "disk": directory_bytes(self.peer.data),
                    "segments": now["tidemark_segments"],
                    "memtables": now["tidemark_memtable_bytes"],
                    "merges": now["tidemark_merges_total"],
                    "dropped": now["tidemark_partitions_dropped_total"],
                    "over_budget": now["tidemark_writes_over_budget_total"],
                }
            )
            if len(self.samples) % 12 == 0:
                last = self.samples[-1]
                print(
                    f"{last['seconds'] / 60:5.1f} min  memory {last['memory'] / MIB:5.0f} MiB  "
                    f"disk {last['disk'] / MIB:5.0f} MiB  segments {last['segments']:4.0f}  "
                    f"merges {last['merges']:5.0f}  partitions dropped {last['dropped']:4.0f}",
                    file=sys.stderr,
                    flush=True,
                )


def soak(options: argparse.Namespace, peer: Tidemark) -> dict:
    peer.client.execute(create(options.ttl_hours))
    rows = int(options.minutes * 60 * options.rows_per_second)
    hours = max(1, rows // ROWS_PER_HOUR)
    result = peer.settings.directory / "load.json"
    command = [peer.settings.bench, "load", "--protocol", "line", "--generate", "--hosts", HOSTS]
    command += ["--hours", hours, "--late-percent", options.late_percent, "--connections", 2]
    command += ["--rows-per-second", options.rows_per_second, "--batch-rows", options.batch_rows]
    command += ["--pg", peer.where, "--http", peer.http, "--json", result]
    watch = Watch(peer)
    watch.start()
    # Its own check of the number of rows cannot hold when rows go meanwhile; ours comes below.
    loaded = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    watch.stop()
    if watch.failure:
        raise PeerError(watch.failure)
    if not result.exists():
        raise PeerError(f"bench load: {loaded.stderr.strip()}")
    loaded = json.loads(result.read_text())
    peer.settle()
    at_rest = [pair for _ in range(REST_ROUNDS) for pair in ask_all(peer.client)]
    return {**checked(peer, hours), **summary(watch, loaded, peer.metrics(), at_rest), "samples": watch.samples}


def checked(peer: Tidemark, hours: int) -> dict:
    """Compares what is there with what must be: all reports since the oldest partition began."""
    sql = "SELECT count(*), count(DISTINCT hostname), extract(epoch FROM max(time) - min(time))::bigint FROM cpu"
    there, hosts, seconds = peer.client.rows(sql)[0]
    owed = HOSTS * (seconds // INTERVAL_SECONDS + 1)
    if there != owed or hosts != HOSTS:
        raise PeerError(f"{there} rows of {hosts} hosts are there, {owed} of {HOSTS} must be")
    return {"rows_there": there, "hours_loaded": hours, "hours_there": (seconds + INTERVAL_SECONDS) / 3600}


def summary(watch: Watch, loaded: dict, counted: dict[str, float], at_rest: list[tuple[str, float]]) -> dict:
    memory = [sample["memory"] for sample in watch.samples]
    fifth = max(1, len(memory) // 5)
    early, late = statistics.median(memory[fifth : 2 * fifth] or memory), statistics.median(memory[-fifth:])
    return {
        "rows_per_second": loaded["rows_per_second"],
        "answer_ms": {name: loaded[f"answer_ms_{name}"] for name in ("median", "p99", "max")},
        "memory_peak": max(memory),
        "memory_growth": late / early,
        "write_amplification": write_amplification(counted),
        "segments_most": max(sample["segments"] for sample in watch.samples),
        "partitions_dropped": counted["tidemark_partitions_dropped_total"],
        "over_budget": counted["tidemark_writes_over_budget_total"],
        "queries": {
            name: {
                "asked": len(times),
                "median_ms": statistics.median(times),
                "max_ms": max(times),
                "median_ms_at_rest": statistics.median(ms for of, ms in at_rest if of == name),
            }
            for name, times in watch.times.items()
            if times
        },
    }


def main() -> int:
    options = arguments()
    work = (options.work or Path(tempfile.mkdtemp(prefix="tidemark-soak-"))).resolve()
    directory = work / "soak"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    of_peer = {"binary": options.tidemark_binary, "arguments": options.tidemark_argument}
    bench = options.bench.resolve()
    peer = Tidemark(Settings(bench, directory, work / "data", None, [], [], of_peer))
    try:
        peer.start()
        measured = soak(options, peer)
    except PeerError as error:
        print(f"soak.py: {error}", file=sys.stderr)
        return 1
    finally:
        peer.stop()
        shutil.rmtree(directory, ignore_errors=True)
    options.out.mkdir(parents=True, exist_ok=True)
    everything = {"machine": report.machine(), "minutes": options.minutes, **measured}
    (options.out / "soak.json").write_text(json.dumps(everything, indent=2) + "\n")
    print(json.dumps({name: value for name, value in everything.items() if name != "samples"}, indent=2))
    if measured["memory_growth"] > options.growth_max:
        print(f"soak.py: memory grew by {measured['memory_growth']:.2f}×", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
