#!/usr/bin/env bash
# Packs the emulated device with a whole system: Debian for 64-bit Arm with systemd, and the
# package of lbam-edge on its disk, not installed yet. Writes a kernel and an initramfs that qemu
# boots; all lies in memory there.
#
#   cross/device/system.sh PACKAGE FOLDER   # writes FOLDER/kernel and FOLDER/system.cpio
#
# Debian's packages are unpacked and none of their scripts run, so nothing is emulated here.
# Needs root.
set -euo pipefail

if [ $# != 2 ]; then
    echo "usage: cross/device/system.sh PACKAGE FOLDER" >&2
    exit 2
fi
package=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

. cross/device/packages.sh
[ "$(id -u)" = 0 ] || setup_stop "unpacking a system with its owners needs root: sudo $0"
command -v mmdebstrap >/dev/null || setup_apt mmdebstrap
device_unpack

suite=bookworm
base=$cache/system-$suite.tar
if [ ! -e "$base" ]; then
    setup_say "fetching a $suite for arm64"
    # shellcheck disable=SC2016 # mmdebstrap expands it
    mmdebstrap --quiet --mode=root --architectures=arm64 --variant=extract --skip=check/qemu \
        --setup-hook='for d in bin sbin lib; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done' \
        --include='?essential' --include=systemd-sysv,systemd,udev,kmod,dbus,busybox-static,v4l-utils \
        "$suite" "$base.part.tar" >&2
    mv "$base.part.tar" "$base"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
system=$work/system
mkdir "$system"
tar -x -f "$base" -C "$system"

# What the packages' scripts would have done, as far as it matters here.
mkdir -p "$system"/{proc,sys,run,root,tmp,dev,var/tmp}
chmod 1777 "$system/tmp" "$system/var/tmp"
cp "$system/usr/share/base-passwd/passwd.master" "$system/etc/passwd"
cp "$system/usr/share/base-passwd/group.master" "$system/etc/group"
: >"$system/etc/shadow"
: >"$system/etc/gshadow"
chmod 640 "$system/etc/shadow" "$system/etc/gshadow"
[ -e "$system/bin/sh" ] || ln -s dash "$system/bin/sh"
[ -e "$system/sbin/init" ] || ln -s /lib/systemd/systemd "$system/sbin/init"
[ -e "$system/usr/bin/awk" ] || ln -s mawk "$system/usr/bin/awk"
echo 'u messagebus - "D-Bus" /nonexistent' >"$system/usr/lib/sysusers.d/dbus.conf"
printf 'passwd: files systemd\ngroup: files systemd\nshadow: files\n' >"$system/etc/nsswitch.conf"
echo edge >"$system/etc/hostname"
: >"$system/etc/machine-id"
: >"$system/etc/fstab"
mkdir -p "$system/var/lib/dpkg"
touch "$system/var/lib/dpkg/status" "$system/var/lib/dpkg/available"

# The virtual camera: one webcam without tuner, output or radio. udev loads nothing for it.
mkdir -p "$system/etc/modules-load.d" "$system/etc/modprobe.d"
echo vivid >"$system/etc/modules-load.d/vivid.conf"
echo 'options vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0' \
    >"$system/etc/modprobe.d/vivid.conf"
place=lib/modules/$version
mkdir -p "$system/$place"
cp "$unpacked/$place"/modules.{builtin,builtin.modinfo,order} "$system/$place/"
tar -c -C "$unpacked" "$place/kernel/drivers/media" | tar -x -C "$system"
depmod -b "$system" "$version"

cp "$package" "$system/root/lbam-edge.deb"
cp cross/device/system-test.sh "$system/root/test.sh"
cat >"$system/etc/systemd/system/lbam-test.service" <<'UNIT'
[Unit]
Description=tests of lbam-edge
After=basic.target systemd-modules-load.service

[Service]
Type=oneshot
ExecStart=/bin/sh /root/test.sh
ExecStopPost=/bin/systemctl poweroff --no-block
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyAMA0
TimeoutStartSec=infinity
UNIT
mkdir -p "$system/etc/systemd/system/multi-user.target.wants"
ln -s ../lbam-test.service "$system/etc/systemd/system/multi-user.target.wants/"
# The console is the test's.
ln -s /dev/null "$system/etc/systemd/system/serial-getty@ttyAMA0.service"

# A first root that unpacks the system into memory and goes over to it: services are shut off
# from the rest by mounts, which the first root cannot have.
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,modules,new}
device_modules "$root/modules" virtio_pci virtio_blk
cp "$unpacked/bin/busybox" "$root/bin/"
ln -s busybox "$root/bin/sh"
rm -rf "$system"/usr/share/{doc,man,locale,info} "$system"/var/cache/apt
tar -c -C "$system" . | gzip -1 >"$root/system.tar.gz"
cat >"$root/init" <<'INIT'
#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
for module in /modules/*.ko; do insmod "$module" || echo "FAILED insmod $module"; done
mount -t tmpfs -o size=80% system /new
tar -x -z -f /system.tar.gz -C /new
rm /system.tar.gz
mount --move /dev /new/dev
umount /proc /sys
exec switch_root /new /sbin/init
INIT
chmod 755 "$root/init"
cp "$unpacked/boot/vmlinuz-$version" "$folder/kernel"
(cd "$root" && find . | cpio -o -H newc --quiet) >"$folder/system.cpio"
setup_say "Linux $version, a system of $(($(stat -c %s "$folder/system.cpio") >> 20)) MiB"
