"""A module by the SDK: gives all that can be given, and writes down what it gets back."""

import hashlib
import json
import os
import sys

from dedup_module import BackupException, Fail, Module, main

home = sys.argv[1]


def at(name):
    return os.path.join(home, name)


def blob():
    block = hashlib.sha512(b"seed").digest()
    for _ in range(160_000):
        yield block
        block = hashlib.sha512(block).digest()


class Queue(Module):
    name, version, needs = "queue", "2", "live"

    def export(self, out):
        out.log("exporting", "notice", queue=601)
        out.configs({"strategy": "ringall", "big": 2**70, "raw": b"\x00\xff", "list": [1.5, None, {"$k": True}]})
        out.config("empty", "")
        out.absent("music")
        out.config("token", "s3cr3t-token", section="secrets")
        out.depend("core", ">= 13.0", after=True)
        out.file(at("elsewhere/greeting.wav"), kind="recording")
        out.dir(at("elsewhere/sounds"))
        with out.blob("state", kind="binary") as to:
            for block in blob():
                to.write(block)
        with out.blob("nothing"):
            pass
        with out.records("queues", ["id", "name"], primary=["id"]) as rows:
            for n in range(60_000):
                rows.row([n, "queue %d \u00e4\u0008 %s" % (n, "x" * 100)])
        with out.tree("astdb", section="config") as rows:
            rows.row([["CW", "601"], "ENABLED"])
        scratch = out.scratch()
        assert os.stat(scratch).st_mode & 0o777 == 0o700, oct(os.stat(scratch).st_mode)
        with open(os.path.join(scratch, "left"), "w") as to:
            to.write("to be removed")

    def check(self, source):
        if os.path.exists(at("no")):
            raise Fail("it is not the time", "conflict")

    def import_(self, source):
        space = source.getBackup()
        space.backupPath(at("setting"))
        space.backupValue({"was": [1, b"2"]}, "state")
        assert space.exists(name="state") and space.restoreValue("state") == {"was": [1, b"2"]}
        self.spaces(source)
        got = {
            "configs": {key: repr(value) for key, value in sorted(source.all_configs().items())},
            "absent": source.absent,
            "state": hashlib.sha256(b"".join(source.blob("state"))).hexdigest(),
            "nothing": b"".join(source.blob("nothing")).decode(),
            "rows": 0,
            "tree": list(source.tree("astdb")),
            "files": list(source.files()),
            "file": b"".join(source.file(at("elsewhere/greeting.wav"))).decode(),
            "begin": source.begin,
        }
        for n, row in enumerate(source.records("queues")):
            # More of the first is on its way than its credit: it must not keep the second from coming.
            if n in (0, 30_000):
                assert list(source.tree("astdb")) == got["tree"]
            assert row == {"id": n, "name": "queue %d \u00e4\u0008 %s" % (n, "x" * 100)}, row
            got["rows"] += 1
        copy = os.path.join(source.scratch(), "a/greeting.wav")
        source.place(at("elsewhere/greeting.wav"), copy)
        got["copy"] = open(copy).read()
        with open(at("setting"), "w") as to:
            to.write("imported\n")
        with open(at("got.json"), "w") as to:
            json.dump(got, to)
        if os.path.exists(at("break")):
            raise Fail("broken on purpose")

    def spaces(self, source):
        """Everything that repair plugins do with spaces, by its name."""
        temporary = source.getBackup("queue.temporary")
        assert temporary is source.getBackup("queue.temporary")
        temporary.backupPath(at("setting"), "named")
        for again in (lambda: temporary.backupPath(at("setting")), lambda: temporary.backupValue(1, "named")):
            try:
                again()
                raise AssertionError("the same path, or name, twice")
            except BackupException:
                pass
        assert temporary.exists(name="named", path=at("setting")) and temporary.exists(path=at("setting"))
        assert not temporary.exists(name="other")
        with open(at("setting")) as held:
            before = held.read()
        os.remove(at("setting"))
        temporary.restoreName("named")
        temporary.restoreName("named", at("elsewhere/named"))
        os.remove(at("setting"))
        temporary.restorePath(at("setting"))
        for path in ("setting", "elsewhere/named"):
            with open(at(path)) as held:
                assert held.read() == before, path
        os.remove(at("elsewhere/named"))
        temporary.delete("named")
        assert not temporary.exists(name="named")
        temporary.backupValue(None, "none")
        assert temporary.restoreValue("none") is None and temporary.names() == ["none"]
        source.closeBackup("queue.temporary")
        kept = source.getBackup("queue.kept", persistent=True)
        kept.backupValue("a value", "value")
        source.closeBackup("queue.kept")
        try:
            source.closeBackup("queue.unknown")
            raise AssertionError("a space that nobody got is closed")
        except BackupException:
            pass

    def revert(self, source):
        with open(at("reverted"), "w") as to:
            to.write("yes\n")


main(Queue)
