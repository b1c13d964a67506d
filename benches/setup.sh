#!/usr/bin/env bash
# Installs what building (and testing, or the demo) needs and is missing, on Debian and its kin. Does nothing where nothing is missing.
set -euo pipefail
declare -A of=(
  [clang++]=clang [setfacl]=acl [setfattr]=attr [getfattr]=attr [setcap]=libcap2-bin [tar]=tar [strace]=strace
  [mkfs.ext4]=e2fsprogs [mkfs.xfs]=xfsprogs [mkfs.btrfs]=btrfs-progs
  [systemctl]=systemd [nsenter]=util-linux [setpriv]=util-linux [a2query]=apache2 [dockerd]=docker.io
  [/usr/lib/postgresql/*/bin/postgres]=postgresql
  [/usr/bin/docker]=docker.io [/usr/bin/busybox]=busybox-static [perl]=perl [sqlite3]=sqlite3
  [/usr/bin/python3]=python3
  [mariadbd]=mariadb-server [redis-server]=redis-server [openssl]=openssl [influxd]=influxdb [influx]=influxdb-client [ip]=iproute2
  [php]=php-cli ['/usr/lib/php/*/pdo_sqlite.so']=php-sqlite3 ['/usr/lib/php/*/pdo_mysql.so']=php-mysql
)
need=(clang++)
[ "${1:-build}" = demo ] && need+=(getfattr sqlite3)
[ "${1:-build}" = test ] && need+=(
  setfacl setfattr setcap tar strace mkfs.ext4 mkfs.xfs mkfs.btrfs
  systemctl nsenter setpriv a2query dockerd /usr/bin/docker /usr/bin/busybox perl
  '/usr/lib/postgresql/*/bin/postgres'
  /usr/bin/python3 mariadbd redis-server influxd influx ip php '/usr/lib/php/*/pdo_sqlite.so'
)
[ "${1:-build}" = demo-pbx ] && need+=(sqlite3 mariadbd setpriv openssl php '/usr/lib/php/*/pdo_sqlite.so' '/usr/lib/php/*/pdo_mysql.so')
missing=()
for tool in "${need[@]}"; do
  compgen -G "$tool" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || missing+=("${of[$tool]}")
done
# bindgen loads libclang at build time.
compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || [ -n "${LIBCLANG_PATH:-}" ] || missing+=(libclang-dev)
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "please install: ${missing[*]}" >&2
  exit 1
fi
sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
echo "installing ${missing[*]} …"
# Servers of packages start by themselves; tests start their own, in folders of their own.
guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then
  printf '#!/bin/sh\nexit 101\n' | $sudo tee "$guard" >/dev/null
  $sudo chmod 755 "$guard"
  trap '$sudo rm -f "$guard"' EXIT
fi
# Tests start servers of their own: the package must not make one, which it would start.
if [[ " ${missing[*]} " = *" postgresql "* ]]; then
  $sudo mkdir -p /etc/postgresql-common/createcluster.d
  echo "create_main_cluster = false" | $sudo tee /etc/postgresql-common/createcluster.d/dedup-tests.conf >/dev/null
fi
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "${missing[@]}" >/dev/null
for server in mariadb redis-server influxdb; do
  case " ${missing[*]} " in *" $server"*) $sudo systemctl disable --quiet "$server" 2>/dev/null || true ;; esac
done
