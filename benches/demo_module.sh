#!/usr/bin/env bash
# An application with files, secrets, an SQLite database in use, a service and hooks: backed up, wrecked, restored.
#   demo_module.sh PATH/TO/dedup
set -euo pipefail
umask 022
dedup=$1
# Root's manifests and hooks may not lie where every user could put things, as /tmp is.
dir=$(mktemp -d -p "$HOME" dedup-demo.XXXXXX)
app=$dir/app
trap '"$app/notesd" stop 2>/dev/null; rm -rf "$dir"' EXIT
export HOME=$dir/home XDG_CACHE_HOME=$dir/cache XDG_STATE_HOME=$dir/xdg-state XDG_CONFIG_HOME=$dir/config DEDUP_STATE_DIR=$dir/state
export DEDUP_PASSPHRASE="correct horse battery staple"
unset DEDUP_REPO
mkdir -p "$HOME" "$app/notes" "$app/secrets" "$dir/config/dedup/modules.d"
chmod 700 "$app/secrets"
cd "$dir"
say() { printf '%-2s %s\n' "$1" "$2"; }
run() { "$dedup" --no-progress "$@" >"$dir/out" 2>"$dir/err" || { cat "$dir/out" "$dir/err" >&2; exit 1; }; }

# The application: a service that inserts a row and writes a file, again and again.
cat >"$app/notesd" <<NOTESD
#!/bin/sh
cd "$app" || exit 1
case \$1 in
start) setsid "$app/notesd" work </dev/null >/dev/null 2>&1 & echo \$! >pid ;;
stop) [ -e pid ] || exit 0; touch halt; while kill -0 "\$(cat pid)" 2>/dev/null; do sleep 0.02; done; rm -f pid halt ;;
status) [ -e pid ] && kill -0 "\$(cat pid)" 2>/dev/null ;;
work) while [ ! -e halt ]; do n=\$((n + 1)); sqlite3 -cmd ".timeout 9000" notes.db "insert into notes values (\$\$ * 1000 + \$n)" && echo "\$n" >"notes/\$(( \$\$ * 1000 + n ))"; done ;;
*) echo "\$(date +%T) hook \$1 \$DEDUP_STATE" >>"$dir/hooks" ;;
esac
NOTESD
chmod 755 "$app/notesd"
sqlite3 "$app/notes.db" "pragma journal_mode=wal; create table notes(id integer primary key)" >/dev/null
echo "token-1234" >"$app/secrets/token"
chmod 600 "$app/secrets/token"
cat >"$dir/config/dedup/modules.d/notes.toml" <<MANIFEST
schema = 1
[module]
id = "notes"
version = "1"
[data]
directories = ["$app/notes"]
[secrets]
directories = ["$app/secrets"]
[[source]]
name = "db"
driver = "sqlite"
path = "$app/notes.db"
[[service]]
name = "notesd"
kind = "command"
status = ["$app/notesd", "status"]
stop = ["$app/notesd", "stop"]
start = ["$app/notesd", "start"]
[hooks]
backup_pre = { run = ["$app/notesd", "before"] }
backup_post = { run = ["$app/notesd", "after"] }
restore_post = { run = ["$app/notesd", "restored"] }
MANIFEST
"$app/notesd" start
sleep 1
say 11 "an application that writes rows and files: $(grep -c . config/dedup/modules.d/notes.toml) lines of manifest say what it is"
run init repo
run backup
say 12 "backed up while it ran: $(sed -E 's/ +/ /' out | head -1); $(grep '^Down' out | sed -E 's/ +/ /g')"
"$app/notesd" status || { echo "the service was not started again" >&2; exit 1; }
"$app/notesd" stop
rm -rf "$app/notes" "$app/secrets"; echo garbage >"$app/notes.db"; rm -f "$app/notes.db-wal" "$app/notes.db-shm"
say 13 "wrecked it: no files, no secrets, garbage for a database"
run restore latest --yes
say 14 "restored: $(grep '^notes' out | sed -E 's/ +/ /')"
rows=$(sqlite3 "$app/notes.db" "select id from notes order by id")
files=$(ls "$app/notes" | sort -n)
[ "$rows" = "$files" ] || { echo "rows and files differ" >&2; diff <(echo "$rows") <(echo "$files") >&2; exit 1; }
[ "$(cat "$app/secrets/token")" = "token-1234" ] && [ "$(stat -c %a "$app/secrets/token")" = 600 ]
"$app/notesd" status && { echo "the service was off before the restore, and runs now" >&2; exit 1; }
say 15 "every row has its file ($(echo "$rows" | wc -l) of each), the secret its mode, the service is as it was: off"
say 16 "hooks ran: $(cut -d' ' -f3- hooks | paste -sd, | sed 's/ *,/, /g')"
