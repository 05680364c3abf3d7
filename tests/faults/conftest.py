"""A real server for the things that stand in front of it: it answers `body_of` each path."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


def body_of(path):
    """1,000 bytes that no other path has."""
    return (path.encode() + b"-") * 1000


class Handler(BaseHTTPRequestHandler):
    """Any method, any path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = body_of(self.path)[: 1000 if self.path != "/empty" else 0]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the base class asks for this name

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """Says nothing of clients that went away: they are what is tested here."""

    daemon_threads = True

    def handle_error(self, *_):
        pass


@pytest.fixture(scope="session")
def server():
    """Its address."""
    running = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield running.server_address
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def client():
    """``client(port)`` is an open connection; all are closed when the test is over."""
    connections = []

    def connect(port):
        connections.append(http.client.HTTPConnection("127.0.0.1", port, timeout=20))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


@pytest.fixture
def get(client):
    """``get(port, path)`` on a connection of its own: status and body."""

    def fetch(port, path, method="GET"):
        connection = client(port)
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()

    return fetch
