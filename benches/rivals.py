#!/usr/bin/env python3
"""Measures whole runs of dedup beside the other backup programs that are installed.

Each corpus is a directory; what is backed up is a copy of it below --work, so yours is never touched. With
DIR=SECOND the step "changed" turns the copy into SECOND, writing only what differs; without, one file in a
hundred gets other bytes in its middle and, if small, a line more at its end.

Steps: init · first (backup) · unchanged · changed · restore (of the newest) · check (of all data).
Interleaved: every step is run by all programs, one after the other, before the next step begins; who begins
changes with the repetition. The copy is in the page cache; dirty pages are written out, untimed, between runs.
The first restore of each is compared with the source.

wall  seconds from fork to wait4          CPU   user + system seconds, of wait4, with children
RSS   peak MiB of the largest process, of wait4; never below the some 15 of this script
repo  MB of all files of the repository   ×     ratio to the best of the others in this step (below 1: better)
Figures are medians. Only ratios within one run say anything; do not use the machine meanwhile."""
import argparse, filecmp, json, os, platform, random, shutil, statistics, subprocess, sys, tempfile, time

WORDS = "correct horse battery staple"
STEPS = ["init", "first", "unchanged", "changed", "restore", "check"]

# Each step is a list of commands. {bin} {repo} {home} {source} {target} are paths, {n} counts the backups.
# Every program has a fresh HOME, so that its caches begin empty. "in" is the directory of a step.
DEDUP = {"bin": "dedup", "init": [["{bin}", "-q", "init", "{repo}"]],
         "backup": [["{bin}", "-q", "-r", "{repo}", "backup", "{source}"]],
         "restore": [["{bin}", "-q", "-r", "{repo}", "restore", "latest", "--target", "{target}"]],
         "check": [["{bin}", "-q", "-r", "{repo}", "check", "--read-data"]]}


def borg(compression):
    return {"bin": "borg", "env": {"BORG_PASSPHRASE": WORDS, "BORG_BASE_DIR": "{home}"}, "warning": 1,
            "init": [["{bin}", "init", "-e", "repokey-blake2", "{repo}"]],
            "backup": [["{bin}", "create", "--compression", compression, "{repo}::{n}", "{source}"]],
            "restore": [["{bin}", "extract", "{repo}::{n}"]], "in": {"restore": "{target}"},
            "check": [["{bin}", "check", "--verify-data", "{repo}"]]}


TOOLS = {
    "dedup": {**DEDUP, "env": {"DEDUP_PASSPHRASE": WORDS}},
    "dedup-key": {**DEDUP, "env": {"DEDUP_KEY_FILE": "{home}/key"}},
    "restic": {"bin": "restic", "env": {"RESTIC_PASSWORD": WORDS, "RESTIC_REPOSITORY": "{repo}"},
               "init": [["{bin}", "-q", "init"]], "backup": [["{bin}", "-q", "backup", "{source}"]],
               "restore": [["{bin}", "-q", "restore", "latest", "--target", "{target}"]],
               "check": [["{bin}", "-q", "check", "--read-data"]]},
    "borg": borg("lz4"),  # its default
    "borg-zstd": borg("zstd,3"),
    "rustic": {"bin": "rustic", "env": {"RUSTIC_PASSWORD": WORDS, "RUSTIC_REPOSITORY": "{repo}",
                                        "RUSTIC_NO_PROGRESS": "true", "RUSTIC_LOG_LEVEL": "warn"},
               "init": [["{bin}", "init"]], "backup": [["{bin}", "backup", "{source}"]],
               "restore": [["{bin}", "restore", "latest", "{target}"]],
               "check": [["{bin}", "check", "--read-data"]]},
    # It has no check: reading the newest backup to nowhere authenticates what it reads.
    "bupstash": {"bin": "bupstash", "env": {"BUPSTASH_KEY": "{home}/key", "BUPSTASH_REPOSITORY": "{repo}"},
                 "init": [["{bin}", "new-key", "-o", "{home}/key"], ["{bin}", "init"]],
                 "backup": [["{bin}", "put", "-q", "--send-log", "{home}/log", "n={n}", "{source}"]],
                 "restore": [["{bin}", "restore", "-q", "--into", "{target}", "n={n}"]],
                 "check": [["{bin}", "get", "-q", "n={n}"]]},
}


def files_below(folder):
    """Yields every regular file, in an order that does not depend on the file system."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def name_of(corpus, corpora):
    """Returns the last part of a corpus's path, or all of it if another one has the same."""
    last = [os.path.basename(os.path.abspath(other.partition("=")[0])) for other in corpora]
    name = os.path.basename(os.path.abspath(corpus))
    return name if last.count(name) < 2 else os.path.abspath(corpus).strip("/").replace("/", "-")


def bytes_below(folder):
    return sum(os.lstat(os.path.join(place, name)).st_size for place, _, names in os.walk(folder) for name in names)


def copy_of(source, to, cap):
    """Copies a tree, without what is special, until `cap` bytes are reached."""
    left = cap

    def unwanted(place, names):
        nonlocal left
        out = set()
        for name in sorted(names):
            path = os.path.join(place, name)
            if os.path.islink(path) or os.path.isdir(path):
                continue
            if os.path.isfile(path) and os.access(path, os.R_OK) and os.lstat(path).st_size <= left:
                left -= os.lstat(path).st_size
            else:
                out.add(name)
        return out
    shutil.copytree(source, to, symlinks=True, ignore=unwanted)


def become(live, second):
    """Makes `live` the same as `second`, touching only what differs."""
    for place, folders, names in os.walk(live, topdown=False):
        there = os.path.join(second, os.path.relpath(place, live))
        for name in names + folders:
            mine, other = os.path.join(place, name), os.path.join(there, name)
            folder = os.path.isdir(mine) and not os.path.islink(mine)
            if not os.path.lexists(other) or folder != (os.path.isdir(other) and not os.path.islink(other)):
                shutil.rmtree(mine) if folder else os.remove(mine)
    for place, folders, names in os.walk(second):
        here = os.path.join(live, os.path.relpath(place, second))
        os.makedirs(here, exist_ok=True)
        for name in names + [name for name in folders if os.path.islink(os.path.join(place, name))]:
            other, mine = os.path.join(place, name), os.path.join(here, name)
            if os.path.islink(other):
                if not os.path.islink(mine) or os.readlink(mine) != os.readlink(other):
                    if os.path.lexists(mine):
                        os.remove(mine)
                    os.symlink(os.readlink(other), mine)
            elif os.path.isfile(other):
                if os.path.islink(mine):
                    os.remove(mine)
                if not os.path.isfile(mine) or not filecmp.cmp(mine, other, shallow=False):
                    shutil.copy2(other, mine)


def edit(live):
    every, chance = [path for path in files_below(live) if os.path.getsize(path)], random.Random(1)
    for path in chance.sample(every, max(1, len(every) // 100)):
        size = os.path.getsize(path)
        os.chmod(path, 0o644)
        with open(path, "r+b") as file:
            file.seek(size // 2)
            file.write(chance.randbytes(min(4096 if size >= 65536 else 16, size - size // 2)))
            if size < 65536:
                file.seek(0, os.SEEK_END)
                file.write(b"one more line\n")


class Run:
    """One program on one copy of a corpus."""

    def __init__(self, name, binary, work, source, target):
        self.name, self.tool, self.ok, self.log = name, TOOLS[name], True, os.path.join(work, name + ".log")
        self.places = {"bin": binary, "repo": f"{work}/{name}/repo", "home": f"{work}/{name}/home",
                       "source": source, "target": f"{target}/{name}", "n": 0}
        shutil.rmtree(f"{work}/{name}", ignore_errors=True)
        os.makedirs(self.places["home"])

    def step(self, step, timeout):
        """Runs a step; returns its figures, or None if it failed."""
        if not self.ok:
            return None
        backup = step in ("first", "unchanged", "changed")
        self.places["n"] += backup
        own = ("XDG_", "DEDUP_", "RESTIC_", "BORG_", "RUSTIC_", "BUPSTASH_")
        env = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        env.update({key: value.format(**self.places) for key, value in self.tool["env"].items()})
        env["HOME"] = self.places["home"]
        folder = self.tool.get("in", {}).get(step, "/").format(**self.places)
        os.sync()
        figures = {"wall": 0.0, "cpu": 0.0, "rss": 0.0}
        with open(self.log, "ab") as log:
            for command in self.tool["backup" if backup else step]:
                command = [part.format(**self.places) for part in command]
                log.write(f"\n$ {' '.join(command)}\n".encode())
                log.flush()
                begin = time.perf_counter()
                child = subprocess.Popen(["timeout", str(timeout), *command], env=env, cwd=folder,
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
                _, status, usage = os.wait4(child.pid, 0)
                figures["wall"] += time.perf_counter() - begin
                figures["cpu"] += usage.ru_utime + usage.ru_stime
                figures["rss"] = max(figures["rss"], usage.ru_maxrss / 1024)
                child.returncode = os.waitstatus_to_exitcode(status)
                self.ok = child.returncode in (0, self.tool.get("warning", 0))
                if not self.ok:
                    break
        if not self.ok:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                print(f"{self.name} {step}: exit {child.returncode}\n{log.read()[-800:]}", file=sys.stderr)
            return None
        figures["repo"] = bytes_below(self.places["repo"]) / 1e6
        return figures

    def differs(self):
        """Compares what was restored with the source; the programs put it at different depths."""
        source, target = self.places["source"], self.places["target"]
        tries = [target + source, os.path.join(target, os.path.basename(source)), target]
        restored = next(path for path in tries if os.path.isdir(path))
        return subprocess.run(["diff", "-rq", "--no-dereference", source, restored],
                              stdout=subprocess.DEVNULL).returncode != 0


def measure(options, tools):
    """Returns {(corpus, step, tool): [figures]}, and the corpora as text."""
    found, about = {}, []
    for corpus in options.corpora:
        first, _, second = corpus.partition("=")
        name = name_of(first, options.corpora)
        for repetition in range(options.repeat):
            live, target = os.path.join(options.work, "live", name), os.path.join(options.target, "restored")
            shutil.rmtree(os.path.dirname(live), ignore_errors=True)
            copy_of(first, live, options.cap)
            size, count = bytes_below(live), sum(1 for _ in files_below(live))
            if repetition == 0:
                about.append(f"{name}: {count} files, {size / 1e6:.0f} MB")
                if shutil.disk_usage(options.target).free < size * 1.1:
                    sys.exit(f"{options.target} has no room to restore {name}; name another --target")
            names = list(tools)[repetition % len(tools):] + list(tools)[:repetition % len(tools)]
            runs = [Run(tool, tools[tool], options.work, live, target) for tool in names]
            for step in STEPS:
                if step == "changed":
                    become(live, second) if second else edit(live)
                if step in ("first", "changed"):
                    for path in files_below(live):
                        with open(path, "rb", buffering=0) as file:
                            while file.read(1 << 20):
                                pass
                    # Files changed just now are read again by careful programs.
                    time.sleep(2.5)
                for run in runs:
                    os.makedirs(run.places["target"], exist_ok=True)
                    figures = run.step(step, options.timeout)
                    if figures and step == "restore" and repetition == 0:
                        figures["differs"] = run.differs()
                    shutil.rmtree(run.places["target"], ignore_errors=True)
                    found.setdefault((name, step, run.name), []).append(figures)
                    print(name, repetition + 1, step, run.name, figures and f"{figures['wall']:.2f} s", file=sys.stderr)
    return found, about


def table(found):
    """Prints one Markdown table of medians, with ratios to the best of the others."""
    print("| corpus | step | program | wall s | × | CPU s | × | RSS MiB | × | repo MB | × |")
    print("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    fields, rows = ["wall", "cpu", "rss", "repo"], {}
    for key, samples in found.items():
        good = [sample for sample in samples if sample]
        complete = good and len(good) == len(samples)
        rows[key] = complete and {field: statistics.median(sample[field] for sample in good) for field in fields}
    for (corpus, step, tool), row in sorted(rows.items(), key=lambda item: (item[0][0], STEPS.index(item[0][1]))):
        wrong = any(sample and sample.get("differs") for sample in found[corpus, step, tool])
        cells = [corpus, step, tool + (" (DIFFERS)" if wrong else "")]
        others = [other for (c, s, t), other in rows.items() if other and (c, s) == (corpus, step) and t[:5] != "dedup"]
        for field in fields:
            best = min((other[field] for other in others), default=0)
            cells.append(f"{row[field]:.{0 if field == 'rss' else 2}f}" if row else "failed")
            cells.append(f"{row[field] / best:.2f}" if row and best else "")
        print("| " + " | ".join(cells) + " |")


def size_of(text):
    units = {"K": 10**3, "M": 10**6, "G": 10**9}
    return int(float(text[:-1]) * units[text[-1].upper()]) if text[-1].upper() in units else int(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+", metavar="DIR[=SECOND]", help="a corpus, and perhaps a later version of it")
    parser.add_argument("--tools", help="only these, by commas: " + " ".join(TOOLS))
    parser.add_argument("--bin", action="append", default=[], metavar="PROGRAM=PATH",
                        help="where a program is, if not on the PATH, such as dedup=target/release/dedup (repeatable)")
    parser.add_argument("--work", help="copies and repositories go below it, on the disk to measure [default: a new folder]")
    parser.add_argument("--target", default="/dev/shm", help="restores go below it [default: %(default)s, in memory]")
    parser.add_argument("--cap", type=size_of, default=1 << 62, help="copy at most so much of a corpus, such as 500M")
    parser.add_argument("--repeat", type=int, default=3, help="how often each is measured [default: %(default)s]")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds for a step [default: %(default)s]")
    parser.add_argument("--json", help="write every single figure to this file as well")
    options = parser.parse_args()
    paths = dict(text.split("=", 1) for text in options.bin)
    wanted = options.tools.split(",") if options.tools else list(TOOLS)
    if unknown := [name for name in wanted if name not in TOOLS]:
        sys.exit(f"unknown: {' '.join(unknown)}; there are {' '.join(TOOLS)}")
    places = {name: shutil.which(paths.get(TOOLS[name]["bin"], TOOLS[name]["bin"])) for name in wanted}
    tools = {name: os.path.abspath(path) for name, path in places.items() if path}
    print("measuring", *tools, "- not installed:", *(set(wanted) - set(tools)), file=sys.stderr)
    options.target = tempfile.mkdtemp(prefix="rivals-", dir=options.target)
    options.work = tempfile.mkdtemp(prefix="rivals-", dir=options.work)
    try:
        load = os.getloadavg()[0]
        found, about = measure(options, tools)
    finally:
        shutil.rmtree(options.work, ignore_errors=True)
        shutil.rmtree(options.target, ignore_errors=True)
    versions = {}
    for name, path in tools.items():
        said = subprocess.run([path, "version" if name == "restic" else "--version"], capture_output=True, text=True)
        versions[os.path.basename(path)] = " ".join((said.stdout or said.stderr).split()[:2])
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Linux {platform.release()}, load before {load:.1f}, "
          f"{options.repeat} × each. {'; '.join(versions.values())}. {'; '.join(about)}.\n")
    table(found)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump([[*key, samples] for key, samples in found.items()], file, indent=0)


if __name__ == "__main__":
    main()
