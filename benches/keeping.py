#!/usr/bin/env python3
"""Measures what keeps a repository for years, beside restic, rustic and borg where they are installed: check and prune.

A repository of --size is filled by --parts trees, each backed up (tag "a"), bereft of a tenth of its files, drawn by
chance, and backed up again (tag "b"). Then:

structure  check of everything but the data
forget     all of tag "a": a tenth of what is stored is needed no more, scattered over all packs
prune 5%   until at most 5 % of what is needed is unused, the default of dedup and restic
prune 0    until nothing is unused
data       check with all data

Two kinds of deletion: by default files go at random, so that each pack loses a little; with --whole every tenth tree
goes as a whole, so that packs go as a whole. Every program has the disk for itself: they run one after the other, each
with a repository of its own, which is removed before the next. rustic deletes at once (--instant-delete): by default it
only marks. wall, CPU, RSS: as in rivals.py; freed: MB by which the repository got smaller."""
import argparse, json, os, platform, random, shutil, subprocess, sys, tempfile, time
from rivals import TOOLS, bytes_below, size_of

STEPS = ["structure", "forget", "prune 5%", "prune 0", "data"]
KEEP = {
    "dedup": {"backup": ["{bin}", "-q", "-r", "{repo}", "backup", "--tag", "{tag}", "{source}"],
              "structure": ["{bin}", "-q", "-r", "{repo}", "check"],
              "forget": ["{bin}", "-q", "-r", "{repo}", "forget", "--yes", "--keep-tag", "b"],
              "prune 5%": ["{bin}", "-q", "-r", "{repo}", "prune", "--yes", "--max-unused", "5%"],
              "prune 0": ["{bin}", "-q", "-r", "{repo}", "prune", "--yes", "--max-unused", "0"]},
    "restic": {"backup": ["{bin}", "-q", "backup", "--tag", "{tag}", "{source}"],
               "structure": ["{bin}", "-q", "check"],
               "forget": ["{bin}", "-q", "forget", "--keep-tag", "b"],
               "prune 5%": ["{bin}", "-q", "prune", "--max-unused", "5%"],
               "prune 0": ["{bin}", "-q", "prune", "--max-unused", "0"]},
    "rustic": {"backup": ["{bin}", "backup", "--tag", "{tag}", "{source}"],
               "structure": ["{bin}", "check"],
               "forget": ["{bin}", "forget", "--keep-tags", "b"],
               "prune 5%": ["{bin}", "prune", "--instant-delete", "--max-unused", "5%", "--max-repack", "unlimited"],
               "prune 0": ["{bin}", "prune", "--instant-delete", "--max-unused", "0%", "--max-repack", "unlimited"]},
    "borg": {"backup": ["{bin}", "create", "--compression", "zstd,3", "{repo}::{tag}-{n}", "{source}"],
             "structure": ["{bin}", "check", "{repo}"],
             "forget": ["{bin}", "delete", "-a", "a-*", "{repo}"],
             "prune 5%": ["{bin}", "compact", "--threshold", "5", "{repo}"],
             "prune 0": ["{bin}", "compact", "--threshold", "0", "{repo}"]},
}
KEEP["dedup-key"] = KEEP["dedup"]


def grow(tree, size, chance):
    """Fills a tree with files of 4 KiB to 8 MiB, half of them not to be compressed."""
    shutil.rmtree(tree, ignore_errors=True)
    number = 0
    while size > 0:
        length = min(size, int(4096 * 2 ** chance.uniform(0, 11)))
        folder = os.path.join(tree, f"{number % 97:02}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"{number}"), "wb") as file:
            file.write(chance.randbytes(length) if number % 2 else chance.randbytes(length // 2 + 1).hex()[:length].encode())
        size, number = size - length, number + 1


def thin(tree, chance):
    """Removes a tenth of the files."""
    every = sorted(os.path.join(place, name) for place, _, names in os.walk(tree) for name in names)
    for path in chance.sample(every, len(every) // 10):
        os.remove(path)


class Keeper:
    """One program with its repository."""

    def __init__(self, name, binary, work, live):
        self.name, self.tool = name, {**TOOLS[name], **KEEP[name]}
        self.places = {"bin": binary, "repo": f"{work}/{name}/repo", "home": f"{work}/{name}/home", "source": live}
        self.log = os.path.join(work, name + ".log")
        os.makedirs(self.places["home"])

    def run(self, command, **more):
        """Runs a command; returns its figures, and ends everything if it fails."""
        own = ("XDG_", "DEDUP_", "RESTIC_", "BORG_", "RUSTIC_", "BUPSTASH_")
        env = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        env.update({key: value.format(**self.places) for key, value in self.tool["env"].items()})
        env["HOME"] = self.places["home"]
        command = [part.format(**self.places, **more) for part in command]
        os.sync()
        before = bytes_below(self.places["repo"]) if os.path.isdir(self.places["repo"]) else 0
        with open(self.log, "ab") as log:
            begin = time.perf_counter()
            child = subprocess.Popen(command, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            _, status, usage = os.wait4(child.pid, 0)
            wall = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in (0, self.tool.get("warning", 0)):
            with open(self.log, encoding="utf-8", errors="replace") as log:
                sys.exit(f"{' '.join(command)}: exit {child.returncode}\n{log.read()[-2000:]}")
        after = bytes_below(self.places["repo"])
        return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss / 1024,
                "freed": (before - after) / 1e6, "repo": after / 1e6}


def measure(keeper, options):
    for command in keeper.tool["init"]:
        keeper.run(command)
    filled = 0
    for part in range(options.parts):
        chance = random.Random(options.seed * 1000 + part)
        grow(options.live, options.size // options.parts, chance)
        time.sleep(2.5)  # files changed just now are read again by careful programs
        filled += keeper.run(keeper.tool["backup"], tag="a", n=part)["wall"]
        if not options.whole:
            thin(options.live, chance)
        if not options.whole or part % 10:
            filled += keeper.run(keeper.tool["backup"], tag="b", n=part)["wall"]
    shutil.rmtree(options.live)
    print(f"{keeper.name}: filled in {filled:.0f} s", file=sys.stderr)
    found = {}
    for step in STEPS:
        command = keeper.tool["check"][0] if step == "data" else keeper.tool[step]
        found[step] = keeper.run(command)
        print(f"{keeper.name}: {step}: {json.dumps(found[step])}", file=sys.stderr)
    return found


def table(found):
    print("| step | program | wall s | × best other | CPU s | RSS MiB | freed MB | repo MB |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for step in STEPS:
        best = min((row[step]["wall"] for name, row in found.items() if not name.startswith("dedup")), default=0)
        for name, row in found.items():
            row = row[step]
            ratio = f"{row['wall'] / best:.2f}" if best else ""
            print(f"| {step} | {name} | {row['wall']:.2f} | {ratio} | {row['cpu']:.1f} | {row['rss']:.0f} "
                  f"| {row['freed']:.0f} | {row['repo']:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", default="dedup-key,restic,rustic", help="these, by commas, of: " + " ".join(KEEP))
    parser.add_argument("--bin", action="append", default=[], metavar="PROGRAM=PATH", help="where a program is (repeatable)")
    parser.add_argument("--size", type=size_of, default=size_of("20G"), help="of all trees together [default: 20G]")
    parser.add_argument("--parts", type=int, default=10, help="how many trees [default: %(default)s]")
    parser.add_argument("--whole", action="store_true", help="whole trees go, not a tenth of each one's files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", help="repositories go below it [default: a new folder]")
    parser.add_argument("--live", default="/dev/shm", help="trees go below it [default: %(default)s, in memory]")
    options = parser.parse_args()
    paths = dict(text.split("=", 1) for text in options.bin)
    options.work = tempfile.mkdtemp(prefix="keeping-", dir=options.work)
    options.live = os.path.join(tempfile.mkdtemp(prefix="keeping-", dir=options.live), "tree")
    found = {}
    try:
        for name in options.tools.split(","):
            binary = shutil.which(paths.get(TOOLS[name]["bin"], TOOLS[name]["bin"]))
            if not binary:
                print(f"{name} is not installed", file=sys.stderr)
                continue
            keeper = Keeper(name, os.path.abspath(binary), options.work, options.live)
            found[name] = measure(keeper, options)
            shutil.rmtree(os.path.join(options.work, name))
    finally:
        shutil.rmtree(options.work, ignore_errors=True)
        shutil.rmtree(os.path.dirname(options.live), ignore_errors=True)
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Linux {platform.release()}, {options.size / 1e9:.0f} GB in "
          f"{options.parts} trees, {'whole trees' if options.whole else 'a tenth of the files'} gone, seed {options.seed}.\n")
    table(found)


if __name__ == "__main__":
    main()
