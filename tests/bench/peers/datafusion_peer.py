"""DataFusion alone, on the Parquet files that Tidemark wrote: `bench plain-datafusion --serve`."""

import json
import subprocess
from pathlib import Path

from peers.base import Peer, PeerError, directory_bytes


class Datafusion(Peer):
    name = "datafusion"
    dialect = "datafusion"
    server = None

    def start(self) -> str:
        self.files = Path(self.settings.options["files"])
        command = [str(self.settings.bench), "plain-datafusion", "--serve", "--dir", str(self.files)]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return "55"

    def ask(self, sql: str, rows: bool) -> dict:
        self.server.stdin.write(json.dumps({"sql": sql, "rows": rows}) + "\n")
        self.server.stdin.flush()
        answer = json.loads(self.server.stdout.readline() or '{"error": "it ended"}')
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def load(self) -> dict:
        """Nothing is loaded: the files are there. A query has to say so, and starts the clock of none."""
        rows = self.ask("SELECT count(*) FROM cpu", rows=True)["rows"][0][0]
        return {"rows": rows, "seconds": None}

    def settle(self) -> None:
        pass

    def run(self, sql: str) -> tuple[float, int]:
        answer = self.ask(sql, rows=False)
        return answer["milliseconds"], answer["row_count"]

    def rows(self, sql: str) -> list[tuple]:
        return [tuple(row) for row in self.ask(sql, rows=True)["rows"]]

    def bytes_on_disk(self) -> int:
        return directory_bytes(self.files, "*.parquet")

    def process_ids(self) -> list[int]:
        return [self.server.pid]

    def stop(self) -> None:
        if self.server:
            self.server.stdin.close()
            self.server.wait(timeout=120)
