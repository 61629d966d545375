"""A key-value store over HTTP, for the tests: the first node holds the values, the others ask it. With --stale a node answers
reads of a key from what it has seen of it last."""
import sys
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

ip, first, stale = sys.argv[1], sys.argv[2], "--stale" in sys.argv
values, seen, lock = {}, {}, Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def forward(self, method, body=None):
        try:
            there = HTTPConnection(first, 8080, timeout=2)
            there.request(method, self.path, body)
            answer = there.getresponse()
            return answer.status, answer.read()
        except ConnectionRefusedError:
            return 503, b"the first node refuses"
        except OSError as error:
            return 504, str(error).encode()

    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, b"ok")
        if ip != first:
            if stale and self.path in seen:
                return self.answer(200, seen[self.path])
            status, body = self.forward("GET")
            if status == 200:
                seen[self.path] = body
            return self.answer(status, body)
        with lock:
            body = values.get(self.path)
        return self.answer(404) if body is None else self.answer(200, body)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if ip != first:
            return self.answer(*self.forward("PUT", body))
        with lock:
            values[self.path] = body
        self.answer(200)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
