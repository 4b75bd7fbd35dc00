"""Clients that send files with HTTP PUT over TLS 1.3, each a process, so that they do not wait for each other.

They do as little as a client can: requests are put together beforehand, the certificate is not verified, nothing of an
answer is looked at but its status.
"""

from __future__ import annotations

import mmap
import multiprocessing
import socket
import ssl
import time
from base64 import b64encode
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Callable

from processes import RUN_MAX
from workloads import Failure, Load, Sessions, Sources, client_name, file_name, session_name

# Bytes given to the TLS library at once.
PIECE_BYTES = 1 << 20

# Bytes that the head of an answer may have.
ANSWER_MAX = 64 << 10

# A client's work: what is done before the clock starts; it gives what is done after, which gives a number of files.
Prepare = Callable[[int], Callable[[], int]]


class Crowd:
    """Processes that have prepared their work and wait to begin. A context: they are ended when it is left."""

    def __init__(self, clients: int, prepare: Prepare) -> None:
        fork = multiprocessing.get_context("fork")
        self._processes = []
        self._pipes: list[Connection] = []
        self.counts: list[int] = []
        for number in range(clients):
            ours, theirs = fork.Pipe()
            process = fork.Process(target=_live, args=(theirs, prepare, number), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)

    def __enter__(self) -> Crowd:
        try:
            self._receive()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    def work(self) -> None:
        """Lets all begin and waits for the last of them."""
        for pipe in self._pipes:
            pipe.send(None)
        self.counts = self._receive()

    def _receive(self) -> list[int]:
        end = time.monotonic() + RUN_MAX
        answers = []
        for pipe in self._pipes:
            if not pipe.poll(max(0.0, end - time.monotonic())):
                raise Failure(f"a client did not answer within {RUN_MAX:.0f} s")
            try:
                answers.append(pipe.recv())
            except EOFError:
                raise Failure("a client ended without a word") from None
        for answer in answers:
            if isinstance(answer, str):
                raise Failure(f"a client failed: {answer}")
        return answers


def _live(pipe: Connection, prepare: Prepare, number: int) -> None:
    """A client's process. It tells a number, or in words what went wrong."""
    try:
        work = prepare(number)
        pipe.send(0)
        pipe.recv()
        pipe.send(work())
    except EOFError:
        pass
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


def tls_context() -> ssl.SSLContext:
    """TLS 1.3 and nothing else, without a look at the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection after its handshake."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=RUN_MAX)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain, suppress_ragged_eofs=False)


def send_files(port: int, name: str, load: Load, sources: Sources) -> Prepare:
    """Connects, then sends all files of a client over this one connection, each after the answer to the one before."""

    def prepare(client: int) -> Callable[[], int]:
        requests = []
        for number in range(load.files):
            head = _head(f"/{client_name(client)}/{file_name(number)}", load.size)
            requests.append(_request(head, sources.of_client(name, client) / file_name(number)))
        connection = connect(port, tls_context())

        def work() -> int:
            for pieces in requests:
                _put(connection, pieces)
            return len(requests)

        return work

    return prepare


def do_sessions(port: int, path: str, authorization: str, sessions: Sessions, sources: Sources) -> Prepare:
    """Connects, authenticates, sends one file, leaves; again, beginning nothing after the sessions' seconds."""

    def prepare(client: int) -> Callable[[], int]:
        body = sources.of_session(client).read_bytes()
        context = tls_context()
        encoded = b64encode(authorization.encode()).decode()

        def work() -> int:
            end = time.monotonic() + sessions.seconds
            count = 0
            while time.monotonic() < end:
                head = _head(path + session_name(client, count), len(body), f"Authorization: Basic {encoded}\r\n")
                with connect(port, context) as connection:
                    _put(connection, [head + body])
                count += 1
            return count

        return work

    return prepare


def _head(path: str, size: int, more: str = "") -> bytes:
    return f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n{more}\r\n".encode()


def _request(head: bytes, source: Path) -> list[memoryview | bytes]:
    """A request in pieces; a small one is a single piece, so that it leaves in a single record."""
    with source.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if len(content) <= PIECE_BYTES:
        return [head + content[:]]
    # One look at every page now, so that none is met for the first time while the clock runs.
    view = memoryview(content)
    sum(view[:: mmap.PAGESIZE])
    return [head, *(view[start : start + PIECE_BYTES] for start in range(0, len(view), PIECE_BYTES))]


def _put(connection: ssl.SSLSocket, pieces: list[memoryview | bytes]) -> None:
    for piece in pieces:
        connection.sendall(piece)
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(ANSWER_MAX)
        if not piece or len(answer) > ANSWER_MAX:
            raise Failure(f"no answer, but {answer[:80]!r}")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 201 "):
        raise Failure(f"the server says {answer.splitlines()[0]!r}")
