#!/usr/bin/env python3
"""Measures Coffer and what people would use instead: on one machine, in one run, in turns.

Prints a table of medians in Markdown on stdout, and what it is doing on stderr. Each server is started anew for each
measurement, on a free port of 127.0.0.1, and every stored file is compared with what was sent. Exits with 1 if any
measurement failed. docs/PERFORMANCE.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

# Bytecode would be left in the source tree.
sys.dont_write_bytecode = True

from coffer import Coffer
from memory import forget, spread, warm
from nginx import Nginx
from openssh import RsyncOverSsh, Sftp
from rsync import RsyncDaemon
from workloads import FULL, MIB, QUICK, Failure, Sample, Sources, Workloads

GIB = 1 << 30

# The load average over a minute above which the machine counts as busy.
BUSY_LOAD = 0.3

# Bytes that one peer stores in a second of sessions, at the most; an estimate for the disk's space.
SESSIONS_BYTES_PER_SECOND = 128 * MIB

HEADER = """\
| | bulk MB/s | CPU-s/GiB | small files/s | CPU-s/1000 files | sessions/s | CPU-s/1000 | KiB per idle connection |
|---|--:|--:|--:|--:|--:|--:|--:|"""

# What the table shows: the workload, the figure, how it is written.
COLUMNS = [
    ("bulk", "mb_per_second", "{:,.0f}"),
    ("bulk", "cpu_seconds_per_gib", "{:.2f}"),
    ("small", "files_per_second", "{:,.0f}"),
    ("small", "cpu_seconds_per_1000", "{:.3f}"),
    ("sessions", "files_per_second", "{:,.0f}"),
    ("sessions", "cpu_seconds_per_1000", "{:.2f}"),
    ("idle", "kib_per_connection", "{:,.1f}"),
]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of which the medians are taken [default: 3]")
    parser.add_argument("--quick", action="store_true", help="small loads: shows that everything works, no more")
    parser.add_argument("--only", metavar="PEER,...", help="coffer (both dialects), nginx, rsync (both), sftp, ...")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round there")
    parser.add_argument("--folder", type=Path, default=Path(), metavar="DIR", help="where a fresh folder is made")
    built = Path(__file__).resolve().parents[2] / "target" / "release"
    parser.add_argument("--programs", type=Path, default=built, help=f"where cofferd is [default: {built}]")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("at least one round is needed")
    return args


def main() -> int:
    args = arguments()
    # Servers are ended in order also when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    # As many connections as the machine lets one process have, here and in the servers.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    workloads = QUICK if args.quick else FULL
    # The paths of ssh's sockets must be short, so what is no data goes to the folder for temporary files.
    state = Path(tempfile.mkdtemp(prefix="peers-"))
    folder = Path(tempfile.mkdtemp(prefix="peers-", dir=args.folder)).resolve()
    try:
        peers = ready_peers(args, state)
        check_space(folder, workloads, len(peers), args.rounds)
        report = about(args, peers)
        say(f"writing {(workloads.bulk.total_bytes() + workloads.small.total_bytes()) // MIB} MiB to be sent")
        spread(folder)
        sources = Sources(folder / "sources", workloads, seed=1)
        report["measurements"] = measure_all(peers, workloads, sources, folder, args.rounds)
        report["medians"] = medians(report["measurements"])
    except Failure as failure:
        sys.exit(f"measure.py: {failure}")
    finally:
        # Only now: a disk on which much has just been deleted is slow at making files.
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(state, ignore_errors=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    print_table(peers, report)
    return 1 if any("failure" in measurement for measurement in report["measurements"]) else 0


def ready_peers(args: argparse.Namespace, state: Path) -> list[Any]:
    """The peers asked for that can be measured here, prepared. The others are named."""
    programs = args.programs.resolve()
    peers = [Coffer(programs, "825"), Coffer(programs, "1100")]
    for kind in (Nginx, RsyncOverSsh, RsyncDaemon, Sftp):
        place = state / str(len(peers))
        place.mkdir()
        peers.append(kind(place))
    if args.only:
        chosen = args.only.split(",")
        for name in chosen:
            if not any(is_called(peer, name) for peer in peers):
                raise Failure(f"there is no peer '{name}', but: {', '.join(peer.name for peer in peers)}")
        peers = [peer for peer in peers if any(is_called(peer, name) for name in chosen)]
    ready = []
    for peer in peers:
        if missing := peer.missing():
            say(f"{peer.name} is left out: {missing}")
        else:
            peer.prepare()
            ready.append(peer)
    if not ready:
        raise Failure("nothing can be measured")
    return ready


def is_called(peer: Any, name: str) -> bool:
    return peer.name == name or peer.name.startswith(f"{name}-")


def check_space(folder: Path, workloads: Workloads, peers: int, rounds: int) -> None:
    """Nothing is deleted until the end, so there must be space for all of it."""
    once = workloads.bulk.total_bytes() + workloads.small.total_bytes()
    sessions = int(workloads.sessions.seconds * SESSIONS_BYTES_PER_SECOND)
    needed = once + rounds * peers * (once + sessions)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Failure(f"{needed / GIB:.0f} GiB may be needed in {folder}, {free / GIB:.0f} are free")


def about(args: argparse.Namespace, peers: list[Any]) -> dict[str, Any]:
    """The machine and what is measured on it."""
    load = os.getloadavg()[0]
    if load > BUSY_LOAD:
        say(f"this machine is busy (load {load:.1f}): its figures are worth little")
    models = [line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": {
            "cpu": models[0] if models else platform.machine(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1),
            "kernel": platform.release(),
            "load_before": round(load, 2),
        },
        "programs": {peer.name: peer.version() for peer in peers},
        "rounds": args.rounds,
        "quick": args.quick,
    }


def measure_all(
    peers: list[Any], workloads: Workloads, sources: Sources, folder: Path, rounds: int
) -> list[dict[str, Any]]:
    """In each round every workload of every peer; the peers take turns, and another one begins each time."""
    measurements = []
    for number in range(rounds):
        shift = number % len(peers)
        for workload in ("bulk", "small", "sessions", "idle"):
            for peer in [*peers[shift:], *peers[:shift]]:
                place = folder / f"{number}-{workload}-{peer.name}"
                place.mkdir()
                figures = measure(peer, workload, workloads, sources, place)
                if figures:
                    say(f"round {number + 1}, {workload}, {peer.name}: {in_words(figures)}")
                    measurements.append({"round": number + 1, "workload": workload, "peer": peer.name, **figures})
    return measurements


def measure(peer: Any, workload: str, workloads: Workloads, sources: Sources, place: Path) -> dict[str, Any]:
    """The figures of one measurement; none where the peer is not measured; a failure in words."""
    # What others have left to be written is not this one's affair.
    os.sync()
    warm(warm_bytes(workload, workloads))
    try:
        if workload == "idle":
            kib = peer.idle(workloads.idle, place)
            return {} if kib is None else {"kib_per_connection": kib}
        if workload == "sessions":
            return figures_of(peer.sessions(workloads.sessions, sources, place))
        return figures_of(peer.transfer(workload, getattr(workloads, workload), sources, place))
    except (Failure, OSError, subprocess.TimeoutExpired) as failure:
        return {"failure": str(failure)}
    finally:
        forget(place)


def warm_bytes(workload: str, workloads: Workloads) -> int:
    """More memory than the measurement needs for what it sends (encrypted beforehand), stores, and its processes."""
    return max(GIB, 3 * workloads.bulk.total_bytes()) if workload == "bulk" else GIB


def in_words(figures: dict[str, Any]) -> str:
    """What is told while it is measured."""
    if "failure" in figures:
        return f"FAILED, {figures['failure']}"
    if "kib_per_connection" in figures:
        return f"{figures['kib_per_connection']:.1f} KiB per connection"
    return (
        f"{figures['files']} files in {figures['seconds']:.2f} s, {figures['mb_per_second']:,.0f} MB/s, "
        f"{figures['files_per_second']:,.0f} files/s, {figures['cpu_seconds']:.2f} CPU-s"
    )


def figures_of(sample: Sample) -> dict[str, Any]:
    return {
        "seconds": sample.seconds,
        "cpu_seconds": sample.cpu_seconds,
        "files": sample.files,
        "bytes": sample.bytes,
        "mb_per_second": sample.bytes / sample.seconds / 1e6,
        "files_per_second": sample.files / sample.seconds,
        "cpu_seconds_per_gib": sample.cpu_seconds / sample.bytes * GIB,
        "cpu_seconds_per_1000": sample.cpu_seconds / sample.files * 1000,
    }


def medians(measurements: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """For each peer the medians of what the table shows; of failed measurements there are none."""
    found: dict[str, dict[str, list[float]]] = {}
    for measurement in measurements:
        for workload, figure, _ in COLUMNS:
            if workload == measurement["workload"] and figure in measurement:
                of_peer = found.setdefault(measurement["peer"], {})
                of_peer.setdefault(f"{workload} {figure}", []).append(measurement[figure])
    return {peer: {key: median(values) for key, values in figures.items()} for peer, figures in found.items()}


def print_table(peers: list[Any], report: dict[str, Any]) -> None:
    machine = report["machine"]
    quick = ", quick loads" if report["quick"] else ""
    print(f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}; ", end="")
    print(f"load before: {machine['load_before']}; medians of {report['rounds']}{quick}\n")
    print(HEADER)
    for peer in peers:
        figures = report["medians"].get(peer.name, {})
        cells = []
        for workload, figure, form in COLUMNS:
            value = figures.get(f"{workload} {figure}")
            cells.append("" if value is None else form.format(value))
        print(f"| {peer.label} | {' | '.join(cells)} |")
    for name, version in report["programs"].items():
        print(f"\n{name}: {version}", end="")
    print()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
