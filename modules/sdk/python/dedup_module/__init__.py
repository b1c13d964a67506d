"""Modules of `dedup` in Python: derive from `Module`, give it `export` and `import_`, and call `main`.

    from dedup_module import Module, main

    class Queue(Module):
        name, version, needs = "ringqueue", "1", "live"

        def export(self, out):
            out.config("strategy", "ringall")
            with out.records("queues", ["id", "name"]) as rows:
                rows.row([601, "Sales"])

        def import_(self, source):
            for row in source.records("queues"):
                print("queue", row)

    main(Queue)

The protocol is told in `modules/PROTOCOL.md`; nothing beyond the standard library is needed.
"""

from .module import Export, Fail, Import, Module, Skip, main
from .spaces import Backup, BackupException
from .wire import Decimal, Refused, Stop

__all__ = ["Backup", "BackupException", "Decimal", "Export", "Fail", "Import", "Module", "Refused", "Skip", "Stop", "main"]
