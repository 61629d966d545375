"""A g-set node for Maelstrom: a linearizable set that only grows, by majorities.

JSON lines in, JSON lines out. An element is added when a majority has it. A read asks until a majority has exactly what
it is going to answer: sets only grow, so of two answers one holds the other, and a later one holds all that an earlier
one did (after Attiya, Bar-Noy & Dolev 1995). With --reads local a node answers from what it has itself, and an element is
added when one node has it, which is the classic mistake. Nothing is kept on a disk: do not start a node again.
"""
import json, os, select, sys, time

LOCAL = sys.argv[1:3] == ["--reads", "local"]
AGAIN_AFTER, GIVE_UP_AFTER = 0.15, 3.0
NOT_SUPPORTED = 10


class Node:
    def __init__(self):
        self.id, self.peers = None, []
        self.has, self.asked, self.next = set(), {}, 0

    def say(self, dest, body):
        sys.stdout.write(json.dumps({"src": self.id, "dest": dest, "body": body}) + "\n")
        sys.stdout.flush()

    def answer(self, to, body):
        self.say(to["src"], {**body, "in_reply_to": to["body"]["msg_id"]})

    # A round: everybody takes these elements in, and says what it has then.
    def ask(self, message, elements, read):
        self.next += 1
        now = time.monotonic()
        self.asked[self.next] = {"message": message, "elements": elements, "read": read, "has": {self.id: set(self.has)},
                                 "again": now + AGAIN_AFTER, "until": now + GIVE_UP_AFTER}
        self.send(self.next)
        self.count(self.next)

    def send(self, number):
        asked = self.asked[number]
        for peer in self.peers:
            if peer not in asked["has"]:
                self.say(peer, {"type": "merge", "number": number, "elements": sorted(asked["elements"]),
                                "read": asked["read"]})

    def count(self, number):
        asked = self.asked[number]
        if len(asked["has"]) <= (len(self.peers) + 1) // 2:
            return
        del self.asked[number]
        if not asked["read"]:
            return self.answer(asked["message"], {"type": "add_ok"})
        everything = set().union(*asked["has"].values())
        if all(has == everything for has in asked["has"].values()):
            return self.answer(asked["message"], {"type": "read_ok", "value": sorted(everything)})
        self.has |= everything
        self.ask(asked["message"], everything, True)

    def receive(self, message):
        src, body = message["src"], message["body"]
        if body["type"] == "init":
            self.id = body["node_id"]
            self.peers = [node for node in body["node_ids"] if node != self.id]
            return self.answer(message, {"type": "init_ok"})
        if self.id is None:
            return                                  # others were told earlier who they are; to them this message is lost
        if body["type"] == "add":
            self.has.add(body["element"])
            if LOCAL:
                self.answer(message, {"type": "add_ok"})
                for peer in self.peers:
                    self.say(peer, {"type": "merge", "number": 0, "elements": [body["element"]], "read": False})
            else:
                self.ask(message, {body["element"]}, False)
        elif body["type"] == "read":
            if LOCAL:
                self.answer(message, {"type": "read_ok", "value": sorted(self.has)})
            else:
                self.ask(message, set(self.has), True)
        elif body["type"] == "merge":
            self.has.update(body["elements"])
            self.say(src, {"type": "merged", "number": body["number"],
                           "elements": sorted(self.has) if body["read"] else []})
        elif body["type"] == "merged":
            if body["number"] in self.asked:
                self.asked[body["number"]]["has"][src] = set(body["elements"])
                self.count(body["number"])
        elif "msg_id" in body:
            self.answer(message, {"type": "error", "code": NOT_SUPPORTED, "text": "there is no %s here" % body["type"]})

    def tick(self):
        now = time.monotonic()
        for number, asked in list(self.asked.items()):
            if now >= asked["until"]:
                del self.asked[number]              # its client has given up
            elif now >= asked["again"]:
                asked["again"] = now + AGAIN_AFTER
                self.send(number)


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
