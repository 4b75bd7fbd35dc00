"""Peers whose clients are programs: each client is a process, or one for each of its sessions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path

from processes import Server, run_again_and_again, run_together
from workloads import Load, Sample, Sessions, Sources, client_name, compare_clients, compare_sessions, session_name


class ProgramPeer(ABC):
    """What such peers have in common. `state` is a folder for keys and the like."""

    def __init__(self, state: Path) -> None:
        self.state = state

    @abstractmethod
    def serve(self, folder: Path) -> Server:
        """The server, not yet entered. What it stores goes below `folder / "stored"`."""

    @abstractmethod
    def connected(self, server: Server, clients: int, log: Path) -> AbstractContextManager[None]:
        """Connections of so many clients, made before the clock starts, if this peer can do that."""

    @abstractmethod
    def send_files(self, server: Server, client: int, sources: list[Path], target: Path) -> list[str]:
        """The command that sends files of one folder to the folder `target`, over the connection of this client."""

    @abstractmethod
    def send_file(self, server: Server, source: Path, target: Path) -> list[str]:
        """The command of a whole session, which sends a file to the path `target`."""

    def transfer(self, name: str, load: Load, sources: Sources, folder: Path) -> Sample:
        stored, log = folder / "stored", folder / "clients.log"
        for client in range(load.clients):
            (stored / client_name(client)).mkdir(parents=True)
        with self.serve(folder) as server, self.connected(server, load.clients, log):
            commands = []
            for client in range(load.clients):
                files = sorted(sources.of_client(name, client).iterdir())
                commands.append(self.send_files(server, client, files, stored / client_name(client)))
            sample = server.measure(lambda: run_together(commands, log), load.clients * load.files, load.size)
        compare_clients(stored, name, load, sources)
        return sample

    def sessions(self, sessions: Sessions, sources: Sources, folder: Path) -> Sample:
        stored, log = folder / "stored", folder / "clients.log"
        stored.mkdir(parents=True)
        counts: list[int] = []
        with self.serve(folder) as server:

            def command(client: int, number: int) -> list[str]:
                return self.send_file(server, sources.of_session(client), stored / session_name(client, number))

            def work() -> None:
                counts.extend(run_again_and_again(sessions.clients, sessions.seconds, command, log))

            sample = server.measure(work, 0, 0)
        compare_sessions(stored, counts, sources)
        files = sum(counts)
        return Sample(sample.seconds, sample.cpu_seconds, files, files * sessions.size)

    def idle(self, connections: int, folder: Path) -> float | None:
        """Not measured for these."""
        return None
