"""A key-value store on PySyncObj, and a client of it for the bench: JSON lines in, JSON lines out."""
import json, sys
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from urllib.parse import urlsplit


def node(ip, others, journal, reads):
    from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, SyncObjConsumer, SyncObjException, replicated

    class Store(SyncObjConsumer):
        def __init__(self):
            super().__init__()
            self.held = {}

        @replicated
        def ask(self, kind, key, value, old):
            held = self.held.get(key)
            if kind == "cas" and held != old:
                return {"type": "error", "code": 22, "text": "it holds %s" % held}
            if kind in ("write", "cas"):
                self.held[key] = value
            elif kind == "delete":
                self.held.pop(key, None)
            return {"type": kind + "_ok", "value": held} if kind == "read" else {"type": kind + "_ok"}

    store = Store()
    # Its journal is a mapped file: it outlives the process, and not a loss of power.
    conf = SyncObjConf(bindAddress=ip + ":7001", journalFile=journal, connectionRetryTime=0.2, commandsWaitLeader=False, appendEntriesUseBatch=False)
    sync = SyncObj(ip + ":7001", [other + ":7001" for other in others], conf, consumers=[store])
    # The command was never put into a log.
    never = (FAIL_REASON.QUEUE_FULL, FAIL_REASON.MISSING_LEADER, FAIL_REASON.REQUEST_DENIED)

    def perform(body):
        if body["type"] == "read" and reads == "local":
            return {"type": "read_ok", "value": store.held.get(body["key"])}
        try:
            value = body.get("value", body.get("to"))
            return store.ask(body["type"], body["key"], value, body.get("from"), sync=True, timeout=5)
        except SyncObjException as error:
            return {"type": "error", "code": 11 if error.errorCode in never else 13, "text": str(error.errorCode)}

    class Server(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status = sync.getStatus()
            self.answer({"leads": status["state"] == 2, "term": status["raft_term"]})

        def do_POST(self):
            self.answer(perform(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def answer(self, answer):
            text = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    ThreadingTCPServer.allow_reuse_address = ThreadingTCPServer.daemon_threads = True
    ThreadingTCPServer((ip, 7000), Server).serve_forever()


def client():
    for line in sys.stdin:
        message = json.loads(line)
        body, sent = message["body"], False
        try:
            if body["type"] == "init":
                answer = {"type": "init_ok"}
            else:
                at = urlsplit("//" + message["addr"])
                connection = HTTPConnection(at.hostname, at.port, timeout=10)
                connection.connect()
                sent = True
                connection.request("POST", "/", json.dumps(body))
                answer = json.loads(connection.getresponse().read())
                connection.close()
        except Exception as error:
            answer = {"type": "error", "code": 0 if sent else 11, "text": str(error)}
        print(json.dumps({"body": {**answer, "in_reply_to": body["msg_id"]}}), flush=True)


if sys.argv[1] == "client":
    client()
else:
    node(sys.argv[2], sys.argv[3].split(","), sys.argv[4], sys.argv[5])
