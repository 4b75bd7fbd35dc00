"""nginx, which takes files by HTTP PUT over TLS 1.3 and never syncs them."""

from __future__ import annotations

import getpass
import ssl
import time
from pathlib import Path

import tls_clients
from processes import Server, find_program, free_port, output_of, program
from workloads import Failure, Load, Sample, Sessions, Sources, client_name, compare_clients, compare_sessions

# Where sessions put their files; only there a password is asked for, since elsewhere nobody logs in while the clock
# runs.
SESSIONS = "/sessions/"
PASSWORD = "peers:a password"

# Seconds between the last handshake and the look at the memory, as in `coffer-loadtest idle`.
SETTLE_SECONDS = 2

# reuseport: without it one of the workers would take nearly all connections of few clients.
CONFIGURATION = """\
user {user};
worker_processes 2;
daemon off;
pid {state}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_buffer_size 256k;
    client_body_temp_path {folder}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    client_header_timeout 600s;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{port} ssl reuseport backlog=4096;
        ssl_protocols TLSv1.3;
        ssl_certificate {state}/certificate.pem;
        ssl_certificate_key {state}/key.pem;
        ssl_session_tickets off;
        ssl_session_cache off;
        root {folder}/stored;
        location / {{ dav_methods PUT; }}
        location {sessions} {{
            dav_methods PUT;
            auth_basic peers;
            auth_basic_user_file {state}/passwords;
        }}
    }}
}}
"""


class Nginx:
    """The peer. `state` is a folder for keys and the like."""

    name = "nginx"
    label = "nginx, PUT over TLS 1.3, never syncs"

    def __init__(self, state: Path) -> None:
        self._state = state

    def missing(self) -> str | None:
        """What has to be installed before this can be measured."""
        for name in ("nginx", "openssl"):
            if find_program(name) is None:
                return f"there is no program '{name}'"
        built = output_of([program("nginx"), "-V"])
        modules = ("http_dav_module", "http_ssl_module")
        return next((f"nginx was built without {module}" for module in modules if module not in built), None)

    def version(self) -> str:
        return output_of([program("nginx"), "-v"]).strip()

    def prepare(self) -> None:
        """Makes its keys: of the kind that costs a server the least."""
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"]
        files = ["-keyout", str(self._state / "key.pem"), "-out", str(self._state / "certificate.pem")]
        output_of([program("openssl"), "req", "-x509", *kind, *files])
        user, _, password = PASSWORD.partition(":")
        (self._state / "passwords").write_text(f"{user}:{{PLAIN}}{password}\n")

    def transfer(self, name: str, load: Load, sources: Sources, folder: Path) -> Sample:
        for client in range(load.clients):
            (folder / "stored" / client_name(client)).mkdir(parents=True)
        with self._serve(folder) as server:
            with tls_clients.Crowd(load.clients, tls_clients.send_files(server.port, name, load, sources)) as crowd:
                sample = server.measure(crowd.work, load.clients * load.files, load.size)
        compare_clients(folder / "stored", name, load, sources)
        return sample

    def sessions(self, sessions: Sessions, sources: Sources, folder: Path) -> Sample:
        stored = folder / "stored" / SESSIONS.strip("/")
        stored.mkdir(parents=True)
        with self._serve(folder) as server:
            prepare = tls_clients.do_sessions(server.port, SESSIONS, PASSWORD, sessions, sources)
            with tls_clients.Crowd(sessions.clients, prepare) as crowd:
                sample = server.measure(crowd.work, 0, 0)
        compare_sessions(stored, crowd.counts, sources)
        files = sum(crowd.counts)
        return Sample(sample.seconds, sample.cpu_seconds, files, files * sessions.size)

    def idle(self, connections: int, folder: Path) -> float | None:
        """KiB for each connection that stands after its handshake."""
        (folder / "stored").mkdir(parents=True)
        with self._serve(folder) as server:
            before = server.anonymous_kib()
            context = tls_clients.tls_context()
            standing = [tls_clients.connect(server.port, context) for _ in range(connections)]
            time.sleep(SETTLE_SECONDS)
            grown = server.anonymous_kib() - before
            self._check(standing)
        return grown / connections

    def _check(self, standing: list[ssl.SSLSocket]) -> None:
        """That the server has hung up on none of them; in TLS 1.3 a client does not learn of it in its handshake."""
        for connection in standing:
            connection.setblocking(False)
            try:
                answer = connection.recv(1)
                raise Failure(f"an idle connection was not left alone: {answer!r}")
            except ssl.SSLWantReadError:
                connection.close()

    def _serve(self, folder: Path) -> Server:
        port = free_port()
        configuration = folder / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(
                user=getpass.getuser(), state=self._state, folder=folder, port=port, sessions=SESSIONS
            )
        )
        # Without a prefix of its own it would write a log below /var before it reads its configuration.
        command = [program("nginx"), "-p", str(self._state), "-c", str(configuration), "-e", "stderr"]
        return Server(command, port, folder / "server.log")
