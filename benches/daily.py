#!/usr/bin/env python3
"""Measures what the next day of a table costs: PostgreSQL, call records as postgresql.py makes them.

Three days: the table; 1 % new rows and 0.1 % of all edited, scattered; 1 % new rows alone. Each day is backed up by dedup as
records, and by restic as what `pg_dump` writes as SQL; both compress. What was added is what the repository grew by.

added    MB beside restic's of the same day          raw      MB of the day's rows as COPY writes them
diff     seconds of `dedup diff` between two days, the best of three: opening the repository is in it

  benches/daily.py --bin target/release/dedup --key all
"""
import argparse, json, os, subprocess, sys, time

import postgresql

KEYED = {"integer": ("", ""), "text": ("id,", "n,"), "none": ("id,", "n,")}


def size(path):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names)


def rows_of(key, first, last):
    """The statement that adds rows of these numbers."""
    insert = postgresql.TABLE % (postgresql.KEYS[key], *KEYED[key], last)
    insert = insert[insert.index("INSERT INTO"):insert.index("CREATE INDEX")]
    return insert.replace("generate_series(1,", f"generate_series({first},")


class Restic:
    def __init__(self, place):
        self.repo = os.path.join(place, "restic")
        self.env = {**os.environ, "RESTIC_PASSWORD": "words", "RESTIC_REPOSITORY": self.repo, "RESTIC_CACHE_DIR": os.path.join(place, "cache")}
        subprocess.run(["restic", "-q", "init"], env=self.env, check=True)

    def backup(self, dump):
        writer = subprocess.Popen(dump, stdout=subprocess.PIPE)
        subprocess.run(["restic", "-q", "backup", "--stdin", "--stdin-filename", "app.sql"], stdin=writer.stdout, env=self.env, check=True)
        if writer.wait():
            sys.exit("pg_dump failed")


def measure(options, key):
    server = postgresql.Server(options.server)
    try:
        server.sql("postgres", "CREATE DATABASE app TEMPLATE template0")
        server.sql("app", postgresql.TABLE % (postgresql.KEYS[key], *KEYED[key], options.rows) + "CHECKPOINT;")
        dedup = postgresql.Dedup(options.bin, options.work, server.place)
        try:
            dedup.init()
            restic, dump, new = Restic(dedup.place), server.tool("pg_dump", "app"), options.rows // 100

            def day(changes, changed, rows):
                if changes:
                    server.sql("app", changes)
                raw = server.sql("app", f"SELECT sum(length(cdr::text)) FROM cdr WHERE {changed}") if changes else server.sql("app", "SELECT pg_table_size('cdr')")
                found = []
                for repo, back_up in ((dedup.repo, lambda: postgresql.timed([options.bin, "-q", "backup"], dedup.env())), (restic.repo, lambda: restic.backup(dump))):
                    before = size(repo)
                    back_up()
                    found.append((size(repo) - before) / 1e6)
                print(f"| {key} | {rows:,} | {int(raw) / 1e6:.2f} | {found[0]:.2f} | {found[1]:.2f} | {found[0] / found[1]:.3f} | {found[0] / int(raw) * 1e6:.2f} |", flush=True)

            day("", "", options.rows)
            day(rows_of(key, options.rows + 1, options.rows + new) + f"UPDATE cdr SET dst = dst || '9' WHERE id % 1000 = 7 AND id <= {options.rows};",
                f"id > {options.rows} OR id % 1000 = 7", new + options.rows // 1000)
            day(rows_of(key, options.rows + new + 1, options.rows + 2 * new), f"id > {options.rows + new}", new)
            listed = subprocess.run([options.bin, "snapshots", "--json"], env=dedup.env(), check=True, stdout=subprocess.PIPE).stdout
            first, second, third = ids(json.loads(listed))
            for a, b, rows in ((first, second, new + options.rows // 1000), (second, third, new)):
                walls = []
                for _ in range(3):
                    begun = time.perf_counter()
                    said = subprocess.run([options.bin, "-q", "diff", a, b, "-m", "calls"], env=dedup.env(), check=True, stdout=subprocess.PIPE).stdout
                    walls.append(time.perf_counter() - begun)
                print(f"  diff of {rows:,} rows: {min(walls):.2f} s, {said.count(10):,} lines; allowed are {1 + rows * 1e-5:.2f} s", flush=True)
        finally:
            postgresql.shutil.rmtree(dedup.place, ignore_errors=True)
    finally:
        server.end()


def ids(listed):
    listed = listed.get("snapshots", listed) if isinstance(listed, dict) else listed
    return [entry["id"] for entry in listed]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/release/dedup")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--key", choices=[*KEYED, "all"], default="integer")
    parser.add_argument("--work", default=os.path.expanduser("~"), help="room for repositories; as root not below /tmp")
    parser.add_argument("--server", default="/var/tmp", help="room for the server, which is not root")
    options = parser.parse_args()
    options.bin = os.path.abspath(options.bin)
    print("| key | rows of the day | raw | added | restic | × restic | × raw |\n|---|--:|--:|--:|--:|--:|--:|")
    for key in KEYED if options.key == "all" else [options.key]:
        measure(options, key)


if __name__ == "__main__":
    main()
