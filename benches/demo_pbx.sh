#!/usr/bin/env bash
# A telephone system: MariaDB with 30 tables and a million call records, a key-value store, feature codes, the tree of the switch,
# recordings, four modules in PHP: backed up, wrecked, restored, compared row by row; then one extension alone.
#   demo_pbx.sh PATH/TO/dedup [CALLS]
set -euo pipefail
umask 022
dedup=$1 calls=${2:-1000000}
sdk=$(cd "$(dirname "$0")/../modules/sdk/php" && pwd)
# Root's manifests and programs may not lie where every user could put things, as /tmp is; the server's data may.
dir=$(mktemp -d -p "$HOME" dedup-pbx.XXXXXX)
base=$(mktemp -d)
server=
finish() { [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null; rm -rf "$dir" "$base"; }
trap finish EXIT
export HOME=$dir/home XDG_CACHE_HOME=$dir/cache XDG_STATE_HOME=$dir/xdg-state XDG_CONFIG_HOME=$dir/config DEDUP_STATE_DIR=$dir/state
export DEDUP_PASSPHRASE="correct horse battery staple" PATH=$PATH:/usr/sbin:/sbin
unset DEDUP_REPO
pbx=$dir/pbx
mkdir -p "$HOME" "$pbx/monitor/2026" "$pbx/voicemail/601" "$dir/config/dedup/modules.d" "$dir/config/dedup/platforms.d"
cd "$dir"
n=16
say() { n=$((n + 1)); printf '%-2s %s\n' "$n" "$1"; }
run() { "$dedup" --no-progress "$@" >"$dir/out" 2>"$dir/err" || { cat "$dir/out" "$dir/err" >&2; exit 1; }; }
line() { grep -E "^$1" "$dir/out" | head -1 | sed -E 's/ +/ /g'; }
took() { awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $1 }"; }

# A server of its own, as a user without rights.
chmod 711 "$base"
mkdir "$base/data" "$base/run"
as=()
if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid 65534 --regid 65534 --clear-groups); chown 65534:65534 "$base/data" "$base/run"; fi
(cd / && "${as[@]}" mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db --datadir="$base/data" >/dev/null 2>&1)
socket=$base/run/socket
"${as[@]}" mariadbd --no-defaults --skip-networking --skip-log-bin --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=256M \
  --datadir="$base/data" --socket="$socket" --pid-file="$base/run/pid" >"$base/log" 2>&1 &
server=$!
sql() { mariadb --no-defaults --socket="$socket" -uroot --default-character-set=utf8mb4 -N -B "$@"; }
for _ in $(seq 600); do sql -e 'SELECT 1' >/dev/null 2>&1 && break; sleep 0.1; done

# Thirty tables, as such a system has them.
{
  echo "CREATE DATABASE asterisk; USE asterisk;
  CREATE TABLE modules (id INT AUTO_INCREMENT PRIMARY KEY, modulename VARCHAR(50), version VARCHAR(20), enabled INT);
  INSERT INTO modules (modulename, version, enabled) VALUES ('core', '16.0.68', 1), ('queues', '16.0.27', 1), ('voicemail', '16.0.45', 1), ('cdr', '16.0.40', 1);
  CREATE TABLE freepbx_settings (keyword VARCHAR(50) PRIMARY KEY, value VARCHAR(255), module VARCHAR(50));
  INSERT INTO freepbx_settings SELECT CONCAT(UPPER(m), '_SETTING_', seq), CONCAT('value ', seq), m FROM seq_1_to_20, (SELECT 'core' m UNION SELECT 'queues' UNION SELECT 'voicemail' UNION SELECT 'cdr') x;
  CREATE TABLE featurecodes (modulename VARCHAR(50), featurename VARCHAR(50), description VARCHAR(200), helptext VARCHAR(500), defaultcode VARCHAR(20), customcode VARCHAR(20), enabled TINYINT, providedest TINYINT, PRIMARY KEY (modulename, featurename));
  INSERT INTO featurecodes SELECT m, CONCAT('code', seq), CONCAT('Does ', seq), '', CONCAT('*', seq), IF(seq % 3, NULL, ''), seq % 2, 0 FROM seq_1_to_12, (SELECT 'core' m UNION SELECT 'queues' UNION SELECT 'voicemail') x;
  CREATE TABLE kvblobstore (uuid CHAR(36) PRIMARY KEY, type VARCHAR(32), content LONGBLOB);
  CREATE TABLE users (extension VARCHAR(20) PRIMARY KEY, name VARCHAR(50), password VARCHAR(20), outboundcid VARCHAR(50));
  INSERT INTO users SELECT seq, CONCAT('User ', seq, ' äöü \\\\n \"quoted\"'), '', NULL FROM seq_600_to_1599;
  CREATE TABLE devices (id VARCHAR(20) PRIMARY KEY, tech VARCHAR(10), dial VARCHAR(255), description VARCHAR(50));
  INSERT INTO devices SELECT seq, 'pjsip', CONCAT('PJSIP/', seq), CONCAT('User ', seq) FROM seq_600_to_1599;
  CREATE TABLE sip (id VARCHAR(20), keyword VARCHAR(30), data VARCHAR(255), PRIMARY KEY (id, keyword));
  INSERT INTO sip SELECT seq, k, MD5(CONCAT(seq, k)) FROM seq_600_to_1599, (SELECT 'secret' k UNION SELECT 'dtmfmode' UNION SELECT 'context') x;
  CREATE TABLE cdr (uniqueid VARCHAR(32) PRIMARY KEY, calldate DATETIME, src VARCHAR(80), dst VARCHAR(80), duration INT, disposition VARCHAR(45), recordingfile VARCHAR(255));
  INSERT INTO cdr SELECT CONCAT('1763700000.', LPAD(seq, 8, '0')), TIMESTAMP('2026-01-01') + INTERVAL seq * 27 SECOND, 600 + seq % 1000, 600 + seq * 7 % 1000, seq % 900, ELT(1 + seq % 3, 'ANSWERED', 'BUSY', 'NO ANSWER'), IF(seq % 5000, '', CONCAT('q-', seq, '.wav')) FROM seq_1_to_$calls;
  CREATE TABLE cdr_notes (id INT AUTO_INCREMENT PRIMARY KEY, uniqueid VARCHAR(32), note BLOB);
  INSERT INTO cdr_notes (uniqueid, note) SELECT CONCAT('1763700000.', LPAD(seq, 8, '0')), UNHEX(SHA2(seq, 256)) FROM seq_1_to_500;"
  for module in core queues voicemail cdr; do
    Module=${module^}
    echo "CREATE TABLE kvstore_FreePBX_modules_$Module (\`key\` VARCHAR(100) NOT NULL, val LONGTEXT, type VARCHAR(16), id VARCHAR(100) NOT NULL, UNIQUE (\`key\`, id));
    INSERT INTO kvstore_FreePBX_modules_$Module SELECT CONCAT('key', seq % 10), CONCAT('[', seq, ']'), 'json-arr', seq DIV 10 FROM seq_1_to_2000;
    INSERT INTO kvstore_FreePBX_modules_$Module VALUES ('long', '$module-0000', 'blob', 'noid');
    INSERT INTO kvblobstore VALUES ('$module-0000', NULL, REPEAT('long ', 20000));"
  done
  for table in queues_config queues_details queues_hours voicemail_greetings voicemail_rules voicemail_shares core_routes core_route_patterns core_trunks \
    core_trunk_patterns core_incoming core_times core_groups core_destinations core_announcements core_locks core_paging; do
    echo "CREATE TABLE $table (id INT PRIMARY KEY, name VARCHAR(100), amount DECIMAL(10,2), raw VARBINARY(64), at DATETIME);
    INSERT INTO $table SELECT seq, CONCAT('$table ', seq), seq / 7, UNHEX(MD5(seq)), NULL FROM seq_0_to_199;"
  done
} | sql
sqlite3 astdb.sqlite3 "CREATE TABLE astdb (key VARCHAR(256) PRIMARY KEY, value VARCHAR(256));
  WITH RECURSIVE s(n) AS (SELECT 600 UNION ALL SELECT n + 1 FROM s WHERE n < 1599)
  INSERT INTO astdb SELECT '/AMPUSER/' || n || '/cidname', 'User ' || n FROM s UNION ALL SELECT '/QPENALTY/' || n || '/agents', n % 7 FROM s"
for recording in $(seq 5000 5000 200000); do head -c 20000 /dev/zero | openssl enc -aes-128-ctr -K "$(printf %032d "$recording")" -iv 0 2>/dev/null >"pbx/monitor/2026/q-$recording.wav"; done
echo "a message" >pbx/voicemail/601/msg0000.txt

# The host that the modules ask; FreePBX has /etc/freepbx.conf for that.
cat >pbx/host.php <<HOST
<?php
final class Astman
{
    private \$tree;
    public function __construct() { \$this->tree = new PDO('sqlite:$dir/astdb.sqlite3'); \$this->tree->exec('PRAGMA synchronous = OFF'); }
    public function database_show(\$family)
    {
        \$rows = \$this->tree->prepare('SELECT key, value FROM astdb WHERE key LIKE ? ORDER BY key');
        \$rows->execute(["/\$family/%"]);
        return \$rows->fetchAll(PDO::FETCH_KEY_PAIR);
    }
    public function database_put(\$family, \$key, \$value)
    {
        \$this->tree->prepare('REPLACE INTO astdb VALUES (?, ?)')->execute(["/\$family/\$key", \$value]);
    }
}
\$host = new stdClass();
\$host->Database = new PDO('mysql:unix_socket=$socket;dbname=asterisk;charset=utf8mb4', 'root', '', [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
\$host->astman = new Astman();
return \$host;
HOST
# Four modules in the style of FreePBX's. What is large is a source of their manifests, and has rows of its own in the snapshot.
module() {
  cat >"pbx/$1.php" <<MODULE
<?php
namespace FreePBX\\modules\\${1^};
require '$sdk/dedup/autoload.php';
use Dedup as Base;
class Backup extends Base\\BackupBase
{
    public function runBackup(\$id, \$transaction)
    {
        $3
        \$this->addConfigs(\$this->dumpAll() + ['astdb' => \$this->dumpAstDB('$4')]);
    }
}
class Restore extends Base\\RestoreBase
{
    public function runRestore()
    {
        \$configs = \$this->getConfigs();
        \$this->importAll(\$configs);
        \$this->importAstDB(\$configs['astdb']);
    }
}
Base\\Module::freepbx(['name' => '${1^}', 'version' => '$2', 'backup' => Backup::class, 'restore' => Restore::class, 'bootstrap' => '$pbx/host.php',
    'tables' => [$5]]);
MODULE
  {
    printf 'schema = 1\n[module]\nid = "%s"\nversion = "%s"\nplatform = "freepbx"\n' "$1" "$2"
    printf '[exporter]\ncommand = ["php", "%s"]\n[importer]\ncommand = ["php", "%s"]\n' "$pbx/$1.php" "$pbx/$1.php"
    cat
  } >"config/dedup/modules.d/$1.toml"
}
module core 16.0.68 "" NONE "" <<TOML
[[source]]
name = "extensions"
driver = "tables"
select = { tables = ["users", "devices", "sip"] }
[[source]]
name = "tree"
driver = "tree"
select = { ids = ["AMPUSER"] }
TOML
module queues 16.0.27 "\$this->addDependency('core');" QPENALTY "" </dev/null
module voicemail 16.0.45 "\$this->addDependency('core'); \$this->addFile('msg0000.txt', '$pbx/voicemail/601', '', 'message');" VM "" <<TOML
[data]
directories = ["$pbx/voicemail"]
TOML
# The table of calls is a source; what is left has its prefix, and goes through PHP.
module cdr 16.0.40 "\$this->addDependency('core'); \$this->addDependency('queues');" CDR "" <<TOML
[data]
directories = ["$pbx/monitor"]
[[source]]
name = "calls"
driver = "tables"
select = { tables = ["cdr"] }
TOML
sed -i "s/\\\$this->dumpAll()/['settings' => \$this->dumpAdvancedSettings(), 'features' => \$this->dumpFeatureCodes(), 'kvstore' => \$this->dumpKVStore(), 'tables' => \$this->dumpTables(false, ['cdr'])]/" pbx/cdr.php
sed -e "s#socket = \"[^\"]*\"#socket = \"$socket\"#" -e "s#path = \".*astdb.sqlite3\"#path = \"$dir/astdb.sqlite3\"#" \
  "$sdk/../../platforms.d/freepbx.toml" >config/dedup/platforms.d/freepbx.toml

# Every row of every table in the order of its key, the tree of the switch, every file.
rows() {
  for table in $(sql asterisk -e 'SHOW TABLES'); do
    mariadb-dump --no-defaults --socket="$socket" -uroot --compact --no-create-info --skip-extended-insert --order-by-primary --hex-blob asterisk "$table"
  done
  sqlite3 astdb.sqlite3 'SELECT quote(key), quote(value) FROM astdb ORDER BY key'
  find pbx/monitor pbx/voicemail -type f -exec sha256sum {} + | LC_ALL=C sort -k2
}
rows >before
tables=$(sql asterisk -e 'SHOW TABLES' | wc -l)
say "a telephone system: $tables tables with $(grep -c '^INSERT' before) rows, $calls of them calls; $(find pbx/monitor -type f | wc -l) recordings; a tree of $(sqlite3 astdb.sqlite3 'SELECT count(*) FROM astdb') keys"
say "four modules in PHP, each in the style of FreePBX's: $(cat config/dedup/modules.d/*.toml | grep -c .) lines of manifests in all"
run init repo
begin=$(date +%s.%N); run backup
say "backed up in $(took "$begin") s: $(for m in core queues voicemail cdr; do line "$m" | sed 's/ complete,//'; done | paste -sd';' | sed 's/;/; /g')"
grep -q partial out && { cat out err >&2; exit 1; }
say "repository: $(du -sh repo | cut -f1) for $(du -sh --apparent-size before | cut -f1) of rows, encrypted"
begin=$(date +%s.%N); run backup
say "backed up again in $(took "$begin") s: $(line New: | sed 's/New: //')"
sql asterisk -e "DROP TABLE cdr; UPDATE users SET name = 'garbage'; DELETE FROM devices; DELETE FROM featurecodes; UPDATE freepbx_settings SET value = 'x';
  DELETE FROM kvstore_FreePBX_modules_Queues; DELETE FROM kvblobstore; UPDATE kvstore_FreePBX_modules_Core SET val = 'no'; INSERT INTO queues_config (id, name) VALUES (9999, 'too much');
  DELETE FROM voicemail_greetings; UPDATE core_routes SET raw = NULL; DELETE FROM cdr_notes"
sqlite3 astdb.sqlite3 'DELETE FROM astdb'
rm -rf pbx/monitor pbx/voicemail
rows 2>/dev/null >wrecked || true
say "wrecked it: $(diff before wrecked | grep -c '^[<>]') lines differ, the calls are gone, there are no recordings"
begin=$(date +%s.%N); run restore latest --yes
say "restored in $(took "$begin") s, in the order $(grep -E '^(core|queues|voicemail|cdr) ' out | cut -d' ' -f1 | paste -sd' ')"
rows >after
cmp before after || { diff before after | cut -c1-300 | head -20 >&2; cat out err >&2; exit 1; }
say "compared row by row, key by key, file by file: $(wc -l <after) lines, no difference"
sql asterisk -e "DELETE FROM users WHERE extension = '612'; DELETE FROM devices WHERE id = '612'; DELETE FROM sip WHERE id = '612'; UPDATE users SET name = 'changed since' WHERE extension = '613'"
sqlite3 astdb.sqlite3 "DELETE FROM astdb WHERE key = '/AMPUSER/612/cidname'"
say "deleted extension 612 from three tables and the tree, and changed 613"
begin=$(date +%s.%N)
run restore latest --yes -m core --only 'source:extensions:users[612]' --only 'source:extensions:devices[612]' \
  --only 'source:extensions:sip[612,secret][612,dtmfmode][612,context]' --only 'source:tree:astdb[/AMPUSER/612/cidname]'
rows >alone
diff before alone >differs || true
[ "$(grep -c '^>' differs)" = 1 ] && grep -q "^> .*613.*changed since" differs || { head -20 differs >&2; exit 1; }
say "brought 612 back alone in $(took "$begin") s: all its rows are there, and 613 is still the one that was changed since"
run check
say "$(tail -1 out)"
