#!/usr/bin/env bash
# Peak memory of every dedup command, on a made tree and on one ten times as large, as a Markdown table.
#   DEDUP=path/to/dedup SMALL=200M FILES=mixed TIMES=10 MAX_MEMORY=256M LIMIT=300 WORK=/var/tmp memory.sh
# SMALL       bytes of the small tree: half of it random, half text
# FILES       mixed: files of 1 KiB to 8 MiB; tiny: 1 to 3 KiB, so that indexes and listings are large
# TIMES       how much larger the other one is
# MAX_MEMORY  what --max-memory is set to
# LIMIT       MiB that no command may exceed: status 1 if one does
# WORK        a folder with room for three times the larger tree
# Peaks are those of wait4, of one run each; needs python3.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${DEDUP:-}" ]; then
  target=$(cd "$here" && "${CARGO:-cargo}" metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
  DEDUP=$target/release/dedup
fi
[ -x "$DEDUP" ] || { echo "$DEDUP is not there: cargo build --release" >&2; exit 1; }
dedup=$(realpath "$DEDUP")
small=$(numfmt --from=iec "${SMALL:-200M}") times=${TIMES:-10} limit=${LIMIT:-300} memory=${MAX_MEMORY:-256M} files=${FILES:-mixed}
dir=$(mktemp -d -p "${WORK:-/var/tmp}")
trap 'rm -rf "$dir"' EXIT
unset "${!DEDUP_@}"
echo "correct horse battery staple" >"$dir/words"

tree() { # FOLDER BYTES
  python3 - "$1" "$2" "$files" <<'PY'
import os, random, sys
folder, left, chance, count = sys.argv[1], int(sys.argv[2]), random.Random(1), 0
sizes = {
    # Of a hundred files seventy are small, twenty-five middling, five large.
    "mixed": ([(1 << 10, 16 << 10), (16 << 10, 256 << 10), (1 << 20, 8 << 20)], [70, 25, 5]),
    "tiny": ([(1 << 10, 3 << 10)], [1]),
}[sys.argv[3]]
while left > 0:
    low, high = chance.choices(*sizes)[0]
    size = min(left, chance.randrange(low, high))
    place = f"{folder}/{count // 2000:04}/{count // 50 % 40:02}"
    if count % 50 == 0:
        os.makedirs(place, exist_ok=True)
    with open(f"{place}/file-{count:07}", "wb") as file:
        # Text: hexadecimal digits, which compress to a half.
        file.write(os.urandom(size) if count % 2 else os.urandom(size // 2 + 1).hex().encode()[:size])
    left, count = left - size, count + 1
print(f"{os.path.basename(os.path.dirname(folder))}: {count} files", file=sys.stderr)
PY
}

peak() { # NAME ARGUMENTS-OF-DEDUP …
  python3 - "$size" "$dir" "$dedup" "$memory" "$@" <<'PY'
import os, subprocess, sys
size, folder, dedup, memory, name, *arguments = sys.argv[1:]
command = [dedup, "--no-progress", "--max-memory", memory, *arguments]
with open(f"{folder}/log", "w+") as log:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    log.seek(0)
    if status:
        sys.exit(f"{' '.join(command)}: status {child.returncode}\n{log.read()[-800:]}")
with open(f"{folder}/peaks", "a") as file:
    file.write(f"{size}\t{name}\t{usage.ru_maxrss / 1024:.1f}\n")
PY
}

for size in small large; do
  export HOME=$dir/$size; export XDG_CACHE_HOME=$HOME/cache XDG_STATE_HOME=$HOME/state XDG_CONFIG_HOME=$HOME/config
  live=$HOME/tree
  # By key file: stretching a passphrase takes 64 MiB, which would hide what small commands need.
  export DEDUP_KEY_FILE=$HOME/key
  mkdir -p "$live"
  tree "$live" $([ $size = small ] && echo "$small" || echo $((small * times)))
  # A file that changed within two seconds of a run would be read again by the next one.
  sleep 2.5
  peak "init" init "$HOME/repo"
  export DEDUP_REPO=$HOME/repo
  peak "backup --dry-run" backup --dry-run "$live"
  peak "backup, first" backup "$live"
  peak "backup, unchanged" backup "$live"
  find "$live" -type f | LC_ALL=C sort | awk 'NR % 100 == 1' | while read -r file; do echo "one more line" >>"$file"; done
  sleep 2.5
  peak "backup, 1 % of files changed" backup "$live"
  peak "backup --parent none" backup --parent none "$live"
  peak "snapshots" snapshots
  ids=$("$dedup" snapshots --json | grep -o '"id": *"[0-9a-f]*"' | grep -o '[0-9a-f]\{64\}')
  peak "ls -l" ls -l latest
  peak "find" find '*7'
  peak "diff" diff "$(echo "$ids" | head -1)" "$(echo "$ids" | tail -1)"
  peak "stats" stats
  peak "dump, as tar" dump "latest:$live"
  rm -r "$live"
  peak "restore" restore latest --target "$HOME/restored"
  peak "restore, nothing to do" restore latest --target "$HOME/restored"
  rm -r "$HOME/restored"
  peak "check" check
  peak "check --read-data" check --read-data
  rm -r "$HOME/cache"
  peak "stats, index lost" stats
  peak "key list" key list
  peak "key add, a passphrase" key add --new-passphrase-file "$dir/words"
  unset DEDUP_KEY_FILE
  peak "snapshots, by passphrase" --passphrase-file "$dir/words" snapshots
  export DEDUP_KEY_FILE=$HOME/key
  if "$dedup" help forget >/dev/null 2>&1; then
    peak "forget" forget --keep-last 1
    "$dedup" help prune >/dev/null 2>&1 && peak "prune" prune
  fi
  unset DEDUP_REPO
  rm -r "$HOME"
done

python3 - "$dir/peaks" "$limit" "$(numfmt --to=iec "$small")" "$(numfmt --to=iec $((small * times)))" <<'PY'
import sys
peaks = {}
for line in open(sys.argv[1]):
    size, name, peak = line.rstrip("\n").split("\t")
    peaks.setdefault(name, {})[size] = float(peak)
print(f"| command | {sys.argv[3]}: MiB | {sys.argv[4]}: MiB | × |\n|---|--:|--:|--:|")
for name, of in peaks.items():
    print(f"| {name} | {of['small']:.0f} | {of['large']:.0f} | {of['large'] / of['small']:.2f} |")
small, large = (max(of[size] for of in peaks.values()) for size in ("small", "large"))
print(f"\nMost: {small:.0f} and {large:.0f} MiB, × {large / small:.2f}; {sys.argv[2]} are allowed.")
sys.exit(max(small, large) > float(sys.argv[2]))
PY
