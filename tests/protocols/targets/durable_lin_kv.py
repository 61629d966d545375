"""One lin-kv node for Maelstrom that keeps everything on its disk, and says more than it should."""
import json, os, sys

path = sys.argv[1]
state = json.load(open(path)) if os.path.exists(path) else {}
print("starting up", flush=True)


def keep():
    with open(path + ".new", "w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def reply(body):
    kind, key = body["type"], body.get("key")
    if kind == "init":
        return {"type": "init_ok"}
    if kind == "write" or (kind == "cas" and state.get(key) == body["from"]):
        state[key] = body["value"] if kind == "write" else body["to"]
        keep()
    elif kind in ("read", "cas"):
        if key not in state:
            return {"type": "error", "code": 20, "text": "no such key"}
        if kind == "cas":
            return {"type": "error", "code": 22, "text": "it holds %d" % state[key]}
        return {"type": "read_ok", "value": state[key]}
    else:
        return {"type": "error", "code": 10, "text": "there is no " + kind}
    return {"type": kind + "_ok"}


for line in sys.stdin:
    message = json.loads(line)
    body = {**reply(message["body"]), "in_reply_to": message["body"]["msg_id"]}
    print(json.dumps({"src": message["dest"], "dest": message["src"], "body": body}), flush=True)
