#!/bin/sh
# Becomes a systemd of its own, as process 1 of a world of its own. $1: an empty directory, which is /test in there.
#
# Nothing of the machine can be written from within: the root is a new one in memory, with /usr read-only and copies of
# a few files; directories of the machine are not merely hidden but unmounted. A systemd that boots as usual does what a
# boot does, and that empties /tmp; so this one knows no unit but those of the test (SYSTEMD_UNIT_PATH without a colon at
# its end), and sees no /tmp but its own.
set -eu
[ $$ = 1 ] || { echo "not process 1 of a namespace" >&2; exit 1; }
test=$1
root=$test/root
mount --make-rprivate /
mkdir "$root"
mount -t tmpfs -o mode=755 none "$root"
cd "$root"
mkdir usr etc dev proc sys run tmp root test old var var/tmp var/log var/log/apache2 var/lib
chmod 1777 tmp var/tmp
mount --bind /usr usr
mount -o remount,bind,ro usr
for link in bin sbin lib lib32 lib64; do
  if [ -L "/$link" ]; then cp -P "/$link" .; elif [ -d "/$link" ]; then mkdir "$link"; mount --bind "/$link" "$link"; mount -o remount,bind,ro "$link"; fi
done
for file in passwd group nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d alternatives perl mime.types apache2; do
  [ ! -e "/etc/$file" ] || cp -a "/etc/$file" etc/
done
[ ! -d /var/lib/apache2 ] || cp -a /var/lib/apache2 var/lib/
mount -t tmpfs -o mode=755 none dev
mkdir dev/shm dev/pts
for device in null zero full random urandom; do touch "dev/$device"; mount --bind "/dev/$device" "dev/$device"; done
mount -t proc proc proc
# Settings of the kernel are those of the machine.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs -o mode=755 none run
mkdir -p run/systemd/system run/lock run/apache2
ln -s /run var/run
ln -s /run/lock var/lock
mount --bind "$test" test
pivot_root . old
cd /
umount -l /old
rmdir /old
exec env -i container=dedup-test PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/test/units LANG=C.UTF-8 \
  /lib/systemd/systemd --system --unit=ready.target --log-target=console --log-level=info --show-status=no \
  --default-standard-output=null
