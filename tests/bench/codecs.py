#!/usr/bin/env python3
"""What a codec costs and saves: the segments of a directory, written again with each.

Encodings are those of segments (times by their differences, all else by dictionary), so that only the codec differs. Times are of one thread, the best of some rounds; reading decodes all columns.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as parquet

MIB = 1 << 20
ROW_GROUP_ROWS = 1 << 17
CODECS = [("none", None), ("lz4", None), ("snappy", None), ("zstd", 1), ("zstd", 3), ("zstd", 9)]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, required=True, help="a directory with Parquet files")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def best(rounds: int, act) -> float:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def main() -> int:
    options = arguments()
    files = sorted(options.dir.glob("*.parquet"))
    if not files:
        print(f"codecs.py: no Parquet files in {options.dir}", file=sys.stderr)
        return 1
    table = parquet.read_table(files[0], use_threads=False)
    times = [field.name for field in table.schema if str(field.type).startswith("timestamp")]
    encodings = {name: "DELTA_BINARY_PACKED" for name in times}
    others = [name for name in table.column_names if name not in times]
    print(f"{files[0].name}: {table.num_rows} rows, {files[0].stat().st_size / MIB:.1f} MiB as it is\n")
    print("| codec | MiB | write s | read s |\n| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "again.parquet"
        for codec, level in CODECS:
            settings = {"compression": codec, "compression_level": level, "use_dictionary": others}
            settings |= {"column_encoding": encodings, "row_group_size": ROW_GROUP_ROWS}
            write = best(options.rounds, lambda: parquet.write_table(table, path, **settings))
            read = best(options.rounds, lambda: parquet.read_table(path, use_threads=False))
            name = codec if level is None else f"{codec}({level})"
            print(f"| {name} | {path.stat().st_size / MIB:.1f} | {write:.2f} | {read:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
