"""A repair by the SDK: calls everything that plugins of FirstAidKit call on spaces, by its name, and writes down what it did."""

import json
import os
import sys

from dedup_module import Backup, BackupException, Fail, Module, main

home = sys.argv[1]
called = set()


def at(name):
    return os.path.join(home, name)


def write(name, text):
    with open(at(name), "w") as to:
        to.write(text)


def read(name):
    try:
        with open(at(name)) as held:
            return held.read()
    except FileNotFoundError:
        return None


def watched(name, method):
    def call(self, *args, **keys):
        called.add(name)
        return method(self, *args, **keys)

    return call


public = {name for name in vars(Backup) if not name.startswith("_")}
for name in public:
    setattr(Backup, name, watched(name, getattr(Backup, name)))


def refused(call, *args, **keys):
    """Returns whether a call is refused by the error that plugins catch."""
    try:
        call(*args, **keys)
    except BackupException:
        return True
    return False


class Names(Module):
    name = "names"

    def run(self, source):
        did = {}
        space = source.getBackup("names.passing")
        did["getBackup"] = [isinstance(space, Backup), source.getBackup("names.passing") is space, space.id]
        kept = source.getBackup("names.kept", persistent=True)
        did["persistent"] = [space.persistent, kept.persistent]

        write("conf", "as it was")
        os.symlink("conf", at("link"))
        space.backupPath(at("conf"))
        space.backupPath(at("link"), name="the link")
        did["backupPath"] = [space.names(), refused(space.backupPath, at("conf")), refused(space.backupPath, at("none"))]
        value = {"list": [1, None, 2.5, b"\x00\xff"], "text": "\n", "empty": ""}
        space.backupValue(value, "value")
        did["backupValue"] = [refused(space.backupValue, 1, "value"), refused(space.backupValue, object(), "object")]
        did["restoreValue"] = [space.restoreValue("value") == value, refused(space.restoreValue, "none")]
        did["exists"] = [
            space.exists(name="value"), space.exists(path=at("conf")), space.exists(name="the link", path=at("link")),
            space.exists(name="none"), space.exists(path=at("none")), space.exists(name="value", path=at("conf")),
        ]

        write("conf", "broken")
        space.restorePath(at("conf"))
        did["restorePath"] = [read("conf"), refused(space.restorePath, at("none"))]
        os.remove(at("link"))
        space.restoreName("the link")
        space.restoreName(at("conf"), at("copy"))
        did["restoreName"] = [os.readlink(at("link")), read("copy"), refused(space.restoreName, "none")]

        before = space.names()
        space.delete("value")
        did["delete"] = [[name for name in before if name not in space.names()], refused(space.delete, "value")]
        did["names"] = sorted(os.path.basename(name) for name in space.names())
        space.cleanup()
        did["cleanup"] = [space.names(), read("conf")]
        space.backupValue(1, "again")
        source.closeBackup("names.passing")
        kept.backupValue(source.begin["space"], "of")
        source.closeBackup("names.kept")
        did["closeBackup"] = [
            refused(source.closeBackup, "names.passing"), source.getBackup("names.passing").names(), source.getBackup("names.kept").names(),
        ]
        did["not called"] = sorted(public - called)
        write("did.json", json.dumps(did))
        if os.path.exists(at("break")):
            source.getBackup().backupPath(at("conf"))
            write("conf", "worse")
            raise Fail("broken on purpose")

    def revert(self, source):
        write("reverted", source.begin["space"] + " " + read("conf"))


main(Names)
