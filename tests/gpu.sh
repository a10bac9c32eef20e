#!/usr/bin/env bash
# Trains a few steps on the processor and the same on a GPU backend: one seed, so one start, the
# same pictures and masks, and the losses must agree.
#
#   tests/gpu.sh                 # wgpu: whatever Vulkan device there is, Mesa's software one too
#   tests/gpu.sh cuda            # another backend that lbam-desk can be built with
#
# LBAM_DESK names a program built with that feature; else it is built, in a folder of its own, and
# its kernels are tested. LBAM_NOT_RECORDED=1: it need not record its step (with autotune it does not).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

backend=${1:-wgpu}
# Steps; and how far losses may be apart, as a share. Sums in another order differ by some 1e-7,
# and every step of a network in training multiplies that.
steps=12
tolerance=1e-4

if [ -z "${LBAM_DESK:-}" ]; then
    . scripts/setup.sh tests
    CARGO_TARGET_DIR=$CARGO_TARGET_DIR-gpu
    cargo test --locked --release --features "$backend" --lib -- convolutions adam clamp
    cargo build --locked --release --features "$backend" --bin lbam-desk
    LBAM_DESK=$CARGO_TARGET_DIR/release/lbam-desk
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/pictures"
ffmpeg -nostdin -v error -f lavfi -i mandelbrot=s=320x256:rate=1 -frames:v 6 "$work/pictures/%d.png"
for device in cpu "$backend"; do
    # More would hang on a driver that never answers.
    RUST_LOG=warn,lbam=debug timeout 600 "$LBAM_DESK" train --images "$work/pictures" --output "$work/$device" \
        --preset nano --size 128 --batch 1 --steps $steps --seed 3 --learning-rate 5e-2 \
        --backend "$device" 2>"$work/$device.log" || {
        cat "$work/$device.log" >&2
        exit 1
    }
    tail -n 2 "$work/$device.log"
done
# With autotune nothing is recorded.
grep -q "a step is recorded" "$work/$backend.log" || [ -n "${LBAM_NOT_RECORDED:-}" ] || {
    echo "gpu.sh: the step was made anew each time, not recorded" >&2
    exit 1
}
# The optimiser's state finds its way back to its device: the second step's loss shows it.
resumed=$((steps + 2))
for device in cpu "$backend"; do
    timeout 600 "$LBAM_DESK" train --resume "$work/$device" --steps $resumed 2>"$work/resumed.log" || {
        cat "$work/resumed.log" >&2
        echo "gpu.sh: the run on $device is not resumed" >&2
        exit 1
    }
    tail -n 2 "$work/resumed.log"
done
python3 - "$work/cpu/log.csv" "$work/$backend/log.csv" $resumed $tolerance <<'PYTHON'
import csv
import sys

cpu, gpu = ([float(row["loss"]) for row in csv.DictReader(open(path))] for path in sys.argv[1:3])
steps, tolerance = int(sys.argv[3]), float(sys.argv[4])
if not len(cpu) == len(gpu) == steps:
    sys.exit(f"gpu.sh: {len(cpu)} and {len(gpu)} losses were logged, not {steps}")
worst = max(abs(a - b) / abs(a) for a, b in zip(cpu, gpu))
print(f"losses of {steps} steps agree to {worst:.1e} (limit {tolerance:.0e})")
if not worst <= tolerance:
    sys.exit("gpu.sh: the GPU backend trains something else than the processor")
PYTHON
