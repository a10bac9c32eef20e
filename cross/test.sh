#!/usr/bin/env bash
# Runs the tests of the kernels, the runtime, the model file and what finishes fills as 64-bit Arm programs,
# emulated (qemu's user mode), for processors that differ in what they can do:
#
#   cortex-a72   Raspberry Pi 4: neither fp16 arithmetic nor dot products
#   cortex-a76   Raspberry Pi 5: both
#   max          all that qemu knows, with i8mm and SVE
#
#   cross/test.sh                  # all three
#   cross/test.sh cortex-a76 max   # some
#
# An instruction that the processor lacks ends the program there, so a kernel picked by mistake
# fails. Installs what is missing (Debian).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. cross/setup.sh run

processors=("$@")
if [ "${#processors[@]}" = 0 ]; then processors=(cortex-a72 cortex-a76 max); fi

# With --tests cargo takes the features that programs and tests want together, so that tract is
# compiled once for both.
cross_cargo build --locked --release --bin lbam-edge --tests
for processor in "${processors[@]}"; do
    echo "== tests on $processor"
    begun=$SECONDS
    # Signing pointers the standard's way would take most of the time.
    model=${processor/%max/max,pauth-impdef=on}
    # No -L with a folder of libraries: those of the cross compiler and those of libc6:arm64 are
    # different builds, and threads hang where both meet. The limit is for such hangs.
    # tract looks for fp16 in /proc/cpuinfo, which shows the host here.
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="timeout ${LBAM_CROSS_LIMIT:-1200} qemu-aarch64-static -cpu $model" \
        cross_cargo test --locked --release --lib -- kernels:: runtime:: file:: picture::continuation:: picture::detail:: picture::patches::
    echo "$processor: $((SECONDS - begun)) s"
done
