"""What runs over an sshd of our own, encrypted with AES-256-GCM: rsync, and sftp."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from processes import START_MAX, Server, find_program, free_port, output_of, program, tail
from programs import ProgramPeer
from rsync import OPTIONS, can_sync, version as rsync_version
from workloads import Failure

# sshd insists on this folder when it runs as root. Its service would make it.
PRIVILEGE_SEPARATION = Path("/run/sshd")

# The name of the server in the client's configuration.
HOST = "peer"

# SHLVL: bash then takes itself for a shell within a shell and does not run ~/.bashrc, which is no part of what is
# measured.
SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {state}/host_key
AuthorizedKeysFile {state}/client_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
PidFile none
LogLevel ERROR
MaxStartups 1000
Ciphers aes256-gcm@openssh.com
SetEnv SHLVL=1
Subsystem sftp internal-sftp
"""

CLIENT = f"""\
Host {HOST}
    HostName 127.0.0.1
    Port {{port}}
    User {{user}}
    IdentityFile "{{state}}/client_key"
    IdentitiesOnly yes
    IdentityAgent none
    BatchMode yes
    UserKnownHostsFile "{{state}}/known_hosts"
    StrictHostKeyChecking yes
    HostKeyAlias {HOST}
    LogLevel ERROR
    Ciphers aes256-gcm@openssh.com
"""


class Sshd(ProgramPeer):
    """The server, and connections to it that stand before the clock starts."""

    programs = ["sshd", "ssh", "ssh-keygen"]

    def missing(self) -> str | None:
        """What has to be installed before this can be measured."""
        return next((f"there is no program '{name}'" for name in self.programs if find_program(name) is None), None)

    def version(self) -> str:
        return output_of([program("ssh"), "-V"]).strip()

    def prepare(self) -> None:
        """Makes keys, and tells the client which the server's is."""
        for name in ("host_key", "client_key"):
            output_of([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(self.state / name)])
        public = (self.state / "host_key.pub").read_text()
        (self.state / "known_hosts").write_text(f"{HOST} {public}")
        if os.geteuid() == 0:
            PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)

    def serve(self, folder: Path) -> Server:
        port = free_port()
        (folder / "sshd_config").write_text(SERVER.format(port=port, state=self.state))
        self._client_configuration().write_text(CLIENT.format(port=port, state=self.state, user=getpass.getuser()))
        # sshd starts itself anew for each connection and has to be called by its full path for that.
        command = [program("sshd"), "-D", "-e", "-f", str(folder / "sshd_config")]
        return Server(command, port, folder / "server.log")

    @contextmanager
    def connected(self, server: Server, clients: int, log: Path) -> Iterator[None]:
        sockets = [self._socket(client) for client in range(clients)]
        with log.open("ab") as out:
            masters = [
                subprocess.Popen(
                    [*self._ssh(), "-N", "-M", "-S", str(path), HOST], stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )
                for path in sockets
            ]
        try:
            end = time.monotonic() + START_MAX
            while not all(path.exists() for path in sockets):
                if time.monotonic() > end or any(master.poll() is not None for master in masters):
                    raise Failure(f"cannot log in at our own sshd: {tail(log)}")
                time.sleep(0.01)
            yield
        finally:
            for master in masters:
                master.terminate()
                master.wait()

    def _ssh(self) -> list[str]:
        return [program("ssh"), "-F", str(self._client_configuration())]

    def _client_configuration(self) -> Path:
        return self.state / "ssh_config"

    def _socket(self, client: int) -> Path:
        return self.state / f"master-{client}"


class RsyncOverSsh(Sshd):
    """rsync, with a file synced before the next."""

    name = "rsync-ssh"
    label = "rsync over ssh, AES-GCM, fsync per file"
    programs = [*Sshd.programs, "rsync"]

    def missing(self) -> str | None:
        return super().missing() or can_sync()

    def version(self) -> str:
        return f"{rsync_version()}, {super().version()}"

    def send_files(self, server: Server, client: int, sources: list[Path], target: Path) -> list[str]:
        shell = [*self._ssh(), "-S", str(self._socket(client))]
        return [program("rsync"), *OPTIONS, "-e", shlex.join(shell), *map(str, sources), f"{HOST}:{target}/"]

    def send_file(self, server: Server, source: Path, target: Path) -> list[str]:
        return [program("rsync"), *OPTIONS, "-e", shlex.join(self._ssh()), str(source), f"{HOST}:{target}"]


class Sftp(Sshd):
    """OpenSSH's own sftp, which asks for a sync after each file (`put -f`)."""

    name = "sftp"
    label = "OpenSSH sftp, AES-GCM, fsync per file"
    programs = [*Sshd.programs, "sftp"]

    def send_files(self, server: Server, client: int, sources: list[Path], target: Path) -> list[str]:
        pairs = [(source, target / source.name) for source in sources]
        return self._sftp(pairs, ["-o", f"ControlPath={self._socket(client)}"])

    def send_file(self, server: Server, source: Path, target: Path) -> list[str]:
        return self._sftp([(source, target)], [])

    def _sftp(self, pairs: list[tuple[Path, Path]], options: list[str]) -> list[str]:
        target = pairs[0][1]
        batch = self.state / f"batch-{target.parent.name}-{target.name}"
        batch.write_text("".join(f'put -f "{source}" "{target}"\n' for source, target in pairs))
        return [program("sftp"), "-q", "-F", str(self._client_configuration()), *options, "-b", str(batch), HOST]
