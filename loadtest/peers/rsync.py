"""rsync with a sync for each file, and its daemon, which is not encrypted."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from processes import Server, find_program, free_port, output_of, program
from programs import ProgramPeer

# Whole files, since there is nothing yet to compare them with; with their times, as everybody sends them.
OPTIONS = ["--times", "--whole-file", "--fsync"]

USER = "peers"
PASSWORD = "a password"

# The name below which the daemon offers its folder.
MODULE = "stored"

CONFIGURATION = """\
use chroot = no
log file = /dev/null
[{module}]
    path = {folder}/stored
    read only = no
    {rights}
    auth users = {login}
    secrets file = {state}/secrets
"""


def can_sync() -> str | None:
    """What is wrong with the rsync that is installed, if anything is."""
    if "--fsync" in output_of([program("rsync"), "--help"]):
        return None
    return "this rsync does not know --fsync (3.2.4 and newer do)"


def version() -> str:
    """The version that is installed."""
    return " ".join(output_of([program("rsync"), "--version"]).splitlines()[0].split())


class RsyncDaemon(ProgramPeer):
    """The peer."""

    name = "rsync-daemon"
    label = "rsync daemon, plaintext, fsync per file"

    def missing(self) -> str | None:
        """What has to be installed before this can be measured."""
        return can_sync() if find_program("rsync") else "there is no program 'rsync'"

    def version(self) -> str:
        return version()

    def prepare(self) -> None:
        """Writes the password down, for the server and for the clients."""
        for name, text in (("secrets", f"{USER}:{PASSWORD}\n"), ("password", f"{PASSWORD}\n")):
            path = self.state / name
            path.touch(mode=0o600)
            path.write_text(text)

    def serve(self, folder: Path) -> Server:
        port = free_port()
        configuration = folder / "rsyncd.conf"
        # As root it would become nobody, and others cannot change who they are.
        rights = "uid = 0\n    gid = 0" if os.geteuid() == 0 else ""
        configuration.write_text(
            CONFIGURATION.format(module=MODULE, folder=folder, state=self.state, rights=rights, login=USER)
        )
        listen = ["--address=127.0.0.1", f"--port={port}"]
        command = [program("rsync"), "--daemon", "--no-detach", f"--config={configuration}", *listen]
        return Server(command, port, folder / "server.log")

    def connected(self, server: Server, clients: int, log: Path) -> AbstractContextManager[None]:
        # A connection is for one transfer, so it is made while the clock runs.
        return nullcontext()

    def send_files(self, server: Server, client: int, sources: list[Path], target: Path) -> list[str]:
        return self._rsync(server, sources, f"{target.name}/")

    def send_file(self, server: Server, source: Path, target: Path) -> list[str]:
        return self._rsync(server, [source], target.name)

    def _rsync(self, server: Server, sources: list[Path], target: str) -> list[str]:
        where = f"rsync://{USER}@127.0.0.1:{server.port}/{MODULE}/{target}"
        password = f"--password-file={self.state / 'password'}"
        return [program("rsync"), *OPTIONS, password, *map(str, sources), where]
