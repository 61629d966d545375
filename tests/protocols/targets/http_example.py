"""A store with an HTTP interface, in one dictionary. Keys that begin with "case-" are answered as their names say."""
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

store = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def say(self, status, body=None, **headers):
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        for name, value in {"Content-Length": len(text), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(text.encode())

    def any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or "null")
        if self.path == "/health":
            return self.say(200, {})
        if self.headers.get("X-Node") != "n1" or not self.path.startswith("/v1/kv/"):
            return self.say(400, "not as the file says")
        key, _, verb = self.path[len("/v1/kv/"):].partition("/")
        if key.startswith("case-"):
            return self.case(key[len("case-"):])
        found = store.get(key)
        if self.command == "GET":
            return self.say(404) if found is None else self.say(200, {"value": found})
        if self.command == "PUT":
            store[key] = body["value"]
        elif self.command == "DELETE":
            store.pop(key, None)
        elif verb == "cas":
            if found != body["old"]:
                return self.say(409, {"found": found})
            store[key] = body["new"]
        self.say(200, {})

    def case(self, case):
        if case == "moved":
            self.say(307, "", Location="http://127.9.9.2:8080/v1/kv/x")
        elif case == "misdirected":
            self.say(421, {"leader": 3})
        elif case == "no-leader":
            self.say(500, {"code": "no-leader"})
        elif case == "error":
            self.say(500, {"code": "oops"})
        elif case == "closed":
            self.close_connection = True
        elif case == "closes":
            self.say(200, {"value": 17}, Connection="close")
        elif case == "short":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"{}")
            self.close_connection = True
        elif case == "text":
            self.say(200, {"value": "seventeen"})
        elif case == "nothing":
            self.say(200, {"other": 1})
        elif case == "null":
            self.say(200, {"value": None})
        elif case == "html":
            self.say(200, "<html>")

    do_GET = do_PUT = do_POST = do_DELETE = any


ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
