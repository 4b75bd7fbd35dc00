"""Processes: servers, whose trees are watched and ended by process id, and programs that are clients."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

from workloads import Failure, Sample

# Seconds that a server may take to listen or to end, and its processes for finished clients to be gone.
START_MAX = 10.0
STOP_MAX = 10.0
SETTLE_MAX = 10.0

# Seconds after which a measurement is given up.
RUN_MAX = 300.0

# Characters of a program's messages that are shown when it fails.
MESSAGE_MAX = 300

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def find_program(name: str) -> str | None:
    """Where a program is; servers are often in folders that are not searched for users."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin")


def program(name: str) -> str:
    """The same for a program that has to be there."""
    found = find_program(name)
    if found is None:
        raise Failure(f"there is no program '{name}'")
    return found


def output_of(command: list[str]) -> str:
    """What a short command prints on both its streams. Raises Failure if it fails."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=RUN_MAX,
    )
    if done.returncode != 0:
        raise Failure(f"{command[0]} ended with {done.returncode}: {done.stdout[-MESSAGE_MAX:].strip()}")
    return done.stdout


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server in the foreground, with all processes below it. A context: it is ended when the context is left."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port = port
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def __enter__(self) -> Server:
        try:
            self._await_listening()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def measure(self, work: Callable[[], None], files: int, size: int) -> Sample:
        """Does the work; how long it took, and the CPU time that the server needed for it, with what it did after."""
        processes = len(self._tree())
        cpu_before = self._cpu_seconds()
        start = time.monotonic()
        work()
        seconds = time.monotonic() - start
        self._settle(processes)
        return Sample(seconds, self._cpu_seconds() - cpu_before, files, files * size)

    def anonymous_kib(self) -> int:
        """Memory of the whole tree that no file stands behind."""
        total = 0
        for pid in self._tree():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1])
        return total

    def _tree(self) -> list[int]:
        parents = {pid: int(fields[1]) for pid, fields in _all_processes().items()}
        tree = [self._process.pid]
        for pid in tree:
            tree += [child for child, parent in parents.items() if parent == pid]
        return tree

    def _cpu_seconds(self) -> float:
        # utime, stime, and what the children used that ended and were waited for.
        processes = _all_processes()
        ticks = sum(sum(int(ticks) for ticks in processes[pid][11:15]) for pid in self._tree() if pid in processes)
        return ticks / TICKS_PER_SECOND

    def _settle(self, processes: int) -> None:
        """Waits until there are no more processes than before the clients came."""
        end = time.monotonic() + SETTLE_MAX
        while len(self._tree()) > processes:
            if time.monotonic() > end:
                raise Failure(f"processes of the server are still there {SETTLE_MAX:.0f} s after the clients left")
            time.sleep(0.01)

    def _await_listening(self) -> None:
        end = time.monotonic() + START_MAX
        while True:
            if self._process.poll() is not None or time.monotonic() > end:
                raise Failure(f"{self._process.args[0]} did not start: {tail(self._log)}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)

    def _stop(self) -> None:
        tree = self._tree()
        self._process.terminate()
        try:
            self._process.wait(STOP_MAX)
        except subprocess.TimeoutExpired:
            for pid in tree:
                _kill(pid)
            self._process.wait()


def _all_processes() -> dict[int, list[str]]:
    """The fields of each /proc/PID/stat that stand behind the name; the first is the state."""
    processes = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text(errors="replace")
            except OSError:
                continue
            processes[int(entry)] = text.rpartition(")")[2].split()
    return processes


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run_together(commands: list[list[str]], log: Path) -> None:
    """Runs programs at the same time and waits for all of them. Raises Failure if one fails."""
    end = time.monotonic() + RUN_MAX
    with log.open("ab") as out:
        running = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out) for command in commands]
    try:
        codes = [process.wait(max(0.0, end - time.monotonic())) for process in running]
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{error.cmd[0]} did not end within {RUN_MAX:.0f} s") from None
    finally:
        for process in running:
            process.kill()
            process.wait()
    if any(codes):
        raise Failure(f"{sum(map(bool, codes))} of {len(codes)} {commands[0][0]} failed: {tail(log)}")


def run_again_and_again(clients: int, seconds: float, command: Callable[[int, int], list[str]], log: Path) -> list[int]:
    """Lets each client run one program after the other, beginning none after so many seconds.

    `command` says what the client of a number runs the how-many-eth time. The result is how many each has run.
    """
    end = time.monotonic() + seconds

    def client(number: int) -> int:
        count = 0
        while time.monotonic() < end:
            run_together([command(number, count)], log)
            count += 1
        return count

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(client, range(clients)))


def tail(log: Path) -> str:
    """The last that was written to a log, for an error."""
    text = log.read_text(errors="replace").strip() if log.exists() else ""
    return text[-MESSAGE_MAX:] or "it said nothing"
