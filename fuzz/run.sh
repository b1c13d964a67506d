#!/usr/bin/env bash
# Runs every fuzz target for so many minutes: fuzz/run.sh MINUTES [TARGET…]. Needs nightly and cargo-fuzz.
#
# The parsers are safe Rust, so no sanitizer is asked for (-s none): overflow checks and the assertions of
# dedup_engine::testing find what there is to find. Crashes are in fuzz/artifacts/TARGET; what reaches new code
# is kept in a corpus outside the sources. Add a crash, once fixed, to fuzz/corpus/TARGET: `make test` replays it.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:?usage: fuzz/run.sh MINUTES [TARGET…]}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cd fuzz/fuzz_targets && ls ./*.rs | sed 's|^\./||; s|\.rs$||')
found=${CARGO_TARGET_DIR:-target}/fuzz-corpus

# One build for all of them, then the programs by themselves.
cargo +nightly fuzz build -s none
host=$(rustc -vV | sed -n 's/^host: //p')
bin=${CARGO_TARGET_DIR:-target}/$host/release
failed=()
for target in "${targets[@]}"; do
    echo "== $target, $minutes min"
    mkdir -p "$found/$target" "fuzz/artifacts/$target"
    "$bin/$target" -max_total_time=$((minutes * 60)) -max_len=65536 -timeout=20 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$target/" "$found/$target" "fuzz/corpus/$target" \
        2>&1 | tail -n 12 || failed+=("$target")
done
[ ${#failed[@]} -eq 0 ] || { echo "crashes: ${failed[*]}" >&2; exit 1; }
