#!/usr/bin/env bash
# Runs every fuzz target for so many minutes, as many at once as there are cores: fuzz/run.sh MINUTES [TARGET…].
# Needs nightly and cargo-fuzz. Prints one line per target when it ends.
#
# The engine is safe Rust, so no sanitizer is asked for (-s none): overflow checks and the assertions of
# dedup_engine::testing find what there is to find. Crashes are in fuzz/artifacts/TARGET; what reaches new code
# is kept in a corpus outside the sources. Add a crash, once fixed, to fuzz/corpus/TARGET: `make test` replays it.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:?usage: fuzz/run.sh MINUTES [TARGET…]}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cd fuzz/fuzz_targets && ls ./*.rs | sed 's|^\./||; s|\.rs$||')

# One build for all of them, then the programs by themselves.
cargo +nightly fuzz build -s none
host=$(rustc -vV | sed -n 's/^host: //p')
export bin=${CARGO_TARGET_DIR:-target}/$host/release found=${CARGO_TARGET_DIR:-target}/fuzz-corpus
export seconds=$((minutes * 60))
mkdir -p "$found"

one() {
    local target=$1 log=$found/$1.log result=ok
    mkdir -p "$found/$target" "fuzz/artifacts/$target"
    "$bin/$target" -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$target/" "$found/$target" "fuzz/corpus/$target" >"$log" 2>&1 || result=CRASHED
    local runs peak covered
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    covered=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 || true)
    printf '%-18s %-8s %12s runs  %8s a second  %-10s  %5s MiB\n' \
        "$target" "$result" "${runs:-?}" "$((${runs:-0} / (seconds > 0 ? seconds : 1)))" "$covered" "${peak:-?}"
    if [ "$result" != ok ]; then
        tail -n 20 "$log" >&2
        return 1
    fi
}
export -f one
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I TARGET bash -c 'one TARGET' || { echo "crashes: see above" >&2; exit 1; }
