#!/usr/bin/env bash
# A real backup and restore of some 10,000 of this machine's own files, shown in ten lines.
#   demo.sh PATH/TO/dedup
set -euo pipefail
dedup=$1
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir" 2>/dev/null; rm -rf "$dir"' EXIT
export HOME=$dir/home XDG_CACHE_HOME=$dir/cache XDG_STATE_HOME=$dir/state XDG_CONFIG_HOME=$dir/config
export DEDUP_PASSPHRASE="correct horse battery staple"
unset DEDUP_REPO
mkdir -p "$HOME" "$dir/tree"
cd "$dir"
say() { printf '%-2s %s\n' "$1" "$2"; }
run() { "$dedup" --no-progress "$@" >"$dir/out" 2>"$dir/err" || { cat "$dir/out" "$dir/err" >&2; exit 1; }; }
summary() { grep -E "^(Files|New):" "$dir/out" | sed -E 's/^[A-Za-z]+: +//' | paste -sd';' | sed 's/;/; /'; }

# Files of /usr/share in stable order, whole with their metadata, until there are 10,000; on a small machine some more.
files() { find "$@" -xdev \( -type f -o -type l \) -print0 2>/dev/null | LC_ALL=C sort -z; }
(cd / && { files usr/share; files usr/include usr/lib -size -256k; } | { head -z -n 10000; cat >/dev/null; } \
  | tar --null --no-recursion -T - --xattrs --acls -cf - 2>/dev/null) | tar -C "$dir/tree" --xattrs --acls -xpf -
ln "$(find tree -type f | sort | sed -n 1p)" tree/a-hard-link
truncate -s 64M tree/a-sparse-file
printf 'name with a newline and a byte that is no UTF-8' >"$(printf 'tree/new\nline-\377')"
say 1 "source: $(find tree | wc -l) entries, $(du -sh --apparent-size tree | cut -f1) of this machine's /usr"
# A file that changed within two seconds of a run is read again by the next one, so let the copy settle.
sleep 2.2
run init repo
say 2 "$(head -1 out)"
begin=$(date +%s.%N); run backup tree
say 3 "first backup in $(awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $begin }") s: $(summary)"
# A changed copy: a hundred files get a line more, one goes, one comes.
find tree -type f -size -64k | LC_ALL=C sort | awk 'NR%90==0 && ++n<=100' | while read -r file; do echo "changed" >>"$file"; done
rm "$(find tree -type f | LC_ALL=C sort | tail -1)"; echo new >tree/a-new-file
run backup tree
say 4 "changed 100 files, backed up again: $(summary)"
run snapshots --json
id=$(grep -o '"id": *"[0-9a-f]*"' out | tail -1 | grep -o '[0-9a-f]\{64\}')
say 5 "two snapshots; the newest is ${id:0:8}"
run restore "$id:$dir/tree" --target restored
say 6 "restored it: $(grep -E '^Files:' out | sed -E 's/^Files: +//')"
# Contents, kinds, names, modes, owners, times to the nanosecond, link counts, attributes: all of it.
# One record for each entry, sorted: no two directories need give their entries in the same order.
listing() {
  (cd "$1" && find . \( -type d -printf '%p\t%y %m %U %G %n %T@\0' -o -printf '%p\t%y %m %U %G %n %T@ %s %l\0' \) | LC_ALL=C sort -z
    find . -print0 | LC_ALL=C sort -z | xargs -0 getfattr -dhm-)
}
diff -r --no-dereference tree restored || { echo "contents differ" >&2; exit 1; }
cmp <(listing tree) <(listing restored) || { echo "metadata differs" >&2; exit 1; }
say 7 "compared byte for byte, with modes, owners, times, links and attributes: no difference"
run check --read-data
say 8 "$(grep -E '^(Read|Checked):' out | sed -E 's/^[A-Za-z]+: +//' | paste -sd';' | sed 's/;/; /'): $(tail -1 out)"
say 9 "repository: $(du -sh repo | cut -f1) for $(du -sch --apparent-size tree tree | tail -1 | cut -f1) in two snapshots, encrypted"
DEDUP_PASSPHRASE=wrong "$dedup" snapshots >/dev/null 2>err && exit 1
say 10 "a wrong passphrase gets: $(head -1 err)"
