"""PostgreSQL 15: a server of our own in a directory of its own, fsync and synchronous commit on."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from peers import wire
from peers.base import Peer, PeerError, status_bytes

MIB = 1 << 20


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Postgres(Peer):
    name = "postgres"
    dialect = "postgres"
    server = None
    client = None

    def start(self) -> str:
        binaries = Path(self.settings.options["postgres_bin"])
        data = self.settings.directory / "data"
        log = self.settings.directory / "server.log"
        # PostgreSQL refuses to run as root.
        as_user = {}
        if os.geteuid() == 0:
            user = self.settings.options["postgres_user"]
            shutil.chown(self.settings.directory, user)
            as_user = {"user": user, "group": user, "extra_groups": []}
        initialize = [
            binaries / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "--locale=C",
            "-E",
            "UTF8",
        ]
        made = subprocess.run(initialize, capture_output=True, text=True, cwd="/", check=False, **as_user)
        if made.returncode != 0:
            raise PeerError(f"initdb: {made.stderr.strip()}")
        port = free_port()
        command = [binaries / "postgres", "-D", data, "-p", str(port)]
        for name, value in self.parameters().items():
            command += ["-c", f"{name}={value}"]
        with log.open("w") as output:
            self.server = subprocess.Popen(command, stdout=output, stderr=output, cwd="/", **as_user)
        self.where = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
        self.client = wire.wait_for(self.where, self.server, log)
        return self.client.rows("SELECT current_setting('server_version')")[0][0]

    def parameters(self) -> dict:
        """Memory as one would give it on this machine; durability stays as it is by default."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": f"{memory // 4 // MIB}MB",
            "effective_cache_size": f"{memory // 2 // MIB}MB",
            "work_mem": "64MB",
            "maintenance_work_mem": "1GB",
            "max_wal_size": "8GB",
            "random_page_cost": "1.1",
        }

    def load(self) -> dict:
        if self.settings.table != "cpu":
            return wire.copy(self.client, self.settings)
        arguments = ["--target", "postgres", "--protocol", "copy-csv", "--create", "--pg", self.where]
        return wire.load(
            self.settings, [*arguments, *self.settings.options["load"], "--file", str(self.settings.csv)]
        )

    def settle(self) -> None:
        for statement in self.settings.settle:
            self.client.execute(statement)

    def run(self, sql: str) -> tuple[float, int]:
        return self.client.run(sql)

    def rows(self, sql: str) -> list[tuple]:
        return self.client.rows(sql)

    def bytes_on_disk(self) -> int:
        return self.client.rows("SELECT pg_total_relation_size('" + self.settings.table + "')")[0][0]

    def process_ids(self) -> list[int]:
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text()
        return [self.server.pid, *map(int, children.split())]

    def peak_memory(self) -> int:
        """Each process's own peak, and the buffers that they share once.

        Workers of parallel queries are gone by now and not in it.
        """
        own = sum(
            max(0, status_bytes(pid, "VmHWM") - status_bytes(pid, "RssShmem") - status_bytes(pid, "RssFile"))
            for pid in self.process_ids()
        )
        return own + max(status_bytes(pid, "RssShmem") for pid in self.process_ids())

    def stop(self) -> None:
        if self.client:
            self.client.close()
        if self.server:
            # SIGINT is PostgreSQL's fast shutdown.
            self.server.send_signal(signal.SIGINT)
            self.server.wait(timeout=120)
