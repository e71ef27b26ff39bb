#!/usr/bin/env python3
"""Compares Tidemark with other systems: the same rows, the same questions, in turn.

1. `bench generate` makes the data once; each system loads it, then builds and merges what it needs.
2. Every query is put to every system, and the answers are compared. A system whose answer differs
   from the first one's gets no time for that query.
3. Every query is timed in turns: A B C D, A B C D, … after rounds that do not count. What is reported
   is the median.

`results.json` and `results.md` go to the output directory. The exit status is 1 when answers differ or
a system failed.
"""

import argparse
import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import report
from peers.base import PeerError, Remote, Settings
from peers.chdb_peer import Chdb
from peers.datafusion_peer import Datafusion
from peers.duckdb_peer import Duckdb, DuckdbUnsorted
from peers.postgres_peer import Postgres
from peers.tidemark_peer import Tidemark

PEERS = {peer.name: peer for peer in (Chdb, Duckdb, DuckdbUnsorted, Postgres, Datafusion)}
TOLERANCE = 1e-9


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    repository = Path(__file__).resolve().parents[2]
    parser.add_argument(
        "--bench", type=Path, default=repository / "target/release/bench", help="the bench binary"
    )
    parser.add_argument("--out", type=Path, required=True, help="where results.json and results.md go")
    parser.add_argument(
        "--work", type=Path, help="where data is kept, for runs to come; else a temporary directory"
    )

    data = parser.add_argument_group("data and queries")
    data.add_argument(
        "--data-set", choices=["cpu", "dns"], default="cpu", help="TSBS cpu-only, or a resolver's log"
    )
    data.add_argument("--rows", type=int, default=10_000_000, help="rows of the resolver's log")
    data.add_argument("--hosts", type=int, default=4000)
    data.add_argument("--hours", type=int, default=12)
    data.add_argument("--interval", default="10s")
    data.add_argument("--seed", type=int, default=1)
    data.add_argument("--query-seed", type=int, default=2)
    data.add_argument("--late-percent", type=float, default=0, help="the share of rows that come late")
    data.add_argument("--instances", type=int, default=1, help="sets of parameters of each query type")
    data.add_argument("--only", help="only these query types, divided by commas")
    data.add_argument("--rounds", type=int, default=10, help="rounds that count")
    data.add_argument("--warm-up", type=int, default=2, help="rounds that do not count")

    peers = parser.add_argument_group("systems")
    peers.add_argument("--peers", default="chdb,duckdb,postgres", help=f"of {', '.join(PEERS)}; may be empty")
    peers.add_argument("--postgres-bin", default="/usr/lib/postgresql/15/bin")
    peers.add_argument("--postgres-user", default="postgres", help="who runs PostgreSQL when we are root")
    peers.add_argument("--parquet", type=Path, help="the files for datafusion; else Tidemark's segments")

    tidemark = parser.add_argument_group("Tidemark")
    tidemark.add_argument("--no-tidemark", action="store_true", help="compare the others")
    tidemark.add_argument("--tidemark-binary", default=str(repository / "target/release/tidemark"))
    tidemark.add_argument(
        "--tidemark-argument", action="append", default=[], help="given to the server; repeatable"
    )
    tidemark.add_argument("--tidemark-protocol", choices=["copy-csv", "line"], default="copy-csv")
    tidemark.add_argument("--tidemark-connections", type=int, default=1, help="connections that load")
    tidemark.add_argument("--tidemark-pg", help="a server that already runs: its connection parameters")
    tidemark.add_argument("--tidemark-http", default="127.0.0.1:8086", help="the same server's HTTP address")
    tidemark.add_argument("--tidemark-data", help="the same server's data directory, to be measured")
    tidemark.add_argument("--tidemark-process", type=int, help="the same server's process, to be measured")
    options = parser.parse_args()
    unknown = [name for name in names(options.peers) if name not in PEERS]
    if unknown:
        parser.error(f"no such peers: {', '.join(unknown)}")
    if options.data_set == "dns" and options.tidemark_protocol == "line":
        parser.error("the resolver's log is loaded by COPY")
    if options.no_tidemark and not names(options.peers):
        parser.error("nothing to measure")
    if options.no_tidemark and "datafusion" in names(options.peers) and not options.parquet:
        parser.error("datafusion needs --parquet when there is no Tidemark")
    return options


def names(peers: str) -> list[str]:
    return [name for name in peers.split(",") if name]


def generate(options: argparse.Namespace, work: Path, kind: str) -> Path:
    """The data in a format; kept when the directory is, and then not made again."""
    if options.data_set == "dns":
        return generate_dns(options, work)
    parameters = [options.hosts, options.hours, options.interval, options.seed, options.late_percent]
    path = work / f"cpu-only-{'-'.join(map(str, parameters))}.{kind}"
    if path.exists():
        return path
    unfinished = path.with_suffix(".unfinished")
    command = [options.bench, "generate", "--format", kind, "--out", unfinished, "--seed", str(options.seed)]
    command += ["--late-percent", str(options.late_percent), *extent(options)]
    subprocess.run(command, check=True)
    return unfinished.rename(path)


def generate_dns(options: argparse.Namespace, work: Path) -> Path:
    path = work / f"dns-{options.rows}-{options.seed}.csv"
    if path.exists():
        return path
    unfinished = path.with_suffix(".unfinished")
    command = [options.bench, "generate-dns", "--rows", str(options.rows), "--seed", str(options.seed)]
    subprocess.run([*command, "--out", unfinished], check=True)
    return unfinished.rename(path)


def extent(options: argparse.Namespace) -> list[str]:
    return ["--hosts", str(options.hosts), "--hours", str(options.hours), "--interval", options.interval]


def statements(options: argparse.Namespace) -> dict:
    """DDL and queries for every dialect, from the one place where they are written."""
    command = [options.bench, "generate-queries", "--format", "json", *extent(options)]
    command += ["--query-seed", str(options.query_seed), "--instances", str(options.instances)]
    command += ["--data-set", options.data_set]
    if options.only:
        command += ["--only", options.only]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def peer_options(options: argparse.Namespace, name: str) -> dict:
    if name == "postgres":
        return {"postgres_bin": options.postgres_bin, "postgres_user": options.postgres_user, "load": []}
    if name == "datafusion":
        return {"files": options.parquet}
    if name == "tidemark":
        return {
            "binary": None if options.tidemark_pg else options.tidemark_binary,
            "arguments": options.tidemark_argument,
            "protocol": options.tidemark_protocol,
            "load": ["--connections", str(options.tidemark_connections)],
            "pg": options.tidemark_pg,
            "http": options.tidemark_http,
            "data": options.tidemark_data,
            "process": options.tidemark_process,
        }
    return {}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def prepare(remote: Remote) -> dict:
    """Starts a system, loads it and lets it settle; what that took."""
    version = remote.call("start")
    say(f"{remote.name} {version}: loading")
    remote.call("reset_peak_memory")
    loaded = remote.call("load")
    started = time.perf_counter()
    remote.call("settle")
    settle_seconds = time.perf_counter() - started
    system = {
        "version": version,
        "rows": loaded["rows"],
        "load_seconds": loaded["seconds"],
        "settle_seconds": settle_seconds,
        "bytes_on_disk": remote.call("bytes_on_disk"),
        "load_peak_memory": remote.call("peak_memory"),
        "load": loaded,
    }
    remote.call("reset_peak_memory")
    return system


def agree(ours: list[tuple], theirs: list[tuple], order: str) -> str | None:
    """Where two answers differ first, or nothing."""
    if len(ours) != len(theirs):
        return f"{len(ours)} rows, not {len(theirs)}"
    if order == "free":
        ours, theirs = sorted(ours, key=sort_key), sorted(theirs, key=sort_key)
    for at, (a, b) in enumerate(zip(ours, theirs)):
        if len(a) != len(b) or not all(map(cells_agree, a, b)):
            return f"row {at + 1} is {a}, not {b}"
    return None


def sort_key(row: tuple) -> tuple:
    return tuple((cell is None, cell if cell is not None else 0) for cell in row)


def cells_agree(a, b) -> bool:
    # Instants and counts are integers and must be equal; floats may be sums in another order.
    if isinstance(a, float) or isinstance(b, float):
        if a is None or b is None or isinstance(a, str) or isinstance(b, str):
            return False
        return abs(a - b) <= TOLERANCE * max(abs(a), abs(b))
    return a == b


def check(remotes: list[Remote], queries: dict[str, dict]) -> tuple[int, dict]:
    """Compares the answers to a query; the number of rows, and who failed how."""
    failures: dict[str, dict] = {}
    reference = None
    for remote in remotes:
        query = queries[remote.name]
        try:
            rows = remote.call("rows", query["sql"])
        except PeerError as error:
            failures[remote.name] = {"failure": "failed", "detail": str(error)}
            continue
        if reference is None:
            reference = rows
            continue
        difference = agree(rows, reference, query["order"])
        if difference:
            failures[remote.name] = {"failure": "differs", "detail": difference}
    return len(reference or []), failures


def measure(options: argparse.Namespace, remotes: list[Remote], instances: list[dict]) -> dict:
    """Compares and times the instances of a query type, each a query for every system."""
    failures: dict[str, dict] = {}
    times: dict[str, list[float]] = {remote.name: [] for remote in remotes}
    row_count = 0
    for queries in instances:
        row_count, failed = check(remotes, queries)
        failures.update(failed)
        sizes: dict[str, int] = {}
        for turn in range(options.warm_up + options.rounds):
            for remote in remotes:
                if remote.name in failures:
                    continue
                try:
                    milliseconds, size = remote.call("run", queries[remote.name]["sql"])
                except PeerError as error:
                    failures[remote.name] = {"failure": "failed", "detail": str(error)}
                    continue
                if size != sizes.setdefault(remote.name, size):
                    detail = f"an answer of size {sizes[remote.name]}, later one of size {size}"
                    failures[remote.name] = {"failure": "differs", "detail": detail}
                elif turn >= options.warm_up:
                    times[remote.name].append(milliseconds)
    systems = {name: failures.get(name) or summary(all_ms) for name, all_ms in times.items()}
    return {"rows": row_count, "systems": systems}


def summary(all_ms: list[float]) -> dict:
    return {"median_ms": statistics.median(all_ms), "min_ms": min(all_ms), "all_ms": all_ms}


def measure_all(options: argparse.Namespace, remotes: list[Remote], dialects: dict) -> list[dict]:
    by_name: dict[str, list[dict]] = {}
    for at, query in enumerate(dialects[remotes[0].dialect]["queries"]):
        queries = {remote.name: dialects[remote.dialect]["queries"][at] for remote in remotes}
        by_name.setdefault(query["name"], []).append(queries)
    measured = []
    for name, instances in by_name.items():
        measured.append({"name": name, **measure(options, remotes, instances)})
        systems = measured[-1]["systems"].items()
        say(f"{name}: {', '.join(f'{peer} {report.outcome(system)}' for peer, system in systems)}")
    return measured


def compare(options: argparse.Namespace, work: Path, remotes: list[Remote]) -> dict:
    dialects = statements(options)
    wanted = [] if options.no_tidemark else [Tidemark]
    wanted += [PEERS[name] for name in names(options.peers)]
    # DataFusion reads what Tidemark wrote, so it comes when that is there.
    wanted.sort(key=lambda peer: peer is Datafusion)
    needs_line = Tidemark in wanted and options.tidemark_protocol == "line"
    settings = Settings(
        bench=options.bench.resolve(),
        directory=work,
        csv=generate(options, work, "csv"),
        line=generate(options, work, "line") if needs_line else None,
        create=[],
        settle=[],
        options={},
        table=options.data_set,
        order="time" if options.data_set == "dns" else "hostname, time",
    )
    systems = {}
    for peer in wanted:
        directory = work / peer.name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        of_dialect = dialects[peer.dialect]
        options_of_peer = peer_options(options, peer.name)
        if peer is Datafusion and options.parquet is None:
            options_of_peer["files"] = remotes[0].call("segments")
        of_peer = dataclasses.replace(
            settings,
            directory=directory,
            create=of_dialect["create"],
            settle=of_dialect["settle"],
            options=options_of_peer,
        )
        remotes.append(Remote(peer, of_peer))
        systems[peer.name] = prepare(remotes[-1])
    row_counts = {name: system["rows"] for name, system in systems.items()}
    if len(set(row_counts.values())) > 1:
        raise PeerError(f"the systems hold different numbers of rows: {row_counts}")
    queries = measure_all(options, remotes, dialects)
    for remote in remotes:
        systems[remote.name]["query_peak_memory"] = remote.call("peak_memory")
    return {
        "data": {
            "set": options.data_set,
            "hosts": options.hosts,
            "hours": options.hours,
            "interval": options.interval,
            "seed": options.seed,
            "late_percent": options.late_percent,
            "rows": next(iter(systems.values()))["rows"],
        },
        "machine": report.machine(),
        "rounds": options.rounds,
        "warm_up": options.warm_up,
        "instances": options.instances,
        "systems": systems,
        "queries": queries,
    }


def main() -> int:
    options = arguments()
    work = (options.work or Path(tempfile.mkdtemp(prefix="tidemark-bench-"))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    # PostgreSQL runs as another user and must be able to pass through.
    work.chmod(0o755)
    remotes: list[Remote] = []
    try:
        measured = compare(options, work, remotes)
    except (PeerError, subprocess.CalledProcessError) as error:
        say(f"compare.py: {error}")
        return 1
    finally:
        for remote in remotes:
            remote.close()
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(measured, indent=2, default=str) + "\n")
    text = report.markdown(measured)
    (options.out / "results.md").write_text(text)
    print(text)
    failed = any("failure" in system for query in measured["queries"] for system in query["systems"].values())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
