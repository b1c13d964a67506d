#!/usr/bin/env python3
"""Measures rows of PostgreSQL, out and in, beside the server's own pg_dump and pg_restore.

A server of its own is started below --server, with the settings of a fresh cluster. The table is one of call records:
numbers, texts, times, decimals, JSON, two indexes; keyed by an integer, by a text of another collation, or by nothing.

out   pg_dump -Fc (as it comes: compressed)   pg_dump -Fc -Z0     dedup backup, format "records", into a new repository
in    createdb and pg_restore --single-transaction of the first      dedup restore, which makes the database too

Interleaved: one after the other, and again, --repeat times. dedup encrypts, compresses, verifies what it stores, names
every row's place, and restores over a copy that it would keep; pg_dump does none of it. After each restore the rows'
digest, made by the server, must be that of the original.

wall  seconds, medians     CPU  of the program, without the server's     ×  wall time beside pg_dump -Fc or pg_restore

Larger tables, and every type of column: rows.py.
"""
import argparse, os, shlex, shutil, signal, statistics, subprocess, sys, tempfile, time

KEYS = {"integer": "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number text",
        "text": 'id bigint, number text COLLATE "de-x-icu" PRIMARY KEY', "none": "id bigint, number text"}
TABLE = """CREATE TABLE cdr (%s, calldate timestamptz NOT NULL, clid text, src varchar(80), dst varchar(80), context text,
    channel text, duration int, billsec int, disposition text, cost numeric(10, 4), answered boolean, more jsonb);
INSERT INTO cdr (%s number, calldate, clid, src, dst, context, channel, duration, billsec, disposition, cost, answered, more)
SELECT %s md5(n::text) || '-' || n, timestamptz '2025-01-01' + n * interval '17.3 seconds',
    '"Caller ' || n %% 977 || '" <' || 1000 + n %% 977 || '>', (1000 + n::bigint * 7919 %% 9973)::text, '0' || 30 + n %% 60 || n::bigint * 104729 %% 9999991,
    'from-' || (ARRAY['internal', 'trunk', 'queue'])[n %% 3 + 1], 'PJSIP/' || 1000 + n %% 977 || '-' || to_hex(n::bigint * 48271 %% 2147483647),
    n * 31 %% 3600, n * 29 %% 3500, (ARRAY['ANSWERED', 'NO ANSWER', 'BUSY', 'FAILED'])[n %% 4 + 1], (n * 31 %% 3600) * 0.0123,
    n %% 4 = 0, jsonb_build_object('queue', n %% 12, 'agent', 'a' || n %% 50, 'wait', n * 7 %% 300)
FROM generate_series(1, %d) n;
CREATE INDEX cdr_calldate ON cdr (calldate);
CREATE INDEX cdr_dst ON cdr (dst);
"""
DIGEST = "SELECT count(*), sum(('x' || substr(md5(cdr::text), 1, 15))::bit(60)::bigint::numeric) FROM cdr"


class Server:
    def __init__(self, work):
        self.bin = sorted(os.path.join(p, "bin") for p in map("/usr/lib/postgresql/{}".format, os.listdir("/usr/lib/postgresql")))[-1]
        self.place = tempfile.mkdtemp(prefix="pg", dir=work)
        os.chmod(self.place, 0o777)
        self.data = os.path.join(self.place, "data")
        subprocess.run([*self.user(), f"{self.bin}/initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                        "--locale", "C.UTF-8"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.place}", "-c", "autovacuum=off",
                   "-c", "max_wal_size=4GB", "-c", "log_min_messages=fatal", "-c", "log_checkpoints=off"]
        self.process = subprocess.Popen([*self.user(), f"{self.bin}/postgres", "-D", self.data, *options], cwd="/",
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while subprocess.run([f"{self.bin}/pg_isready", "-q", "-h", self.place]).returncode:
            if self.process.poll() is not None:
                sys.exit("the server does not start")
            time.sleep(0.1)

    def user(self):
        return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"] if os.geteuid() == 0 else []

    def sql(self, database, text):
        command = [f"{self.bin}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.place, "-U", "postgres", "-d", database, "-f", "-"]
        return subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.PIPE).stdout.strip()

    def tool(self, name, *words):
        return [f"{self.bin}/{name}", "-h", self.place, "-U", "postgres", *words]

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        shutil.rmtree(self.place, ignore_errors=True)


class Dedup:
    MANIFEST = """schema = 1
[module]
id = "calls"
version = "1"
[[source]]
name = "db"
driver = "postgresql"
format = "records"
select = {{ databases = ["app"] }}
endpoint = {{ socket = "{socket}/.s.PGSQL.5432", user = "postgres" }}
"""

    def __init__(self, binary, work, socket):
        self.binary, self.place = binary, tempfile.mkdtemp(prefix="dedup", dir=work)
        self.home = os.path.join(self.place, "home")
        modules = os.path.join(self.home, ".config/dedup/modules.d")
        os.makedirs(modules)
        with open(os.path.join(modules, "calls.toml"), "w") as file:
            file.write(self.MANIFEST.format(socket=socket))
        self.repo = os.path.join(self.place, "repo")

    def env(self):
        return {"HOME": self.home, "PATH": "/usr/bin:/bin", "DEDUP_REPO": self.repo, "DEDUP_KEY_FILE": os.path.join(self.place, "key"),
                "DEDUP_STATE_DIR": os.path.join(self.place, "state")}

    def init(self):
        shutil.rmtree(self.repo, ignore_errors=True)
        if os.path.exists(os.path.join(self.place, "key")):
            os.remove(os.path.join(self.place, "key"))
        subprocess.run([self.binary, "-q", "init", "--key-file", os.path.join(self.place, "key"), self.repo], env=self.env(), check=True)


def timed(command, env=None):
    """Returns wall and CPU seconds, and peak MiB."""
    os.sync()
    begin = time.perf_counter()
    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"exit {child.returncode}: {' '.join(command)}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure(options, key):
    server = Server(options.server)
    try:
        server.sql("postgres", "CREATE DATABASE app TEMPLATE template0")
        named = "" if key == "integer" else ("id,", "n,")
        columns, values = named or ("", "")
        server.sql("app", TABLE % (KEYS[key], columns, values, options.rows) + "CHECKPOINT; VACUUM ANALYZE cdr;")
        before, size = server.sql("app", DIGEST), server.sql("app", "SELECT pg_size_pretty(pg_table_size('cdr'))")
        dedup, found = Dedup(options.bin, options.work, server.place), {}
        archive = os.path.join(dedup.place, "archive")
        try:
            for _ in range(options.repeat):
                def note(step, figures):
                    found.setdefault(step, []).append(figures)
                note("out: pg_dump -Fc -Z0", timed(server.tool("pg_dump", "-Fc", "-Z0", "-f", archive + "0", "app")))
                note("out: pg_dump -Fc", timed(server.tool("pg_dump", "-Fc", "-f", archive, "app")))
                dedup.init()
                note("out: dedup backup", timed([options.bin, "-q", "backup"], dedup.env()))
                server.sql("postgres", "CHECKPOINT")
                made, filled = server.tool("createdb", "-T", "template0", "again"), server.tool("pg_restore", "--single-transaction", "-d", "again", archive)
                note("in: pg_restore", timed(["sh", "-c", f"{shlex.join(made)} && {shlex.join(filled)}"]))
                assert server.sql("again", DIGEST) == before
                server.sql("postgres", "DROP DATABASE again; ALTER DATABASE app RENAME TO kept; CHECKPOINT")
                note("in: dedup restore", timed([options.bin, "-q", "restore", "latest", "--yes"], dedup.env()))
                assert server.sql("app", DIGEST) == before
                server.sql("postgres", "DROP DATABASE app; ALTER DATABASE kept RENAME TO app; CHECKPOINT")
        finally:
            shutil.rmtree(dedup.place, ignore_errors=True)
    finally:
        server.end()
    print(f"\nkey: {key}; {options.rows} rows, {size}; medians of {options.repeat}\n\n| | wall s | CPU s | MiB | rows/s | × |\n|---|--:|--:|--:|--:|--:|")
    for step, figures in sorted(found.items(), key=lambda item: item[0], reverse=True):
        wall, cpu, peak = (statistics.median(column) for column in zip(*figures))
        beside = statistics.median(f[0] for f in found["out: pg_dump -Fc" if step.startswith("out") else "in: pg_restore"])
        print(f"| {step} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {options.rows / wall:,.0f} | {wall / beside:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/release/dedup")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--key", choices=[*KEYS, "all"], default="integer")
    parser.add_argument("--work", default=os.path.expanduser("~"), help="room for archives and repositories; as root not below /tmp")
    parser.add_argument("--server", default="/var/tmp", help="room for the server, which is not root")
    options = parser.parse_args()
    options.bin = os.path.abspath(options.bin)
    for key in KEYS if options.key == "all" else [options.key]:
        measure(options, key)


if __name__ == "__main__":
    main()
