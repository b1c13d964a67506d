#!/usr/bin/env python3
"""A module of dedup: what it gives when it is backed up, and what it does with it when it is restored."""

from dedup_module import Module, main


class Example(Module):
    name, version = "example", "1"
    # live: while its services run; stopped: while they do not; either.
    needs = "either"

    def export(self, out):
        out.config("greeting", "hello")
        with out.blob("state") as to:
            to.write(b"whatever belongs to it\n")
        with out.records("queues", ["id", "name"], key=["id"]) as rows:
            rows.row([601, "Sales"])
            rows.row([602, "Help"])

    def check(self, source):
        """Says no, by `raise Fail(...)`, before anything is touched; changes nothing."""
        source.take("config")
        source.take("blob")
        source.take("records")

    def import_(self, source):
        greeting = source.config("greeting")
        state = b"".join(source.blob("state"))
        queues = list(source.records("queues"))
        source.log("%s: %d bytes, %d queues" % (greeting, len(state), len(queues)), "notice")


if __name__ == "__main__":
    main(Example)
