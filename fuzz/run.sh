#!/usr/bin/env bash
# Runs every fuzz target for so many minutes, as many at once as there are cores: fuzz/run.sh MINUTES [TARGET…].
# Prints one line per target when it ends.
#
# The engine is safe Rust, so no sanitizer is asked for: overflow checks and the assertions of dedup_engine::testing
# find what there is to find. Crashes are in fuzz/artifacts/TARGET; what reaches new code is kept in a corpus outside
# the sources. Add a crash, once fixed, to fuzz/corpus/TARGET: `make test` replays it.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:?usage: fuzz/run.sh MINUTES [TARGET…]}
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(ls fuzz/corpus)
built=${CARGO_TARGET_DIR:-target}

# RocksDB is not what is fuzzed: where a build of the program has made it, it need not be made again.
rocks=$(ls -t "$built"/release/build/librocksdb-sys-*/out/librocksdb.a 2>/dev/null | head -n 1 || true)
[ -z "$rocks" ] || export ROCKSDB_LIB_DIR=$(realpath "$(dirname "$rocks")") ROCKSDB_STATIC=1

# What libFuzzer must be told of the code, in flags that a stable toolchain knows; with --target they reach no build script.
coverage='"-Cpasses=sancov-module", "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters", "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares", "-Ccodegen-units=1", "--cfg", "fuzzing"'
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --release --target "$host" --target-dir "$built/fuzz" -p dedup-fuzz \
    --config "build.rustflags = [${coverage//$'\n'/}]" \
    --config profile.release.debug-assertions=true --config profile.release.overflow-checks=true

export bin=$built/fuzz/$host/release/dedup-fuzz found=$built/fuzz-corpus seconds=$((minutes * 60))
mkdir -p "$found"

one() {
    local target=$1 log=$found/$1.log result=ok
    mkdir -p "$found/$target" "fuzz/artifacts/$target"
    FUZZ=$target "$bin" -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
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
