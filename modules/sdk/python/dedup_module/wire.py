"""The module's side of the line protocol, version 1: frames, values, streams.

Nothing beyond the standard library; Python 3.8 and later. What modules use is in `module.py`.
"""

import base64
import datetime
import decimal
import hashlib
import json
import os
import threading

MAX_LINE = 1 << 20
MAX_NUMBER = (1 << 53) - 1
CREDIT = 4 << 20
BLOCK = 64 << 10


class Stop(Exception):
    """This is over: the engine failed, or broke off."""


class Cancelled(Stop):
    """The engine wants this to stop."""


class Refused(Exception):
    """The engine answered a request with an error."""

    def __init__(self, code, message):
        super().__init__("%s (%s)" % (message, code))
        self.code = code


class Decimal(str):
    """A decimal number, as text."""


def encode(value):
    """Returns a value as PROTOCOL.md 5 writes it; refuses what it cannot say, by the name of its type."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, Decimal):
        return {"$d": str(value)}
    if isinstance(value, str):
        try:
            value.encode("utf-8")
            return value
        except UnicodeEncodeError:
            return {"$r": base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()}
    if isinstance(value, int):
        return int(value) if abs(value) <= MAX_NUMBER else {"$i": str(int(value))}
    if isinstance(value, float):
        if value != value:
            return {"$f": "nan"}
        if value in (float("inf"), float("-inf")):
            return {"$f": "inf" if value > 0 else "-inf"}
        return value if abs(value) <= MAX_NUMBER else {"$f": repr(value)}
    if isinstance(value, decimal.Decimal):
        return {"$d": format(value, "f")} if value.is_finite() else {"$f": str(float(value))}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$b": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime.datetime):
        kind = "timestamp" if value.tzinfo is None else "moment"
        if value.tzinfo is not None:
            value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return {"$t": [kind, value.isoformat(" ")]}
    if isinstance(value, datetime.date):
        return {"$t": ["date", value.isoformat()]}
    if isinstance(value, datetime.time):
        return {"$t": ["time", value.isoformat()]}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        pairs = []
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError("a key of a map must be text, not %s" % type(key).__name__)
            pairs.append([key, encode(item)])
        if any(key.startswith("$") for key, _ in pairs):
            return {"$m": pairs}
        return dict(pairs)
    raise TypeError("a %s is no plain value" % type(value).__name__)


_PLAIN = (str, int, bool, type(None))
_write_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def encode_row(row):
    """Returns a row as it is written. Most hold nothing but text and small numbers, which need no look at each."""
    if all(type(value) in _PLAIN and (type(value) is not int or abs(value) <= MAX_NUMBER) for value in row):
        try:
            return _write_json(list(row)).encode("utf-8")
        except UnicodeEncodeError:
            pass
    return _write_json([encode(value) for value in row]).encode("utf-8")


def decode(value):
    """Returns a value of the wire as one of Python; dates and times stay text, with their kind."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "$i":
            return int(inner)
        if key == "$d":
            return decimal.Decimal(inner)
        if key == "$f":
            return float(inner)
        if key == "$b":
            return base64.b64decode(inner)
        if key == "$r":
            return base64.b64decode(inner).decode("utf-8", "surrogateescape")
        if key == "$t":
            return tuple(inner)
        if key == "$m":
            return {name: decode(item) for name, item in inner}
    return {key: decode(item) for key, item in value.items()}


def path_out(path):
    """Returns a path as it is written."""
    raw = os.fsencode(path)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"$b": base64.b64encode(raw).decode()}


def path_in(path):
    """Returns a path that was read."""
    return os.fsdecode(base64.b64decode(path["$b"])) if isinstance(path, dict) else path


def cost_of(message):
    """Returns what a frame costs of the credit of its stream."""
    return len(message["bytes"]) if "bytes" in message else message["cost"]


class Wire:
    """Both pipes. One thread at a time uses it; a second one only sends signs of life."""

    def __init__(self):
        # Not the objects of `sys`: those have locks, which a thread that waits would hold at the end.
        self.reader, self.held = os.dup(0), bytearray()
        self.writer = os.dup(1)
        # Nothing that prints by mistake, or reads, may get between the frames.
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        self.lock = threading.Lock()
        self.raw = self.keyed = self.holding = False
        self.next_id = 0
        self.next_s = 1
        self.credit = {}
        self.answers = {}
        self.incoming = {}
        self.waiting = []
        self.inbox, self.came = [], threading.Condition()
        self.stopped = None

    def send(self, message, body=None):
        line = _write_json(message).encode("utf-8") + b"\n"
        if len(line) > MAX_LINE:
            raise ValueError("a message of type %s has %d bytes; a line may have %d" % (message["t"], len(line), MAX_LINE))
        self._write(line if body is None else b"".join((line, body, b"\n")))

    def _write(self, frame):
        with self.lock:
            rest = memoryview(frame)
            while rest:
                rest = rest[os.write(self.writer, rest) :]

    def line(self):
        """Reads a message; the bytes of a raw frame are put into it as `bytes`."""
        searched = 0
        while True:
            end = self.held.find(b"\n", searched)
            if end >= 0:
                break
            searched = len(self.held)
            if searched > MAX_LINE:
                raise Stop("the engine sent a line that is too long")
            self._fill()
        message = json.loads(bytes(self.held[:end]))
        del self.held[: end + 1]
        message["cost"] = end
        if message["t"] == "raw":
            message["bytes"] = self._exactly(message["n"])
            if self._exactly(1) != b"\n":
                raise Stop("a raw frame of the engine has another length")
        elif message["t"] == "chunk":
            message["bytes"] = base64.b64decode(message["b64"])
        return message

    def _fill(self):
        data = os.read(self.reader, BLOCK)
        if not data:
            raise Stop("the engine broke off")
        self.held += data

    def _exactly(self, count):
        while len(self.held) < count:
            self._fill()
        data = bytes(self.held[:count])
        del self.held[:count]
        return data

    def listen(self):
        """Reads from here on, whatever else is done: so a cancellation is heard at once. What waits is bounded by credit."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        try:
            while True:
                message = self.line()
                if message["t"] == "cancel":
                    raise Cancelled(message.get("why", "cancelled"))
                if message["t"] == "error" and message.get("fatal"):
                    raise Stop("%s (%s)" % (message.get("msg"), message.get("code")))
                self._deliver(message)
        except Stop as why:
            self.stopped = why
        except Exception as why:
            self.stopped = Stop("what the engine says makes no sense: %s" % why)
        self._deliver(None)

    def _deliver(self, message):
        with self.came:
            self.inbox.append(message)
            self.came.notify()

    def pump(self):
        """Takes one message and keeps it for whoever waits for it."""
        with self.came:
            while not self.inbox:
                self.came.wait()
            message = self.inbox.pop(0)
        if message is None:
            raise self.stopped
        kind = message["t"]
        if kind == "credit":
            if message["s"] in self.credit:
                self.credit[message["s"]] += message["n"]
        elif message.get("id") is not None:
            if kind in ("blob", "records", "tree"):
                self.incoming[message["s"]] = []
            self.answers[message["id"]] = message
        elif message.get("s") in self.incoming:
            if self.holding and kind not in ("end", "error"):
                self.send({"t": "credit", "s": message["s"], "n": cost_of(message)})
                message["granted"] = True
            self.incoming[message["s"]].append(message)
        else:
            self.waiting.append(message)

    def next(self, kind):
        """Returns the next message of this type that answers nothing."""
        while True:
            while not self.waiting:
                self.pump()
            message = self.waiting.pop(0)
            if message["t"] == kind:
                return message
            error = {"t": "error", "code": "unsupported", "msg": message["t"][:100], "fatal": bool(message.get("must"))}
            if message.get("id") is not None:
                error["id"] = message["id"]
            self.send(error)
            if message.get("must"):
                raise Stop("the engine needs " + message["t"])

    def ask(self, message):
        """Sends a request and returns its answer; an error is raised."""
        self.next_id += 1
        message["id"] = self.next_id
        self.send(message)
        # A stream that is being read must not stand in the way of the answer: what comes of it meanwhile is held.
        was, self.holding = self.holding, True
        try:
            while message["id"] not in self.answers:
                self.pump()
        finally:
            self.holding = was
        answer = self.answers.pop(message["id"])
        if answer["t"] == "error":
            raise Refused(answer.get("code", "internal"), answer.get("msg", ""))
        return answer

    def open(self, message):
        """Opens a stream; returns its number."""
        s = self.next_s
        self.next_s += 2
        message["s"] = s
        self.credit[s] = CREDIT
        self.send(message)
        return s

    def spend(self, s, cost):
        """Waits until so much may be sent."""
        if self.stopped:
            raise self.stopped
        while self.credit[s] < cost:
            self.pump()
        self.credit[s] -= cost

    def send_bytes(self, s, data):
        for at in range(0, len(data), BLOCK):
            part = bytes(data[at : at + BLOCK])
            self.spend(s, len(part))
            if self.raw:
                self.send({"t": "raw", "s": s, "n": len(part)}, part)
            else:
                self.send({"t": "chunk", "s": s, "b64": base64.b64encode(part).decode()})

    def send_rows(self, s, rows):
        """Sends rows, each written already, in one line."""
        line = b'{"t":"rows","s":%d,"v":[%s]}' % (s, b",".join(rows))
        if len(line) >= MAX_LINE:
            raise ValueError("a row has %d bytes; a line may have %d" % (len(line), MAX_LINE))
        self.spend(s, len(line))
        self._write(line + b"\n")

    def drain(self):
        """Reads what is left of streams that were not read to their end."""
        for s in list(self.incoming):
            while s in self.incoming:
                while not self.incoming[s]:
                    self.pump()
                message = self.incoming[s].pop(0)
                if message["t"] in ("end", "error"):
                    del self.incoming[s]
                else:
                    self._grant(s, message)

    def _grant(self, s, message):
        if not message.get("granted"):
            self.send({"t": "credit", "s": s, "n": cost_of(message)})

    def frames(self, s):
        """Yields the frames of a stream of the engine until its end, which must be right."""
        digest, count, rows = hashlib.sha256(), 0, 0
        while True:
            while not self.incoming[s]:
                self.pump()
            message = self.incoming[s].pop(0)
            kind = message["t"]
            if kind in ("raw", "chunk"):
                digest.update(message["bytes"])
                count += len(message["bytes"])
                yield message["bytes"]
                self._grant(s, message)
            elif kind == "row":
                rows += 1
                yield decode(message["v"])
                self._grant(s, message)
            elif kind == "end":
                del self.incoming[s]
                if "count" in message and message["count"] != rows:
                    raise Stop("a stream of the engine has another number of rows")
                if "bytes" in message and (message["bytes"] != count or message["sha256"] != digest.hexdigest()):
                    raise Stop("a stream of the engine has another length or digest")
                return
            else:
                raise Stop("a stream of the engine broke off: %s" % message.get("msg"))
