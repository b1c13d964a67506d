"""A module whose exporter runs while its service stands still, and has a declared source dumped."""

import os
import sys

from dedup_module import Module, Refused, main

base = sys.argv[1]


class App(Module):
    name, version, needs = "app", "1", "stopped"

    def export(self, out):
        with open(os.path.join(base, "events"), "a") as to:
            to.write("export while %s\n" % ("up" if os.path.exists(os.path.join(base, "up/web")) else "down"))
        assert out.dump("db") == "stored"
        try:
            out.dump("none")
            raise AssertionError("there is no such source")
        except Refused as refused:
            assert refused.code == "absent", refused
        try:
            with out.blob("gone"):
                raise KeyError("it is not there any more")
        except KeyError:
            pass
        if not os.path.exists(os.path.join(base, "forget")):
            with out.blob("extra") as to:
                to.write(b"more")
        # A space of an export is none of the next one's business.
        out.getBackup().backupValue(1, "x")


main(App)
