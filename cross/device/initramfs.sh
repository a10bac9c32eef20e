#!/usr/bin/env bash
# Packs the emulated device: Debian's arm64 kernel, its virtual camera driver (vivid), v4l2loopback,
# busybox, v4l2-ctl, lbam-edge and a model, as a kernel and an initramfs that qemu boots.
#
#   cross/device/initramfs.sh PROGRAM MODEL FOLDER   # writes FOLDER/kernel and FOLDER/initramfs.gz
set -euo pipefail

if [ $# != 3 ]; then
    echo "usage: cross/device/initramfs.sh PROGRAM MODEL FOLDER" >&2
    exit 2
fi
program=$(realpath "$1")
model=$(realpath "$2")
mkdir -p "$3"
folder=$(realpath "$3")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

. cross/device/packages.sh
device_unpack

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,lib,dev,proc,sys,modules,out}

device_modules "$root/modules" virtio_pci virtio_blk vivid v4l2loopback

cp "$unpacked/bin/busybox" "$root/bin/"
ln -s busybox "$root/bin/sh"
cp "$unpacked/usr/bin/v4l2-ctl" "$root/bin/"
cp "$program" "$root/bin/lbam-edge"
cp "$model" "$root/model.lbam"
cp cross/device/guest.sh "$root/init"
chmod 755 "$root/init" "$root/bin/lbam-edge"
libraries=lib/aarch64-linux-gnu
mkdir -p "$root/$libraries"
cp -L "$unpacked/lib/ld-linux-aarch64.so.1" "$root/lib/"
for file in "$unpacked/$libraries"/*.so.* "$unpacked/usr/$libraries"/*.so.*; do
    if [ -f "$file" ]; then cp -L "$file" "$root/$libraries/"; fi
done

cp "$unpacked/boot/vmlinuz-$version" "$folder/kernel"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$folder/initramfs.gz"
setup_say "Linux $version, initramfs of $(($(stat -c %s "$folder/initramfs.gz") >> 20)) MiB"
