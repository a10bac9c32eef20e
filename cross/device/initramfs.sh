#!/usr/bin/env bash
# Packs the emulated device: Debian's arm64 kernel, its virtual camera driver (vivid), busybox,
# v4l2-ctl, lbam-edge and a model, as a kernel and an initramfs that qemu boots.
#
#   cross/device/initramfs.sh PROGRAM MODEL FOLDER   # writes FOLDER/kernel and FOLDER/initramfs.gz
#
# The packages are fetched with apt, not installed, and kept in ~/.cache/lbam/device.
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

. cross/setup.sh run

cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam/device
packages=(busybox-static v4l-utils libv4l-0 libv4lconvert0 libv4l2rds0 libjpeg62-turbo libudev1
    libstdc++6 libgcc-s1 libc6)

device_tools() {
    local missing=()
    command -v cpio >/dev/null || missing+=(cpio)
    PATH=$PATH:/sbin:/usr/sbin command -v depmod >/dev/null || missing+=(kmod)
    if [ "${#missing[@]}" -gt 0 ]; then setup_apt "${missing[@]}"; fi
    cross_foreign
    if ! setup_offers busybox-static:arm64; then cross_refresh; fi
}

# Prints the package files, after fetching those that are not there in the version on offer.
device_fetch() {
    local names file
    mkdir -p "$cache/packages"
    names=$(apt-get download --print-uris -qq "${@/%/:arm64}" | cut -d ' ' -f 2)
    [ -n "$names" ] || setup_stop "apt offers no arm64 packages"
    for file in $names; do
        if [ ! -s "$cache/packages/$file" ]; then
            setup_say "fetching ${file%%_*}"
            # apt warns that its own user cannot write here; that does no harm.
            (cd "$cache/packages" && apt-get download -qq "${file%%_*}:arm64") >&2
        fi
        echo "$cache/packages/$file"
    done
}

# Unpacks them; that takes longer than all the rest, so it is done once for each set of files.
device_unpack() {
    local file
    unpacked=$cache/unpacked-$(echo "$*" | sha256sum | cut -c 1-16)
    if [ -d "$unpacked" ]; then return; fi
    setup_say "unpacking Linux $version and its programs"
    rm -rf "$cache"/unpacked*
    mkdir "$unpacked.part"
    for file; do
        case $file in
            # Of the kernel, only what is needed: all of it is 350 MB.
            */linux-image-*)
                dpkg --fsys-tarfile "$file" | tar -x -C "$unpacked.part" --wildcards \
                    './boot/vmlinuz-*' './lib/modules/*/modules.*' \
                    './lib/modules/*/kernel/drivers/media' \
                    './lib/modules/*/kernel/drivers/virtio' \
                    './lib/modules/*/kernel/drivers/block'
                ;;
            *) dpkg -x "$file" "$unpacked.part" ;;
        esac
    done
    # The package has no list of dependencies between modules; installing it would make one.
    depmod -b "$unpacked.part" "$version"
    mv "$unpacked.part" "$unpacked"
}

device_tools
PATH=$PATH:/sbin:/usr/sbin

# linux-image-arm64 has nothing in it; the kernel is in the package that it depends on.
kernel=$(apt-cache depends linux-image-arm64:arm64 |
    sed -n 's/^ *Depends: \(linux-image-[0-9][^: ]*\).*/\1/p' | head -n 1)
[ -n "$kernel" ] || setup_stop "apt offers no linux-image-arm64"
version=${kernel#linux-image-}
files=$(device_fetch "$kernel" "${packages[@]}")

# shellcheck disable=SC2086 # words on purpose
device_unpack $files

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,lib,dev,proc,sys,modules,out}

# Numbered in the order in which they must be loaded.
number=10
for module in virtio_pci virtio_blk vivid; do
    modprobe -d "$unpacked" -S "$version" --show-depends "$module" |
        sed -n 's/^insmod \([^ ]*\).*/\1/p' >"$work/list"
    while read -r file; do
        if [ -z "$(find "$root/modules" -name "*-${file##*/}")" ]; then
            cp "$file" "$root/modules/$number-${file##*/}"
            number=$((number + 1))
        fi
    done <"$work/list"
done

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
