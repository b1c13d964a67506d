#!/usr/bin/env bash
# Measures dedup beside the other backup programs that are installed, on two small real corpora: 500 MB each of
# this machine's /usr/share and /usr/lib. Arguments go on to rivals.py.
#   DEDUP=path/to/dedup CAP=500M rivals.sh [--repeat 3] [--tools dedup,restic] ...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${DEDUP:-}" ]; then
  target=$(cd "$here" && "${CARGO:-cargo}" metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
  DEDUP=$target/release/dedup
fi
[ -x "$DEDUP" ] || { echo "$DEDUP is not there: cargo build --release" >&2; exit 1; }
exec python3 "$here/rivals.py" --bin "dedup=$DEDUP" --cap "${CAP:-500M}" "$@" /usr/share /usr/lib
