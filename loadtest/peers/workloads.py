"""What is sent, and the comparison of what was stored with it."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20

# Bytes read at once while files are compared.
PIECE_BYTES = 4 * MIB


class Failure(Exception):
    """A measurement that is worth nothing, and why."""


@dataclass(frozen=True)
class Load:
    """A workload: so many clients at once, each sending so many files of so many bytes."""

    clients: int
    files: int
    size: int

    def total_bytes(self) -> int:
        return self.clients * self.files * self.size


@dataclass(frozen=True)
class Sessions:
    """Whole sessions for so many seconds: connect, handshake, authenticate, one file of so many bytes, disconnect."""

    clients: int
    seconds: float
    size: int


@dataclass(frozen=True)
class Workloads:
    """All that is measured. Idle: so many connections that stand, authenticated as far as the peer does, silent."""

    bulk: Load
    small: Load
    sessions: Sessions
    idle: int


# The most that fits into one file of Coffer's smaller dialect is a little less than 64 MiB; so four of them are sent
# by each client, and by each client of the peers as well.
FULL = Workloads(Load(4, 4, 65_532 << 10), Load(16, 200, 4096), Sessions(64, 5.0, 64 << 10), 4000)
QUICK = Workloads(Load(4, 2, 16 * MIB), Load(16, 25, 4096), Sessions(64, 1.0, 64 << 10), 200)


@dataclass(frozen=True)
class Sample:
    """One measurement. The seconds are the clock's, the CPU seconds those of the server's process tree."""

    seconds: float
    cpu_seconds: float
    files: int
    bytes: int


class Sources:
    """Files of random bytes, each different from the others: a folder for each client of a load."""

    def __init__(self, folder: Path, workloads: Workloads, seed: int) -> None:
        self.folder = folder
        self._random = random.Random(seed)
        for name, load in (("bulk", workloads.bulk), ("small", workloads.small)):
            for client in range(load.clients):
                self._write(folder / name / client_name(client), load.files, load.size)
        self._write(folder / "sessions", workloads.sessions.clients, workloads.sessions.size)
        os.sync()

    def of_client(self, name: str, client: int) -> Path:
        """The folder of files that this client sends in the workload of this name."""
        return self.folder / name / client_name(client)

    def of_session(self, client: int) -> Path:
        """The file that this client sends in each of its sessions."""
        return self.folder / "sessions" / file_name(client)

    def _write(self, folder: Path, files: int, size: int) -> None:
        folder.mkdir(parents=True)
        for number in range(files):
            (folder / file_name(number)).write_bytes(self._random.randbytes(size))


def client_name(client: int) -> str:
    return f"client-{client:02}"


def file_name(number: int) -> str:
    return f"file-{number:04}"


def session_name(client: int, number: int) -> str:
    """The name under which a session's file is stored."""
    return f"session-{client:02}-{number:05}"


def compare_clients(stored: Path, name: str, load: Load, sources: Sources) -> None:
    """Compares all that the clients of a load sent with what is stored below `stored`, a folder for each.

    Raises Failure if anything is missing, different, or was never sent.
    """
    pairs = {}
    for client in range(load.clients):
        for number in range(load.files):
            source = sources.of_client(name, client) / file_name(number)
            pairs[stored / client_name(client) / file_name(number)] = source
    _compare(stored, pairs)


def compare_sessions(stored: Path, counts: list[int], sources: Sources) -> None:
    """The same for sessions: the client with number i has sent `counts[i]` files."""
    pairs = {}
    for client, count in enumerate(counts):
        for number in range(count):
            pairs[stored / session_name(client, number)] = sources.of_session(client)
    _compare(stored, pairs)


def _compare(stored: Path, pairs: dict[Path, Path]) -> None:
    found = {Path(folder) / name for folder, _, names in os.walk(stored) for name in names}
    wrong = [f"{path.name} is missing" for path in pairs.keys() - found]
    wrong += [f"{path.name} was never sent" for path in found - pairs.keys()]
    wrong += [f"{path.name} is different" for path in pairs.keys() & found if not _same(path, pairs[path])]
    if wrong:
        raise Failure(f"{len(wrong)} of {len(pairs)} files are wrong, among them: {'; '.join(sorted(wrong)[:3])}")


def _same(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as left, other.open("rb") as right:
        while piece := left.read(PIECE_BYTES):
            if piece != right.read(PIECE_BYTES):
                return False
    return True
