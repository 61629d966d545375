"""A client of Redis for the bench: JSON lines in, JSON lines out. Any driver can stand where RESP is spoken by hand."""
import json, socket, sys

CAS = "local v = redis.call('GET', KEYS[1]) if v == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0"
connections = {}


def command(addr, *words):
    if addr not in connections:
        host, port = addr.rsplit(":", 1)
        connections[addr] = socket.create_connection((host, int(port)), timeout=5).makefile("rwb")
    stream = connections[addr]
    stream.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in (str(w).encode() for w in words)))
    stream.flush()
    line = stream.readline().strip()
    if not line:
        raise ConnectionResetError("the server has ended the connection")
    if line.startswith(b"$"):
        return None if line == b"$-1" else int(stream.read(int(line[1:]) + 2))
    return line.decode()


def perform(message):
    body, addr = message["body"], message.get("addr")
    kind, key = body["type"], body.get("key")
    if kind == "read":
        return {"type": "read_ok", "value": command(addr, "GET", key)}
    if kind == "cas" and command(addr, "EVAL", CAS, 1, key, body["from"], body["to"]) != ":1":
        return {"type": "error", "code": 22, "text": "it holds something else"}
    if kind == "write" and command(addr, "SET", key, body["value"]) != "+OK":
        return {"type": "error", "code": 13, "text": "not OK"}
    if kind == "delete":
        command(addr, "DEL", key)
    return {"type": kind + "_ok"}


for line in sys.stdin:
    message = json.loads(line)
    try:
        answer = perform(message)
    except ConnectionRefusedError as error:
        answer = {"type": "error", "code": 11, "text": str(error)}  # nothing was sent
    except OSError as error:
        answer = {"type": "error", "code": 0, "text": str(error)}   # nobody knows
        connections.clear()                                         # nor what would come on it next
    print(json.dumps({"body": {**answer, "in_reply_to": message["body"]["msg_id"]}}), flush=True)
