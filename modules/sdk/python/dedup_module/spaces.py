"""Backup spaces under the names that repair plugins of FirstAidKit use."""

from . import wire


class BackupException(Exception):
    """What a space could not do."""


class Backup:
    """A space. Values are plain data; paths are copied by the engine, with links and metadata kept."""

    def __init__(self, link, space, persistent=False):
        self._wire, self.id, self.persistent = link, space, persistent
        self._ask("open", persistent=persistent)

    def _ask(self, act, **keys):
        message = {"t": "space." + act, "space": self.id}
        message.update({key: value for key, value in keys.items() if value is not None})
        try:
            return self._wire.ask(message)
        except wire.Refused as refused:
            raise BackupException(str(refused)) from refused

    def backupPath(self, path, name=None):
        self._ask("put_path", path=wire.path_out(path), name=name)

    def backupValue(self, value, name):
        """Puts a value; `None` is one. A type that is no plain data is refused by its name."""
        try:
            message = {"t": "space.put_value", "space": self.id, "name": name, "value": wire.encode(value)}
            self._wire.ask(message)
        except (TypeError, wire.Refused) as refused:
            raise BackupException(str(refused)) from refused

    def restoreName(self, name, path=None):
        self._ask("restore_name", name=name, to=None if path is None else wire.path_out(path))

    def restorePath(self, path, name=None):
        self._ask("restore_path", path=wire.path_out(path), name=name)

    def restoreValue(self, name):
        return wire.decode(self._ask("value", name=name).get("value"))

    def exists(self, name=None, path=None):
        return self._ask("exists", name=name, path=None if path is None else wire.path_out(path))["exists"]

    def delete(self, name):
        self._ask("delete", name=name)

    def names(self):
        return self._ask("list")["names"]

    def cleanup(self):
        for name in self.names():
            self.delete(name)
