"""A store with the HTTP interface of openraft's own examples, and without its Raft: whoever is initialised leads for ever and
keeps the values, and tells the others of each write without waiting for them. Its linearizable reads are those of one copy;
its /read is a node's own state, which is old where the others' word does not come.

    POST /init               [[1,"127.0.0.1:21001"], ...], or nothing for this node alone     {"Ok":null}
    POST /add-learner        [2,"127.0.0.1:21002"]        {"Ok":{...}}
    POST /change-membership  [1,2,3]                      {"Ok":{...}}
    POST /write              {"Set":{"key":"k","value":"v"}}   {"Ok":{...}} or {"Err":{"APIError":{"ForwardToLeader":{...}}}}
    POST /read               "k"                          {"Ok":"v"}, of an absent key {"Ok":""}
    POST /linearizable_read  "k"                          the same, or an Err
    GET  /metrics                                         {"Ok":{"id":1,"current_term":1,"current_leader":1, ...}}
"""

import argparse
import http.client
import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

arguments = argparse.ArgumentParser()
arguments.add_argument("--id", type=int, required=True)
arguments.add_argument("--http-addr", required=True)
arguments = arguments.parse_args()

lock = threading.Lock()
values = {}
members = {}  # Of everybody who is told: its address, and what it has yet to be told.
state = {"term": 0, "leader": None, "applied": 0}


def tell(address, waiting):
    """Tells one other node what the leader has done, in its order, each thing until it has heard it."""
    while True:
        word = waiting.get()
        while True:
            try:
                connection = http.client.HTTPConnection(address, timeout=1)
                connection.request("POST", "/told", json.dumps(word))
                if connection.getresponse().status == 200:
                    break
            except OSError:
                pass
            finally:
                connection.close()


def joins(node, address):
    if node == arguments.id or node in members:
        return
    waiting = queue.Queue()
    members[node] = (address, waiting)
    waiting.put({"leader": state["leader"], "term": state["term"], "values": dict(values)})
    threading.Thread(target=tell, args=(address, waiting), daemon=True).start()


def forward():
    leader = state["leader"]
    node = None if leader is None else {"addr": "?"}
    return {"Err": {"APIError": {"ForwardToLeader": {"leader_id": leader, "leader_node": node}}}}


def done(value=None):
    log_id = {"leader_id": {"term": state["term"], "node_id": arguments.id}, "index": state["applied"]}
    return {"Ok": {"log_id": log_id, "data": {"value": value}, "membership": None}}


def answer(path, said):
    if path == "/init":
        if state["leader"] is not None:
            return {"Err": {"APIError": {"NotAllowed": {}}}}
        state.update(leader=arguments.id, term=1)
        for node, address in said or []:
            joins(node, address)
        return {"Ok": None}
    if path == "/told":
        state.update(leader=said["leader"], term=said["term"])
        values.update(said["values"])
        return {"Ok": None}
    leads = state["leader"] == arguments.id
    if path == "/metrics":
        return {
            "Ok": {
                "id": arguments.id,
                "state": "Leader" if leads else "Follower",
                "current_term": state["term"],
                "current_leader": state["leader"],
                "last_applied": {"leader_id": {"term": state["term"]}, "index": state["applied"]},
            }
        }
    if path == "/read":
        return {"Ok": values.get(said, "")}
    if not leads:
        return forward()
    if path == "/linearizable_read":
        return {"Ok": values.get(said, "")}
    if path == "/add-learner":
        joins(*said)
        return done()
    if path == "/change-membership":
        return done() if set(said) == {arguments.id, *members} else {"Err": {"APIError": {"ChangeMembershipError": {}}}}
    if path == "/write":
        one = said["Set"]
        values[one["key"]] = one["value"]
        state["applied"] += 1
        for _, waiting in members.values():
            waiting.put({"leader": arguments.id, "term": state["term"], "values": {one["key"]: one["value"]}})
        return done(one["value"])
    return None


class Node(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def take(self):
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        # actix answers 415 to JSON that does not say that it is JSON.
        if self.command == "POST" and self.path != "/told" and self.headers.get("content-type") != "application/json":
            return self.say(415, b"")
        with lock:
            found = answer(self.path, json.loads(body) if body else None)
        return self.say(404 if found is None else 200, json.dumps(found, separators=(",", ":")).encode())

    def say(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = take


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


host, port = arguments.http_addr.rsplit(":", 1)
Server((host, int(port)), Node).serve_forever()
