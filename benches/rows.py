#!/usr/bin/env python3
"""Large tables there and back: MariaDB, PostgreSQL, SQLite.

Wide rows with every type of column, BLOBs (some of 6 KiB, out of their rows), NULLs, emoji, dates without a day or without
an end, the extremes of 64 bits and of decimals; --rows of them keyed by an integer, by a text whose order is a collation's,
and by nothing. Each table is exported as records into a new repository and dropped; the restore makes it again. The
checksum of all rows, made by the engine (SQLite: here), must be what it was.

out, back   seconds and rows a second of `dedup backup` and `dedup restore`, and the peak memory of the largest process

  benches/rows.py --rows 10000000 postgresql      one engine; all three if none is named

Room for 10 million rows: below --work 12 GB for each kind of key, one after the other. Servers are the distribution's, as
nobody, with their usual settings, and go at the end."""
import argparse, hashlib, os, pathlib, shutil, sqlite3, struct, sys, tempfile

import mariadb
import postgresql

# Of PostgreSQL; {key} is what the tables differ in.
COLUMNS = """a smallint, b int, c bigint, d numeric(65, 30), e numeric, f numeric(12, 2), g real, h double precision, i boolean,
 j date, k timestamp, l timestamptz, m time, n timetz, o interval, p char(12), q varchar(120), r text, s bytea, t bytea, u uuid,
 v inet, w macaddr, x jsonb, y json, z xml, za int[], zb text[], zc int4range, zd bit(12), ze point, zf mood, zg money"""
VALUES = """n % 65536 - 32768, (n * 2654435761 % 4294967296 - 2147483648)::int,
 CASE n % 1000 WHEN 0 THEN -9223372036854775808 WHEN 1 THEN 9223372036854775807 ELSE n * 7919 END,
 CASE n % 500 WHEN 0 THEN 99999999999999999999999999999999999.999999999999999999999999999999 ELSE n / 7.0 END,
 CASE n % 300 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN ('1' || repeat('0', 300) || '.' || repeat('3', 60))::numeric ELSE n * 1.000010 END,
 n * 1.01, CASE n % 300 WHEN 0 THEN '-0' WHEN 1 THEN '-Infinity' ELSE n / 3.0 END, CASE n % 400 WHEN 0 THEN 'NaN' WHEN 1 THEN 5e-324 ELSE n * 1e-5 END,
 CASE n % 5 WHEN 0 THEN NULL ELSE n % 2 = 0 END, CASE n % 50 WHEN 0 THEN 'infinity' WHEN 1 THEN '4713-01-01 BC' ELSE date '2000-01-01' + (n % 9999)::int END,
 CASE n % 70 WHEN 0 THEN '-infinity' ELSE timestamp '2001-01-01' + n % 99999999 * interval '1 s' END, timestamptz '2002-02-02 02:02:02.000001+00' + n * interval '1 us',
 time '00:00' + n % 86400 * interval '1 s', ('12:34:56.789' || CASE n % 2 WHEN 0 THEN '+05:45' ELSE '-11' END)::timetz,
 make_interval(years => (n % 300)::int, secs => n % 77777), 'c' || n % 1000, CASE n % 11 WHEN 0 THEN NULL ELSE md5(n::text) || ' \U0001F600 ü ' || n END,
 CASE n % 13 WHEN 0 THEN NULL ELSE repeat('text ' || n % 77 || E'\\n\\\\\\t', (1 + n % 6)::int) END,
 decode(repeat(md5(n::text), CASE n % 997 WHEN 0 THEN 400 ELSE 2 END), 'hex'), decode(md5(n::text), 'hex'), md5(n::text)::uuid,
 ('10.' || n % 256 || '.7.1/24')::inet, ('08:00:2b:01:02:' || lpad(to_hex(n % 256), 2, '0'))::macaddr, jsonb_build_object('n', n, 'x', n % 3 = 0),
 CASE n % 9 WHEN 0 THEN NULL ELSE ('{"b" : ' || n || ', "a":[1, null]}')::json END, ('<a b="' || n || '">x</a>')::xml, ARRAY[n % 100, NULL, 3]::int[],
 ARRAY['a', NULL, 'b"' || n % 7], int4range((n % 1000)::int, (n % 1000 + 10)::int), (n % 4096)::int::bit(12), point(n, -n), (ARRAY['sad', 'ok', NULL]::mood[])[n % 3 + 1],
 (n % 100000)::numeric::money"""
KEYS = {"integer": ("id bigint PRIMARY KEY,", "n,"), "text": ('id text COLLATE "de-x-icu" PRIMARY KEY,', "left(md5(n::text), 6) || ' É ' || n,"),
        "none": ("id int,", "n % 100000,")}
DIGEST = "SELECT count(*) || ' ' || sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint::numeric) FROM t"


class Mariadb:
    def __init__(self, work):
        self.server = mariadb.Server(work / "mariadb", "128M")

    def fill(self, key, rows):
        self.server.sql("DROP DATABASE IF EXISTS big")
        self.server.fill("t", rows, {"integer": "integer key", "text": "collated text key", "none": "no key"}[key])
        return self.server.megabytes()

    def digest(self):
        return self.server.checksums()

    def drop(self):
        self.server.empty("big")

    def source(self):
        return f'driver = "mariadb"\nformat = "records"\nselect = {{ databases = ["big"] }}\nendpoint = {{ socket = "{self.server.dir}/s", user = "root" }}\n'

    def end(self):
        self.server.stop()


class Postgresql:
    def __init__(self, work):
        self.server = postgresql.Server(work)

    def fill(self, key, rows):
        column, value = KEYS[key]
        self.drop()
        self.server.sql("postgres", "CREATE DATABASE big TEMPLATE template0")
        self.server.sql("big", f"CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t ({column} {COLUMNS})")
        for start in range(1, rows + 1, 500000):
            self.server.sql("big", f"INSERT INTO t SELECT {value} {VALUES} FROM generate_series({start}::bigint, {min(rows, start + 499999)}) n; CHECKPOINT")
        return int(self.server.sql("big", "SELECT pg_table_size('t')")) / 1e6

    def digest(self):
        return self.server.sql("big", DIGEST)

    def drop(self):
        self.server.sql("postgres", "SET client_min_messages = error; DROP DATABASE IF EXISTS big")

    def source(self):
        return f'driver = "postgresql"\nformat = "records"\nselect = {{ databases = ["big"] }}\nendpoint = {{ socket = "{self.server.place}/.s.PGSQL.5432", user = "postgres" }}\n'

    def end(self):
        self.server.end()


class Sqlite:
    KEYS = {"integer": "id INTEGER PRIMARY KEY", "text": "id TEXT COLLATE NOCASE PRIMARY KEY", "none": "id INTEGER"}

    def __init__(self, work):
        self.path = work / "rows.db"

    def rows(self, key, count):
        for n in range(1, count + 1):
            blob = hashlib.sha256(n.to_bytes(8, "big")).digest()
            name = {"integer": n, "text": f"{blob[:3].hex()} É {n}", "none": n % 100000}[key]
            yield (name, {0: -2**63, 1: 2**63 - 1}.get(n % 1000, n * 7919), {0: float("inf"), 1: -0.0, 2: 5e-324}.get(n % 300, n / 3),
                   f"{blob.hex()} \U0001F600 ü {n}" if n % 11 else None, blob * (200 if n % 997 == 0 else 1), "text\n\\\0" * (n % 6),
                   [n, f"{n}", n * 1.5, blob, None][n % 5], f"{n}.{'1' * 60}", None if n % 9 == 0 else "0000-00-00", b"", n % 2)

    def fill(self, key, rows):
        self.drop()
        with sqlite3.connect(self.path) as base:
            base.execute("PRAGMA journal_mode=OFF")
            base.execute("PRAGMA synchronous=OFF")
            base.execute(f"CREATE TABLE t ({self.KEYS[key]}, a INTEGER, b REAL, c TEXT, d BLOB, e TEXT, f, g DECIMAL(65,60), h DATE, i BLOB, j BOOLEAN)")
            base.executemany(f"INSERT INTO t VALUES ({','.join('?' * 11)})", self.rows(key, rows))
        base.close()
        return self.path.stat().st_size / 1e6

    def digest(self):
        base, count, total = sqlite3.connect(self.path), 0, 0
        for row in base.execute("SELECT * FROM t"):
            bits = [struct.pack("<d", value) if isinstance(value, float) else value for value in row]
            digest = hashlib.blake2b(repr([(type(value).__name__, bit) for value, bit in zip(row, bits)]).encode(), digest_size=16).digest()
            count, total = count + 1, (total + int.from_bytes(digest, "big")) % 2**128
        base.close()
        return count, total

    def drop(self):
        self.path.unlink(missing_ok=True)

    def source(self):
        return f'driver = "sqlite"\npath = "{self.path}"\nformat = "records"\n'

    def end(self):
        self.drop()


ENGINES = {"mariadb": Mariadb, "postgresql": Postgresql, "sqlite": Sqlite}


def measure(engine, key, rows, dedup):
    size, before = engine.fill(key, rows), None
    before = engine.digest()
    dedup.new()
    dedup.declare(engine.source())
    out, out_memory = dedup.run("backup")
    engine.drop()
    back, back_memory = dedup.run("restore", "latest", "--yes", "--no-safety", "-m", "db")
    same = engine.digest() == before
    engine.drop()
    print(f"{type(engine).__name__.lower():11} key {key:8} {rows:>11,} rows {size:8,.0f} MB   out {out:7.1f} s {rows / out:9,.0f} rows/s {out_memory:4.0f} MiB   "
          f"back {back:7.1f} s {rows / back:9,.0f} rows/s {back_memory:4.0f} MiB   {'identical' if same else 'DIFFERENT'}", flush=True)
    return same and max(out_memory, back_memory) < 300


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", metavar="engine", help=", ".join(ENGINES))
    parser.add_argument("--bin", default="target/release/dedup")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--key", choices=KEYS, action="append", help="one kind of key; again for another")
    parser.add_argument("--work", default="/var/tmp", help="where everything is made, and removed")
    options = parser.parse_args()
    if unknown := set(options.engines) - set(ENGINES):
        parser.error(f"no such engine: {', '.join(unknown)}")
    work = pathlib.Path(tempfile.mkdtemp(prefix="dedup-rows-", dir=options.work))
    work.chmod(0o755)
    # As root, manifests are read nowhere that others may write to.
    home = pathlib.Path(tempfile.mkdtemp(prefix=".dedup-rows-", dir=pathlib.Path.home()))
    good = True
    try:
        dedup = mariadb.Dedup(str(pathlib.Path(options.bin).resolve()), work, home)
        for name in options.engines or ENGINES:
            engine = ENGINES[name](work)
            try:
                for key in options.key or KEYS:
                    good &= measure(engine, key, options.rows, dedup)
            finally:
                engine.end()
    finally:
        for server in mariadb.SERVERS:
            server.process.kill()
            server.process.wait()
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)
    sys.exit(not good)


if __name__ == "__main__":
    main()
