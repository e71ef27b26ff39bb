"""What every system is asked to do, and how it is asked from another process.

Each system runs in a process of its own, or has its client in one: what a library allocates inside
Python is then its own figure, and one system's threads and caches are not another's.
"""

import dataclasses
import multiprocessing
import os
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all systems are told; paths are absolute."""

    bench: Path
    directory: Path
    csv: Path
    line: Path | None
    create: list[str]
    settle: list[str]
    options: dict
    table: str = "cpu"
    # What rows are best sorted by, where a system does not sort them by itself.
    order: str = "hostname, time"


class Peer:
    """A system. Times are measured where the answer is complete, before it is decoded."""

    name = ""
    dialect = ""

    def __init__(self, settings: Settings):
        self.settings = settings

    def start(self) -> str:
        """Starts the system and gives its version."""
        raise NotImplementedError

    def load(self) -> dict:
        """Makes the table and loads it; `rows`, `seconds` until all is durable and visible."""
        raise NotImplementedError

    def settle(self) -> None:
        """Brings the table into the form that it is best queried in."""
        raise NotImplementedError

    def run(self, sql: str) -> tuple[float, int]:
        """Milliseconds, and the size of the answer: rows or bytes, the same each time."""
        raise NotImplementedError

    def rows(self, sql: str) -> list[tuple]:
        """The rows: instants as nanoseconds, numbers, text, None."""
        raise NotImplementedError

    def bytes_on_disk(self) -> int:
        raise NotImplementedError

    def process_ids(self) -> list[int]:
        """The processes whose memory is the system's."""
        return [os.getpid()]

    def peak_memory(self) -> int:
        """The most memory that was resident at a time since `reset_peak_memory`, in bytes."""
        return sum(status_bytes(process_id, "VmHWM") for process_id in self.process_ids())

    def reset_peak_memory(self) -> None:
        for process_id in self.process_ids():
            try:
                Path(f"/proc/{process_id}/clear_refs").write_text("5")
            except OSError:
                # Gone meanwhile, or not ours: its peak then includes what came before.
                pass

    def stop(self) -> None:
        pass


def status_bytes(process_id: int, field: str) -> int:
    """A size from /proc/PID/status; nothing when the process is gone."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def directory_bytes(directory: Path, pattern: str = "*") -> int:
    """The bytes that the files under a directory take on the disk."""
    total = 0
    for path in directory.rglob(pattern):
        try:
            status = path.lstat()
        except OSError:
            continue
        if path.is_file() and not path.is_symlink():
            total += min(status.st_size, status.st_blocks * 512)
    return total


class Remote:
    """A system in a process of its own: its methods, called over a pipe."""

    def __init__(self, peer_class: type[Peer], settings: Settings):
        self.name = peer_class.name
        self.dialect = peer_class.dialect
        # A fresh interpreter: what is inherited by forking would count as the system's memory.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, peer_class, settings))
        self.process.start()
        theirs.close()

    def call(self, method: str, *arguments):
        try:
            self.pipe.send((method, arguments))
            succeeded, value = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise PeerError(f"{self.name}: its process ended: {error!r}") from error
        if not succeeded:
            raise PeerError(f"{self.name}: {method}: {value}")
        return value

    def close(self) -> None:
        """Stops the system."""
        try:
            self.pipe.send(None)
        except OSError:
            # It is gone already.
            pass
        self.process.join(timeout=180)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class PeerError(Exception):
    """A system failed at something."""


def serve(pipe, peer_class: type[Peer], settings: Settings) -> None:
    """The other end of the pipe. However it ends, a server that was started is stopped."""
    peer = peer_class(settings)
    try:
        while request := pipe.recv():
            method, arguments = request
            try:
                pipe.send((True, getattr(peer, method)(*arguments)))
            except PeerError as error:
                pipe.send((False, str(error)))
            except Exception as error:  # whatever a library raises is an answer
                pipe.send((False, f"{type(error).__name__}: {error}"))
    except (EOFError, KeyboardInterrupt):
        # Whoever asks is gone.
        pass
    finally:
        peer.stop()
