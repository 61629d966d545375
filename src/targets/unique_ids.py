"""A unique-ids node for Maelstrom: every id is the node's name, what its life began with, and a count.

JSON lines in, JSON lines out; nodes do not speak with one another. With --ids count an id is the count alone, which
is the classic mistake: every node counts from 1.
"""
import json, os, sys

COUNT_ONLY = sys.argv[1:3] == ["--ids", "count"]
# A node that is started again has forgotten how far it was: its ids begin anew with other letters.
LIFE = os.urandom(6).hex()


def main():
    node, count = None, 0
    for line in sys.stdin:
        message = json.loads(line)
        body, reply = message["body"], None
        if body["type"] == "init":
            node, reply = body["node_id"], {"type": "init_ok"}
        elif body["type"] == "generate" and node:
            count += 1
            given = count if COUNT_ONLY else "%s-%s-%d" % (node, LIFE, count)
            reply = {"type": "generate_ok", "id": given}
        elif "msg_id" in body:
            reply = {"type": "error", "code": 10, "text": "there is no %s here" % body["type"]}
        if reply:
            reply["in_reply_to"] = body["msg_id"]
            print(json.dumps({"src": node, "dest": message["src"], "body": reply}), flush=True)


main()
