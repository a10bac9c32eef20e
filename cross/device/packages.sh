#!/usr/bin/env bash
# Debian's packages for the emulated device: fetched with apt, not installed, and kept in
# ~/.cache/lbam/device. To be sourced; `device_unpack` then makes the folder $unpacked of them.

. cross/setup.sh run

cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam/device

device_packages=(busybox-static v4l-utils libv4l-0 libv4lconvert0 libv4l2rds0 libjpeg62-turbo
    libudev1 libstdc++6 libgcc-s1 libc6)

native=$(dpkg --print-architecture)

device_tools() {
    local missing=()
    command -v cpio >/dev/null || missing+=(cpio)
    PATH=$PATH:/sbin:/usr/sbin command -v depmod >/dev/null || missing+=(kmod)
    command -v make >/dev/null || missing+=(make)
    if [ "${#missing[@]}" -gt 0 ]; then setup_apt "${missing[@]}"; fi
    cross_foreign
    if ! setup_offers busybox-static:arm64; then setup_apt_update; fi
}

# Prints the package files, after fetching those that are not there in the version on offer.
# Packages are the device's unless they name another architecture.
device_fetch() {
    local names file package packages=()
    mkdir -p "$cache/packages"
    for package; do
        case $package in
            *:*) packages+=("$package") ;;
            *) packages+=("$package:arm64") ;;
        esac
    done
    names=$(apt-get download --print-uris -qq "${packages[@]}" | cut -d ' ' -f 2)
    [ -n "$names" ] || setup_stop "apt offers no arm64 packages"
    for file in $names; do
        if [ ! -s "$cache/packages/$file" ]; then
            setup_say "fetching ${file%%_*}"
            # apt warns that its own user cannot write here; that does no harm.
            package=${file%%_*}
            case $file in
                *_arm64.deb) package+=:arm64 ;;
                *) package+=:$native ;;
            esac
            # Aside first: a file that was cut short would be taken for whole from then on.
            rm -rf "$cache/fetching"
            mkdir "$cache/fetching"
            (cd "$cache/fetching" && apt-get download -qq "$package") >&2
            mv "$cache/fetching/$file" "$cache/packages/"
        fi
        echo "$cache/packages/$file"
    done
}

# Unpacks kernel and packages; that takes longer than all the rest, so it is done once for each
# set of files.
device_unpack() {
    local files file
    files=$(device_fetch "$kernel" "${device_packages[@]}" "${loopback_packages[@]}")
    unpacked=$cache/unpacked-$(echo "$files" | sha256sum | cut -c 1-16)
    if [ -d "$unpacked" ]; then return; fi
    setup_say "unpacking Linux $version and its programs"
    rm -rf "$cache"/unpacked*
    mkdir "$unpacked.part"
    for file in $files; do
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
    device_loopback "$unpacked.part"
    # The package has no list of dependencies between modules; installing it would make one.
    depmod -b "$unpacked.part" "$version"
    mv "$unpacked.part" "$unpacked"
}

# v4l2loopback is built for each kernel: here as DKMS would on the device, but by this machine.
device_loopback() {
    local sources=$1/usr/src headers=linux-headers-$version module
    setup_say "building v4l2loopback for it"
    sed -i "s#/usr/src#$sources#" "$sources/$headers/Makefile"
    module=$(echo "$sources"/v4l2loopback-*)
    make -s -C "$sources/$headers" ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- "M=$module" \
        modules >&2
    cp "$module/v4l2loopback.ko" "$1/lib/modules/$version/"
    rm -r "$sources" "$1"/usr/lib/linux-kbuild-*
}

device_tools
PATH=$PATH:/sbin:/usr/sbin

# linux-image-arm64 has nothing in it; the kernel is in the package that it depends on.
kernel=$(LC_ALL=C apt-cache depends linux-image-arm64:arm64 |
    sed -n 's/^ *Depends: \(linux-image-[0-9][^: ]*\).*/\1/p' | head -n 1)
[ -n "$kernel" ] || setup_stop "apt offers no linux-image-arm64; this needs Debian 12"
version=${kernel#linux-image-}
# What a module is built with runs here.
kbuild=$(LC_ALL=C apt-cache depends "linux-headers-$version:arm64" |
    sed -n 's/^ *Depends: \(linux-kbuild-[^: ]*\).*/\1/p' | head -n 1)
loopback_packages=("linux-headers-$version" "linux-headers-${version%-*}-common:$native"
    "v4l2loopback-dkms:$native" "$kbuild:$native")

# device_modules FOLDER MODULE...: copies modules of the kernel and what they depend on, numbered
# in the order in which they must be loaded
device_modules() {
    local folder=$1 module file number=10
    shift
    for module; do
        while read -r file; do
            if [ -z "$(find "$folder" -name "*-${file##*/}")" ]; then
                cp "$file" "$folder/$number-${file##*/}"
                number=$((number + 1))
            fi
        done < <(modprobe -d "$unpacked" -S "$version" --show-depends "$module" |
            sed -n 's/^insmod \([^ ]*\).*/\1/p')
    done
}
