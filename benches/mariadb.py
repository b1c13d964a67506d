#!/usr/bin/env python3
"""Measures databases of MariaDB and SQLite beside their own programs.

A table of --rows wide rows: export as records and as SQL beside `mariadb-dump | zstd -3`, import beside
`zstd -d | mariadb`; the same for SQLite beside `.dump | zstd` and `.backup`. Paired: in each of --reps
rounds each takes its turn; medians, and the ratio to the server's own program. rows.py sends large tables there and back.

The server is one of the distribution's package, as nobody, in a folder below --work that is removed at the end.
Figures of a busy machine say nothing; ratios within one run say something."""
import argparse, os, pathlib, shutil, statistics, subprocess, sys, tempfile, time

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []

# Wide: every type; {key} is what the tables differ in.
COLUMNS = """a TINYINT, b SMALLINT UNSIGNED, c MEDIUMINT, d INT, e BIGINT, f BIGINT UNSIGNED, g DECIMAL(65,30),
 h DECIMAL(12,2), i FLOAT, j DOUBLE, k BIT(12), l YEAR, m DATE, n DATETIME, o DATETIME(6), p TIMESTAMP NULL DEFAULT NULL,
 q TIME(3), r CHAR(12), s VARCHAR(120), t TEXT, u BLOB, v VARBINARY(40), w BINARY(5), x ENUM('one','two',''),
 y SET('r','w','x'), z JSON, za UUID, zb INET6, zc VARCHAR(20) CHARACTER SET latin1"""
VALUES = """seq % 256 - 128, seq % 65536, seq % 99999 - 50000, (seq * 2654435761) % 4294967296 - 2147483648,
 IF(seq % 1000 = 0, -9223372036854775808, seq * 7919), IF(seq % 1000 = 1, 18446744073709551615, seq),
 IF(seq % 500 = 0, 99999999999999999999999999999999999.999999999999999999999999999999, seq / 7), seq * 1.01,
 IF(seq % 300 = 0, -1e-60, seq / 3), seq * 1e-5, seq % 4096, 1901 + seq % 255,
 IF(seq % 50 = 0, '0000-00-00', '2000-01-01' + INTERVAL seq % 9999 DAY),
 IF(seq % 70 = 0, '0000-00-00 00:00:00', '2001-01-01' + INTERVAL seq % 99999999 SECOND),
 '2002-02-02 02:02:02.000001' + INTERVAL seq MICROSECOND, IF(seq % 9 = 0, NULL, FROM_UNIXTIME(1 + seq % 2000000000)),
 SEC_TO_TIME(seq % 800000), CONCAT('c', seq % 1000), IF(seq % 11 = 0, NULL, CONCAT(MD5(seq), ' 😀 ü ', seq)),
 IF(seq % 13 = 0, NULL, REPEAT(CONCAT('text ', seq % 77, '\\n\\\\'), 1 + seq % 6)),
 IF(seq % 997 = 0, REPEAT(UNHEX(SHA2(seq, 256)), 200), UNHEX(SHA2(seq, 256))), UNHEX(MD5(seq)), CHAR(seq % 250, 0, 255),
 ELT(1 + seq % 4, 'one', 'two', '', NULL), ELT(1 + seq % 3, 'r', 'r,x', ''), JSON_OBJECT('n', seq, 'x', seq % 3 = 0),
 CAST(CONCAT(LEFT(MD5(seq), 8), '-0000-0000-0000-', RIGHT(MD5(seq), 12)) AS UUID), CONCAT('::', HEX(seq % 65536)), 'Grüße'"""
KEYS = {"integer key": ("id INT PRIMARY KEY,", "seq,"),
        "collated text key": ("id VARCHAR(40) COLLATE utf8mb4_unicode_ci PRIMARY KEY,", "CONCAT(LEFT(MD5(seq), 6), ' É ', seq),"),
        "no key": ("id INT,", "seq % 100000,")}


SERVERS = []


class Server:
    def __init__(self, directory, buffer):
        self.dir = directory
        directory.mkdir()
        directory.chmod(0o777)
        subprocess.run([*NOBODY, "mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal",
                        "--skip-test-db", f"--datadir={directory}/data"], check=True, stdout=subprocess.DEVNULL)
        SERVERS.append(self)
        self.process = subprocess.Popen(
            [*NOBODY, "mariadbd", "--no-defaults", "--skip-log-bin", "--performance-schema=OFF", "--skip-networking",
             f"--datadir={directory}/data", f"--socket={directory}/s", f"--tmpdir={directory}/data",
             "--innodb-flush-log-at-trx-commit=2", f"--innodb-buffer-pool-size={buffer}", "--innodb-log-file-size=512M",
             "--max-allowed-packet=1G"], stdout=open(directory / "log", "w"), stderr=subprocess.STDOUT)
        for _ in range(300):
            if subprocess.run(self.client("SELECT 1"), capture_output=True).returncode == 0:
                return
            time.sleep(0.2)
        sys.exit((directory / "log").read_text())

    def client(self, sql=None, database=""):
        words = ["mariadb", "--no-defaults", "--batch", "--skip-column-names", "-uroot", f"-S{self.dir}/s",
                 "--default-character-set=utf8mb4"]
        return words + ([f"--execute={sql}"] if sql else []) + ([database] if database else [])

    def sql(self, sql):
        done = subprocess.run(self.client(sql), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{sql[:300]}\n{done.stderr}")
        return done.stdout

    def fill(self, table, rows, key, database="big"):
        column, value = KEYS[key]
        self.sql("SET SESSION sql_mode='ALLOW_INVALID_DATES'; CREATE DATABASE IF NOT EXISTS " + database)
        self.sql(f"USE {database}; SET SESSION sql_mode='ALLOW_INVALID_DATES'; SET time_zone='+00:00'; "
                 f"CREATE TABLE {table} ({column} {COLUMNS}) CHARACTER SET utf8mb4")
        for start in range(1, rows + 1, 500000):
            self.sql(f"USE {database}; SET SESSION sql_mode='ALLOW_INVALID_DATES'; SET time_zone='+00:00'; INSERT INTO {table} "
                     f"SELECT {value} {VALUES} FROM (SELECT CAST(seq AS SIGNED) AS seq FROM seq_{start}_to_{min(rows, start + 499999)}) AS numbers")

    def checksums(self, database="big"):
        tables = self.sql(f"SHOW TABLES FROM {database}").split()
        return {table: self.sql(f"CHECKSUM TABLE {database}.{table} EXTENDED").split()[1] for table in tables}

    def megabytes(self, database="big"):
        for table in self.sql(f"SHOW TABLES FROM {database}").split():
            self.sql(f"ANALYZE TABLE {database}.{table}")
        where = f"WHERE TABLE_SCHEMA='{database}'"
        return int(self.sql(f"SELECT SUM(DATA_LENGTH) FROM information_schema.TABLES {where}")) / 1e6

    def empty(self, database):
        self.sql(f"DROP DATABASE IF EXISTS {database}; CREATE DATABASE {database} CHARACTER SET utf8mb4")

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Dedup:
    """A machine of its own for dedup."""

    def __init__(self, program, directory, home):
        self.bin, self.dir, self.modules = program, directory, home / ".config/dedup/modules.d"
        self.modules.mkdir(parents=True)
        self.env = {**os.environ, "HOME": str(home), "DEDUP_STATE_DIR": str(home / "state"),
                    "DEDUP_REPO": str(directory / "repo"), "DEDUP_KEY_FILE": str(directory / "key")}
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            self.env.pop(name, None)

    def new(self):
        shutil.rmtree(self.dir / "repo", ignore_errors=True)
        (self.dir / "key").unlink(missing_ok=True)
        self.run("init", "--key-file", str(self.dir / "key"), str(self.dir / "repo"))

    def declare(self, source):
        (self.modules / "db.toml").write_text(
            f'schema = 1\n[module]\nid = "db"\nversion = "1"\n[[source]]\nname = "db"\n{source}')

    def run(self, *words):
        """Returns seconds and the peak MiB of the largest process."""
        begun = time.monotonic()
        process = subprocess.Popen([self.bin, "-q", *words], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"dedup {' '.join(words)}: {status}\n{said.decode()}")
        return time.monotonic() - begun, usage.ru_maxrss / 1024


def timed(command):
    begun = time.monotonic()
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True)
    return time.monotonic() - begun


def quoted(words):
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)


def endpoint(server, rest):
    return f'driver = "mariadb"\nselect = {{ databases = ["big"] }}\nendpoint = {{ socket = "{server.dir}/s", user = "root" }}\n{rest}'


def beside(options, work, dedup):
    server = Server(work / "server", "512M")
    server.fill("wide", options.rows, "integer key")
    print(f"{options.rows:,} wide rows, {server.megabytes():,.0f} MB in the server; seconds, medians of {options.reps}")
    dump, sums = work / "dump.zst", server.checksums()
    times = {}

    def note(name, seconds):
        times.setdefault(name, []).append(seconds)

    own = quoted(["mariadb-dump", "--no-defaults", "-uroot", f"-S{server.dir}/s", "--single-transaction", "--hex-blob",
                  "--default-character-set=utf8mb4", "big"])
    for _ in range(options.reps):
        note("mariadb-dump | zstd", timed(f"{own} | zstd -q -3 -f -o {dump}"))
        for form in ("sql", "records"):
            dedup.new()
            dedup.declare(endpoint(server, f'format = "{form}"\nrestore_endpoint = {{ database = "copy" }}\n'))
            note(f"export {form}", dedup.run("backup")[0])
            server.empty("copy")
            note(f"import {form}", dedup.run("restore", "latest", "--yes", "--no-safety", "-m", "db")[0])
            if form == "records" and server.checksums("copy") != sums:
                sys.exit("the rows that came back are others")
        server.empty("copy")
        note("zstd -d | mariadb", timed(f"zstd -q -d -c {dump} | {quoted(server.client(database='copy'))}"))
        server.empty("copy")
    show(times, {"export sql": "mariadb-dump | zstd", "export records": "mariadb-dump | zstd",
                 "import sql": "zstd -d | mariadb", "import records": "zstd -d | mariadb"})
    server.stop()
    sqlite(options, work, dedup)


def sqlite(options, work, dedup):
    import sqlite3
    path, times = work / "rows.db", {}
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b REAL, c BLOB, d TEXT)")
        base.executemany("INSERT INTO t VALUES (?,?,?,?,?)",
                         ((n, f"2026-11-{n % 28:02} row", n / 3, os.urandom(24), "x" * (n % 60)) for n in range(options.rows)))
    print(f"\nSQLite, {options.rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB")
    for _ in range(options.reps):
        times.setdefault(".dump | zstd", []).append(timed(f"sqlite3 {path} .dump | zstd -q -3 -f -o {work}/lite.zst"))
        times.setdefault(".backup | zstd", []).append(timed(f"sqlite3 {path} '.backup {work}/copy.db' && zstd -q -3 -f {work}/copy.db"))
        (work / "new.db").unlink(missing_ok=True)
        times.setdefault("zstd -d | sqlite3", []).append(timed(f"zstd -q -d -c {work}/lite.zst | sqlite3 {work}/new.db"))
        for form, more in (("pages", ""), ("records", 'format = "records"\n')):
            dedup.new()
            dedup.declare(f'driver = "sqlite"\npath = "{path}"\n{more}')
            times.setdefault(f"export {form}", []).append(dedup.run("backup")[0])
            times.setdefault(f"import {form}", []).append(dedup.run("restore", "latest", "--yes", "-m", "db")[0])
    show(times, {"export pages": ".backup | zstd", "export records": ".dump | zstd", "import records": "zstd -d | sqlite3"})


def show(times, pairs):
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    for name, seconds in medians.items():
        ratio = f"   {seconds / medians[pairs[name]]:5.2f} × {pairs[name]}" if name in pairs else ""
        print(f"{name:24} {seconds:8.2f}{ratio}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["all", "sqlite"], default="all", help="SQLite alone, or both")
    parser.add_argument("--bin", default="target/release/dedup")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--work", default="/var/tmp", help="where everything is made, and removed")
    options = parser.parse_args()
    options.bin = str(pathlib.Path(options.bin).resolve())
    work = pathlib.Path(tempfile.mkdtemp(prefix="dedup-mariadb-", dir=options.work))
    work.chmod(0o755)
    # As root, manifests are read nowhere that others may write to.
    home = pathlib.Path(tempfile.mkdtemp(prefix=".dedup-mariadb-", dir=pathlib.Path.home()))
    try:
        {"all": beside, "sqlite": sqlite}[options.what](options, work, Dedup(options.bin, work, home))
    finally:
        for server in SERVERS:
            server.process.kill()
            server.process.wait()
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
