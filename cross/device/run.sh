#!/usr/bin/env bash
# Boots an emulated 64-bit Arm device with the kernel's virtual camera and puts lbam-edge to the
# test there: every pixel format, filled frames in files and on the page, a camera that is
# unplugged, falls silent, sends damaged frames. Then looks at the results from outside.
#
#   cross/device/run.sh                # builds what is missing; results in ~/.cache/lbam/device/results-initramfs
#   cross/device/run.sh FOLDER         # results there: pictures/ has before and after, stream and log
#   cross/device/run.sh --system       # a whole Debian with systemd instead, and the package in it
#
# Ends with a line that counts captured, filled and served frames and failures.
# LBAM_DEVICE_EDGE names another program for the device, LBAM_DEVICE_MODEL another model,
# LBAM_DEVICE_PACKAGE another package (with --system, which needs root), LBAM_DEVICE_CPU another
# processor (cortex-a72, "max,pauth-impdef=on"). Installs what is missing (Debian).
set -euo pipefail

here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam/device
kind=initramfs
if [ "${1:-}" = --system ]; then
    kind=system
    shift
fi
results=${1:-$cache/results-$kind}
case $results in /*) ;; *) results=$here/$results ;; esac
model=${LBAM_DEVICE_MODEL:-models/small-int8.lbam}
processor=${LBAM_DEVICE_CPU:-cortex-a76}
# Seconds; it took 340 on two cores that were busy with other work, 110 of them the processor's.
limit=${LBAM_DEVICE_LIMIT:-1800}

. scripts/setup.sh tests
if ! command -v qemu-system-aarch64 >/dev/null; then setup_apt qemu-system-arm; fi

# Nothing of an earlier run may pass for this one's, and nothing else may be lost.
if [ -e "$results/console.txt" ]; then rm -rf "${results:?}"; fi
mkdir -p "$results"
if [ -n "$(ls -A "$results")" ]; then
    echo "$results is not empty and holds no earlier results; name another folder" >&2
    exit 1
fi
if [ $kind = system ]; then
    package=${LBAM_DEVICE_PACKAGE:-$(cross/deb.sh arm64 | tail -n 1)}
    cross/device/system.sh "$package" "$cache/boot"
    first=$cache/boot/system.cpio memory=2048 check=check_system.py
else
    program=${LBAM_DEVICE_EDGE:-$(cross/build.sh --bin lbam-edge | tail -n 1)}
    cross/device/initramfs.sh "$program" "$model" "$cache/boot"
    first=$cache/boot/initramfs.gz memory=768 check=check.py
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The device writes a tar file to it.
truncate -s 256M "$work/disk"

cd "$work"
timeout "$limit" qemu-system-aarch64 -M virt -cpu "$processor" -smp 2 -m $memory \
    -accel tcg,thread=multi -display none -nodefaults -serial stdio -no-reboot \
    -drive if=none,id=disk,file=disk,format=raw -device virtio-blk-pci,drive=disk \
    -kernel "$cache/boot/kernel" -initrd "$first" \
    -append "console=ttyAMA0 quiet panic=-1" </dev/null | sed -u 's/\r$//' | tee "$results/console.txt" ||
    echo "FAILED the device did not end within $limit s" | tee -a "$results/console.txt"
if ! tar -x -f disk -C "$results"; then
    echo "FAILED the device wrote no results" >&2
    exit 1
fi
python3 "$root/cross/device/$check" "$results"
