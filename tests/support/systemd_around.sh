#!/bin/sh
# Runs systemd.sh as process 1 of new namespaces, in a control group of its own, and removes that group afterwards.
# $1: the directory that is /test in there; $2: systemd.sh
set -eu
mkdir -p "$1/cg"
# In the mount namespace of this script only.
mount --make-rprivate /
mount -t cgroup2 none "$1/cg"
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
group=$1/cg$own/dedup-test-$$
mkdir "$group"
echo $$ > "$group/cgroup.procs"
setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --net --uts --ipc --cgroup sh "$2" "$1" &
echo $$ > "$1/cg$own/cgroup.procs" || true
wait $! || true
find "$group" -depth -type d -exec rmdir {} +
