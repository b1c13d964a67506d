"""What a module does: it exports, imports, checks, resets, reverts, runs."""

import sys
import threading
import traceback

from . import wire
from .spaces import Backup, BackupException

SKIP, PROTOCOL, VERSION = 75, 76, 78


class Skip(Exception):
    """Leave this module out; only before anything was sent."""


class Fail(Exception):
    """The operation has failed: `Fail("the database is down", "connect", retry=True)`."""

    def __init__(self, message, code="internal", retry=False):
        super().__init__(message)
        self.code, self.retry = code, retry


class Stream:
    """A stream of bytes that is being sent: a file to write to. Leaving it by an exception voids it."""

    def __init__(self, link, s):
        import hashlib

        self._wire, self._s, self._bytes, self._digest = link, s, 0, hashlib.sha256()
        self._held = bytearray()

    def write(self, data):
        data = memoryview(data).cast("B")
        self._digest.update(data)
        self._bytes += len(data)
        self._held += data
        if len(self._held) >= wire.BLOCK:
            self.flush()
        return len(data)

    def flush(self):
        held, self._held = self._held, bytearray()
        self._wire.send_bytes(self._s, held)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if kind is None:
            self.flush()
        _end(self._wire, self._s, kind, error, {"bytes": self._bytes, "sha256": self._digest.hexdigest()})


class Rows:
    """Rows that are being sent, many in one line."""

    def __init__(self, link, s):
        self._wire, self._s, self._count = link, s, 0
        self._held, self._bytes = [], 0

    def row(self, values):
        row = wire.encode_row(values)
        self._held.append(row)
        self._bytes += len(row)
        self._count += 1
        if self._bytes >= wire.BLOCK:
            self.flush()

    def flush(self):
        held, self._held, self._bytes = self._held, [], 0
        if held:
            self._wire.send_rows(self._s, held)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if kind is None:
            self.flush()
        _end(self._wire, self._s, kind, error, {"count": self._count})


def _end(link, s, kind, error, end):
    if kind is None:
        link.send(dict({"t": "end", "s": s}, **end))
    elif not issubclass(kind, wire.Stop):
        link.send({"t": "error", "s": s, "code": getattr(error, "code", "internal"), "msg": str(error)[:1000]})


class _Common:
    """What every operation can do."""

    def __init__(self, link, hello):
        self._wire, self.hello = link, hello
        self.values = {name: wire.path_in(path) for name, path in hello.get("values", {}).items()}
        self._scratch = None
        self._spaces = {}

    def log(self, message, level="info", **fields):
        self._wire.send({"t": "log", "level": level, "msg": str(message)[:4000], "fields": fields})

    def progress(self, done, total=None, what=""):
        self._wire.send({"t": "progress", "done": done, "total": total, "what": what})

    def scratch(self):
        """Returns a directory of its own, which is removed when the run ends."""
        if self._scratch is None:
            self._scratch = wire.path_in(self._wire.ask({"t": "scratch"})["path"])
        return self._scratch

    def getBackup(self, space=None, persistent=False):
        """Returns a space: a place for copies of what is about to be changed. The same object every time."""
        space = space or self.hello["module"]
        if space not in self._spaces:
            self._spaces[space] = Backup(self._wire, space, persistent)
        return self._spaces[space]

    def closeBackup(self, space):
        """Ends work with a space: one that is not persistent is emptied."""
        if space not in self._spaces:
            raise BackupException("there is no space %s here" % space)
        backup = self._spaces.pop(space)
        if not backup.persistent:
            backup.cleanup()


class Export(_Common):
    """What an export can send."""

    def config(self, key, value, section=None):
        self._send("config", key=key, value=wire.encode(value), section=section)

    def absent(self, key, section=None):
        self._send("config", key=key, absent=True, section=section)

    def configs(self, entries, replace=False, section=None):
        if replace:
            self._send("configs", map={}, replace=True, section=section)
        for key, value in entries.items():
            self.config(key, value, section)

    def depend(self, module, version=None, after=False):
        self._send("depend", module=module, version=version, after=after)

    def file(self, path, kind=None, base=None, section=None, optional=False):
        self._send("file", path=wire.path_out(path), kind=kind, base=base, section=section, optional=optional)

    def dir(self, path, kind=None, base=None, section=None, optional=False, recurse=True, exclude=()):
        self._send(
            "dir", path=wire.path_out(path), kind=kind, base=base, section=section, optional=optional,
            recurse=recurse, exclude=list(exclude),
        )

    def blob(self, name, section=None, kind=None):
        """Opens a stream of bytes: `with out.blob("state") as to: to.write(b"…")`."""
        return Stream(self._wire, self._open("blob", name=name, section=section, kind=kind))

    def records(self, name, columns, section=None, key=None, **schema):
        """Opens a stream of rows; columns are names, or maps with a name.

        `key`: columns whose values no two rows share. Then each row is stored by itself under its key, and they come back in
        that order: so rows of two snapshots can be compared, and what has not changed is stored once.
        """
        keyed = None
        if key:
            schema["primary"] = list(key)
            keyed = self._wire.keyed or None
        columns = [{"name": column} if isinstance(column, str) else column for column in columns]
        schema = wire.encode(dict(schema, columns=columns))
        return Rows(self._wire, self._open("records", name=name, section=section, schema=schema, keyed=keyed))

    def tree(self, name, section=None):
        """Opens a tree: rows of a list of keys, and a value."""
        return Rows(self._wire, self._open("tree", name=name, section=section))

    def dump(self, source):
        """Has a source of the manifest dumped now; returns what became of it."""
        return self._wire.ask({"t": "dump", "name": source})["outcome"]

    def skip_reset(self):
        self._send("skip_reset")

    def _send(self, message, /, **keys):
        keep = {key: value for key, value in keys.items() if key == "value" or value is not None}
        self._wire.send(dict({"t": message}, **keep))

    def _open(self, message, /, **keys):
        return self._wire.open(dict({"t": message}, **{key: value for key, value in keys.items() if value is not None}))


class Import(_Common):
    """What an import can get."""

    def __init__(self, link, hello):
        super().__init__(link, hello)
        self.begin, self.configs, self.absent = {}, {}, []
        self.blobs, self.tables, self.trees = {}, {}, {}

    def _listen(self):
        begin = self._wire.next("begin")
        self.begin = {key: value for key, value in begin.items() if key not in ("t", "cost")}
        if self.hello["op"] not in ("import", "check", "legacy"):
            return
        more = True
        while more:
            message = self._wire.next("configs")
            self.configs.update({key: wire.decode(value) for key, value in message["map"].items()})
            self.absent.extend(message.get("absent", []))
            more = message["more"]
        more = True
        while more:
            message = self._wire.next("have")
            for of, key in ((self.blobs, "blobs"), (self.tables, "records"), (self.trees, "trees")):
                of.update({stream["name"]: stream for stream in message[key]})
            more = message["more"]

    def config(self, key, default=None):
        """Returns a value of the configuration, and marks it as taken."""
        if key in self.configs:
            self.take("config", key)
        return self.configs.get(key, default)

    def all_configs(self):
        self.take("config")
        return dict(self.configs)

    def blob(self, name):
        """Yields the bytes of a blob."""
        return self._wire.frames(self._wire.ask({"t": "get", "what": "blob", "name": name})["s"])

    def records(self, name):
        """Yields the rows of records, each as a map of its columns."""
        answer = self._wire.ask({"t": "get", "what": "records", "name": name})
        names = [column["name"] for column in answer["schema"]["columns"]]
        return (dict(zip(names, row)) for row in self._wire.frames(answer["s"]))

    def tree(self, name):
        """Yields the rows of a tree: a list of keys, and a value."""
        return self._wire.frames(self._wire.ask({"t": "get", "what": "tree", "name": name})["s"])

    def files(self):
        """Yields path, kind, base and section of every file that was exported."""
        answer = self._wire.ask({"t": "get", "what": "files"})
        return (tuple(row) for row in self._wire.frames(answer["s"]))

    def file(self, path):
        """Yields the content of a stored file."""
        answer = self._wire.ask({"t": "get", "what": "file", "path": wire.path_out(path)})
        return self._wire.frames(answer["s"])

    def place(self, path, to=None):
        message = {"t": "place", "path": wire.path_out(path)}
        if to is not None:
            message["to"] = wire.path_out(to)
        self._wire.ask(message)

    def resolve(self, variable):
        return wire.path_in(self._wire.ask({"t": "resolve", "variable": variable})["path"])

    def take(self, what, name=None):
        message = {"t": "take", "what": what}
        if name is not None:
            message["name"] = name
        self._wire.send(message)


class Module:
    """A module. Give it the operations it has; what it does not have is refused for it."""

    name, version, needs = "module", "0", "either"

    def ops(self):
        have = [op for op in ("export", "check", "reset", "legacy", "revert", "run") if hasattr(self, op)]
        return ["describe"] + have + (["import"] if hasattr(self, "import_") else [])


def _alive(link, every, stop):
    while not stop.wait(every):
        link.send({"t": "alive"})


def main(module, link=None):
    """Speaks the protocol for a module (a class or an object), and exits."""
    sys.exit(serve(module, link))


def serve(module, link=None):
    """As `main`, but returns the exit status."""
    module = module() if isinstance(module, type) else module
    link = link or wire.Wire()
    try:
        hello = link.line()
    except (wire.Stop, ValueError, KeyError):
        print("this program speaks the line protocol of dedup; `dedup module check DIR` tries it", file=sys.stderr)
        return PROTOCOL
    if hello["t"] == "cancel":
        link.send({"t": "cancelled"})
        return 0
    if 1 not in hello["protocols"]:
        link.send({"t": "error", "code": "version", "supported": [1], "fatal": True})
        return VERSION
    op, features = hello["op"], [feature for feature in hello.get("features", []) if feature in ("raw", "keyed")]
    if op not in module.ops():
        link.send({"t": "error", "code": "unsupported", "msg": "there is no operation " + op, "fatal": True})
        return 0
    link.raw, link.keyed = "raw" in features, "keyed" in features
    link.send({
        "t": "hello", "protocol": 1, "features": features, "name": module.name, "version": module.version,
        "needs": module.needs, "ops": module.ops(),
    })
    link.listen()
    stop = threading.Event()
    idle = hello.get("limits", {}).get("idle")
    if idle:
        threading.Thread(target=_alive, args=(link, max(1, idle / 10), stop), daemon=True).start()
    try:
        _operate(module, op, link, hello)
        link.drain()
        stop.set()
        link.send({"t": "done"})
        return 0
    except Skip:
        return SKIP
    except wire.Cancelled:
        stop.set()
        link.send({"t": "cancelled"})
        return 0
    except wire.Stop as why:
        stop.set()
        print("stopped: %s" % why, file=sys.stderr)
        return PROTOCOL
    except Fail as fail:
        stop.set()
        link.send({"t": "error", "code": fail.code, "msg": str(fail), "fatal": True, "retry": fail.retry})
        return 1
    except BrokenPipeError:
        return PROTOCOL
    except Exception as error:
        stop.set()
        traceback.print_exc()
        text = "%s: %s" % (type(error).__name__, error)
        link.send({"t": "error", "code": getattr(error, "code", "internal"), "msg": text[:2000], "fatal": True})
        return 1


def _operate(module, op, link, hello):
    if op == "describe":
        return
    if op == "export":
        module.export(Export(link, hello))
        return
    source = Import(link, hello)
    if op != "reset":
        source._listen()
    getattr(module, "import_" if op == "import" else op)(source)
