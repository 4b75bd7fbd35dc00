"""Coffer itself, measured by its own load test, which starts the server and compares what it stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from processes import find_program, output_of
from workloads import Failure, Load, Sample, Sessions, Sources


class Coffer:
    """A dialect of it. `programs` is the folder in which its programs were built."""

    def __init__(self, programs: Path, dialect: str) -> None:
        self._server = programs / "cofferd"
        self._loadtest = programs / "coffer-loadtest"
        self._dialect = dialect
        self.name = f"coffer-{dialect}"
        self.label = f"**Coffer, d{dialect}**, encrypted, synced"

    def missing(self) -> str | None:
        """What has to be built before this can be measured."""
        absent = [path for path in (self._server, self._loadtest) if find_program(str(path)) is None]
        return f"there is no {absent[0]}: cargo build --release -p cofferd -p coffer-loadtest" if absent else None

    def version(self) -> str:
        return output_of([str(self._server), "--version"]).strip()

    def prepare(self) -> None:
        """The load test brings its own keys."""

    def transfer(self, name: str, load: Load, sources: Sources, folder: Path) -> Sample:
        """The load test makes its own contents. It exchanges keys and encrypts before the clock starts."""
        order = ["--clients", str(load.clients), "--files", str(load.files), "--size", str(load.size), "--preload"]
        return self._run(order, load.size, folder)

    def sessions(self, sessions: Sessions, sources: Sources, folder: Path) -> Sample:
        order = ["--sessions", "--clients", str(sessions.clients), "--duration", str(sessions.seconds)]
        return self._run([*order, "--size", str(sessions.size)], sessions.size, folder)

    def idle(self, connections: int, folder: Path) -> float | None:
        """KiB for each client that has registered, connected anew, exchanged keys, and is silent."""
        if self._dialect != "825":
            return None
        report = self._report(["idle", "--clients", str(connections), "--reconnected"], folder)
        if report["connections"] != connections:
            raise Failure(f"{report['connections']} of {connections} connections stood")
        return report["server"]["bytes_per_connection"] / 1024

    def _run(self, order: list[str], size: int, folder: Path) -> Sample:
        report = self._report(["run", "--dialect", self._dialect, *order], folder)
        stored, view = report["stored"], report["view"]
        if report["errors"] or stored["missing"] or stored["different"] or stored["identical"] < report["files"]:
            raise Failure(f"errors: {report['errors']}, stored: {stored}")
        # Writing the folders of plain files may go on after the last answer. It belongs to the price.
        cpu_seconds = report["server"]["cpu_seconds"] + view["cpu_seconds"]
        return Sample(report["seconds"], cpu_seconds, report["files"], report["files"] * size)

    def _report(self, order: list[str], folder: Path) -> Any:
        path = folder / "report.json"
        place = ["--spawn", str(self._server), "--data", str(folder / "data"), "--json", str(path)]
        output_of([str(self._loadtest), *order, *place])
        return json.loads(path.read_text())
