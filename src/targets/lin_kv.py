"""A lin-kv node for Maelstrom: Raft (Ongaro & Ousterhout 2014) in memory, every operation through the log.

JSON lines in, JSON lines out. A node that does not lead passes an operation on to whoever leads, once; the leader
answers when the entry is committed and applied. With --reads local a read is answered from the node's own state,
which is the classic mistake. Nothing is kept on a disk: do not start a node again.
"""
import json, random, select, sys, os, time

LOCAL_READS = sys.argv[1:3] == ["--reads", "local"]
HEARTBEAT, ELECTION = 0.08, (0.4, 0.8)
UNAVAILABLE, NO_KEY, OTHER_VALUE, NOT_SUPPORTED = 11, 20, 22, 10


class Node:
    def __init__(self):
        self.id, self.nodes = None, []
        self.term, self.voted_for, self.role, self.leader = 0, None, "follower", None
        self.log = [(0, None)]                      # (term, operation); the first is a sentinel
        self.commit, self.applied, self.state = 0, 0, {}
        self.votes, self.next, self.match = set(), {}, {}
        self.due = self.beat = 0.0

    # Messages.
    def say(self, dest, body):
        sys.stdout.write(json.dumps({"src": self.id, "dest": dest, "body": body}) + "\n")
        sys.stdout.flush()

    def answer(self, to, body):
        self.say(to["src"], {**body, "in_reply_to": to["body"]["msg_id"]})

    def error(self, to, code, text):
        self.answer(to, {"type": "error", "code": code, "text": text})

    def peers(self):
        return [node for node in self.nodes if node != self.id]

    def majority(self):
        return len(self.nodes) // 2 + 1

    # Terms and elections.
    def wait(self):
        self.due = time.monotonic() + random.uniform(*ELECTION)

    def step_down(self, term):
        if term > self.term:
            self.term, self.voted_for, self.leader = term, None, None
        self.role = "follower"

    def campaign(self):
        self.role, self.term, self.voted_for, self.leader = "candidate", self.term + 1, self.id, None
        self.votes = {self.id}
        self.wait()
        for peer in self.peers():
            self.say(peer, {"type": "request_vote", "term": self.term, "last": len(self.log) - 1,
                            "last_term": self.log[-1][0]})
        self.count_votes()

    def count_votes(self):
        if self.role == "candidate" and len(self.votes) >= self.majority():
            self.role, self.leader = "leader", self.id
            self.next = {peer: len(self.log) for peer in self.peers()}
            self.match = {peer: 0 for peer in self.peers()}
            self.log.append((self.term, None))      # section 8: an entry of its own term, so that earlier ones commit
            self.replicate()

    def on_request_vote(self, src, body):
        granted = (body["term"] == self.term and self.voted_for in (None, src) and
                   (body["last_term"], body["last"]) >= (self.log[-1][0], len(self.log) - 1))
        if granted:
            self.voted_for = src
            self.wait()
        self.say(src, {"type": "vote", "term": self.term, "granted": granted})

    def on_vote(self, src, body):
        if body["granted"] and body["term"] == self.term:
            self.votes.add(src)
            self.count_votes()

    # Replication.
    def replicate(self):
        self.beat = time.monotonic() + HEARTBEAT
        for peer in self.peers():
            prev = self.next[peer] - 1
            self.say(peer, {"type": "append_entries", "term": self.term, "prev": prev, "prev_term": self.log[prev][0],
                            "entries": self.log[prev + 1:prev + 101], "commit": self.commit})
        self.advance()

    def on_append_entries(self, src, body):
        if body["term"] < self.term:
            return self.say(src, {"type": "appended", "term": self.term, "success": False, "match": 0})
        self.role, self.leader = "follower", src
        self.wait()
        prev = body["prev"]
        if prev >= len(self.log) or self.log[prev][0] != body["prev_term"]:
            return self.say(src, {"type": "appended", "term": self.term, "success": False,
                                  "match": min(prev, len(self.log)) - 1})
        entries = [tuple(entry) for entry in body["entries"]]
        for at, entry in enumerate(entries, prev + 1):
            if at < len(self.log) and self.log[at][0] != entry[0]:
                del self.log[at:]                   # only what contradicts the leader goes: messages overtake each other
            if at >= len(self.log):
                self.log.append(entry)
        self.commit = max(self.commit, min(body["commit"], prev + len(entries)))
        self.apply()
        self.say(src, {"type": "appended", "term": self.term, "success": True, "match": prev + len(entries)})

    def on_appended(self, src, body):
        if self.role != "leader" or body["term"] != self.term:
            return
        if body["success"]:
            self.match[src] = max(self.match[src], body["match"])
            self.next[src] = max(self.next[src], self.match[src] + 1)
            self.advance()
        else:
            self.next[src] = max(self.match[src] + 1, min(self.next[src] - 1, body["match"] + 1))

    def advance(self):
        have = sorted([len(self.log) - 1, *self.match.values()], reverse=True)[self.majority() - 1]
        if have > self.commit and self.log[have][0] == self.term:
            self.commit = have
            self.apply()

    def apply(self):
        while self.applied < self.commit:
            self.applied += 1
            term, operation = self.log[self.applied]
            if operation is not None:
                self.perform(operation, self.role == "leader" and term == self.term)

    # Operations: the message of the client, with the node that answers it.
    def perform(self, operation, answers):
        body, key = operation["body"], operation["body"]["key"]
        found, reply = self.state.get(key), None
        if body["type"] == "write":
            self.state[key] = body["value"]
            reply = {"type": "write_ok"}
        elif found is None:
            reply = {"type": "error", "code": NO_KEY, "text": "no such key"}
        elif body["type"] == "read":
            reply = {"type": "read_ok", "value": found}
        elif found == body["from"]:
            self.state[key] = body["to"]
            reply = {"type": "cas_ok"}
        else:
            reply = {"type": "error", "code": OTHER_VALUE, "text": "it holds %s" % json.dumps(found)}
        if answers:
            self.answer(operation, reply)

    def on_operation(self, message):
        if LOCAL_READS and message["body"]["type"] == "read":
            return self.perform(message, True)
        if self.role == "leader":
            self.log.append((self.term, message))
            self.replicate()
        elif self.leader and not message["body"].get("passed_on"):
            passed_on = {**message, "body": {**message["body"], "passed_on": True}}
            self.say(self.leader, {"type": "pass_on", "operation": passed_on})
        else:
            self.error(message, UNAVAILABLE, "nobody leads")

    # One message, or the clock.
    def receive(self, message):
        src, body = message["src"], message["body"]
        if body["type"] == "init":
            self.id, self.nodes = body["node_id"], body["node_ids"]
            self.wait()
            return self.answer(message, {"type": "init_ok"})
        if self.id is None:
            return                                  # others were told earlier who they are; to them this message is lost
        if body.get("term", 0) > self.term:
            self.step_down(body["term"])
        if body["type"] in ("read", "write", "cas"):
            self.on_operation(message)
        elif body["type"] == "pass_on":
            self.on_operation(body["operation"])
        elif body["type"] in ("request_vote", "vote", "append_entries", "appended"):
            getattr(self, "on_" + body["type"])(src, body)
        elif "msg_id" in body:
            self.error(message, NOT_SUPPORTED, "there is no %s here" % body["type"])

    def tick(self):
        now = time.monotonic()
        if self.role == "leader" and now >= self.beat:
            self.replicate()
        elif self.role != "leader" and self.id and now >= self.due:
            self.campaign()


def main():
    node, rest = Node(), b""
    while True:
        if select.select([0], [], [], 0.01)[0]:
            read = os.read(0, 65536)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                node.receive(json.loads(line))
        node.tick()


main()
