"""What was measured, as JSON and as Markdown."""

import os
import platform
from pathlib import Path

MIB = 1 << 20


def machine() -> str:
    model = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{os.cpu_count()} cores ({model}), {memory / (1 << 30):.0f} GiB"


def number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def outcome(system: dict) -> str:
    """Of a query: the median, or how it failed."""
    return system.get("failure") or number(system["median_ms"])


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def queries_table(measured: dict) -> list[str]:
    """Median milliseconds, and what share of each other system's time the first one needs."""
    names = list(measured["systems"])
    subject, others = names[0], names[1:]
    head = ["query", "rows", *[f"{name} ms" for name in names], *[f"{subject} ÷ {name}" for name in others]]
    rows = []
    for query in measured["queries"]:
        median = {name: query["systems"][name].get("median_ms") for name in names}
        ratios = [
            number(median[subject] / median[name]) + "×" if median[subject] and median[name] else "–"
            for name in others
        ]
        cells = [outcome(query["systems"][name]) for name in names]
        rows.append([query["name"], str(query["rows"]), *cells, *ratios])
    return table(head, rows)


def load_table(measured: dict) -> list[str]:
    head = ["", *measured["systems"]]
    systems = measured["systems"].values()

    def row(title: str, cell) -> list[str]:
        return [title, *[cell(system) for system in systems]]

    def mib(value: int | None) -> str:
        return f"{value / MIB:.1f}" if value else "–"

    def load_rate(system: dict) -> str:
        seconds = system["load_seconds"]
        return f"{system['rows'] / seconds:,.0f}" if seconds else "–"

    return table(
        head,
        [
            row("version", lambda system: system["version"].split(" on ")[0]),
            row("load, rows/s", load_rate),
            row("load, s", lambda system: number(system["load_seconds"])),
            row("then indexes, merges, s", lambda system: number(system["settle_seconds"])),
            row("bytes on disk, MiB", lambda system: mib(system["bytes_on_disk"])),
            row("bytes per row", lambda system: number(system["bytes_on_disk"] / system["rows"])),
            row("peak memory while loading, MiB", lambda system: mib(system["load_peak_memory"])),
            row("peak memory in queries, MiB", lambda system: mib(system["query_peak_memory"])),
        ],
    )


def markdown(measured: dict) -> str:
    data = measured["data"]
    if data["set"] == "dns":
        title, rows = "A resolver's log", f"{data['rows']} rows, seed {data['seed']}"
    else:
        title = "TSBS devops, cpu-only"
        rows = (
            f"{data['hosts']} hosts × {data['hours']} h, every {data['interval']}, {data['rows']} rows,"
            f" {data['late_percent']:g} % of them late, seed {data['seed']}"
        )
    lines = [
        f"# {title}",
        "",
        f"{rows}; {measured['machine']}."
        f" Queries in turn, {measured['rounds']} rounds after {measured['warm_up']} that do not count,"
        f" {measured['instances']} set(s) of parameters each; medians. Answers were compared first.",
        "",
        *queries_table(measured),
        "",
        *load_table(measured),
    ]
    disagreements = [
        f"- {query['name']}, {name}: {system['detail']}"
        for query in measured["queries"]
        for name, system in query["systems"].items()
        if "failure" in system
    ]
    if disagreements:
        lines += ["", "No time counts for:", "", *disagreements]
    return "\n".join(lines) + "\n"
