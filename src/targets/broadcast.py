"""A broadcast node for Maelstrom: what a client says to one node, all of them have in the end.

JSON lines in, JSON lines out. A node keeps what it was told and passes it on to every other node until that one says
that it has it. With --retry never it passes each message on once, which is the classic mistake: what is lost on its
way is lost for good. Nothing is kept on a disk: do not start a node again.
"""
import json, os, select, sys, time

ONCE = sys.argv[1:3] == ["--retry", "never"]
AGAIN_AFTER = 0.2
NOT_SUPPORTED = 10


class Node:
    def __init__(self):
        self.id, self.peers = None, []
        self.has, self.owed, self.due = set(), {}, 0.0

    def say(self, dest, body):
        sys.stdout.write(json.dumps({"src": self.id, "dest": dest, "body": body}) + "\n")
        sys.stdout.flush()

    def answer(self, to, body):
        self.say(to["src"], {**body, "in_reply_to": to["body"]["msg_id"]})

    # What is new goes to everybody but who told it; who has it says so.
    def learn(self, values, source):
        new = [value for value in values if value not in self.has]
        self.has.update(new)
        for peer in self.peers:
            if new and peer != source:
                self.say(peer, {"type": "pass_on", "messages": new})
                if not ONCE:
                    self.owed[peer].update(new)

    def receive(self, message):
        src, body = message["src"], message["body"]
        if body["type"] == "init":
            self.id = body["node_id"]
            self.peers = [node for node in body["node_ids"] if node != self.id]
            self.owed = {peer: set() for peer in self.peers}
            return self.answer(message, {"type": "init_ok"})
        if self.id is None:
            return                                  # others were told earlier who they are; to them this message is lost
        if body["type"] == "topology":
            self.answer(message, {"type": "topology_ok"})
        elif body["type"] == "broadcast":
            self.learn([body["message"]], src)
            self.answer(message, {"type": "broadcast_ok"})
        elif body["type"] == "read":
            self.answer(message, {"type": "read_ok", "messages": sorted(self.has)})
        elif body["type"] == "pass_on":
            self.learn(body["messages"], src)
            self.say(src, {"type": "passed_on", "messages": body["messages"]})
        elif body["type"] == "passed_on":
            self.owed[src].difference_update(body["messages"])
        elif "msg_id" in body:
            self.answer(message, {"type": "error", "code": NOT_SUPPORTED, "text": "there is no %s here" % body["type"]})

    def tick(self):
        now = time.monotonic()
        if now >= self.due:
            self.due = now + AGAIN_AFTER
            for peer, owed in self.owed.items():
                if owed:
                    self.say(peer, {"type": "pass_on", "messages": sorted(owed)})


def main():
    node, rest = Node(), b""
    while True:
        if select.select([0], [], [], 0.02)[0]:
            read = os.read(0, 65536)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                node.receive(json.loads(line))
        node.tick()


main()
