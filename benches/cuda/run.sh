#!/usr/bin/env bash
# What training would have an NVIDIA H200 do, without one: kernels are compiled by NVRTC for it, a
# driver that runs nothing writes down every call (driver.c), and the machine code of the convolutions
# is looked at (report.py). Fails if CUDA would refuse to record the step, or a GPU with too little
# memory were not told of.
#
#   benches/cuda/run.sh                # small, 64 pictures of 256x256 a step
#   benches/cuda/run.sh nano 128 8     # another width, size and batch
#
# LBAM_DESK names a lbam-desk built with --features cuda; LBAM_KEEP=FOLDER keeps trace and code there.
# NVRTC and the disassembler are those that come with PyTorch (benches/training/run.sh installs it).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

preset=${1:-small}
size=${2:-256}
batch=${3:-64}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam
desk=${LBAM_DESK:-${CARGO_TARGET_DIR:-$cache/target}-gpu/release/lbam-desk}
[ -x "$desk" ] || { echo "run.sh: no $desk; build one with --features cuda, or name it in LBAM_DESK" >&2; exit 1; }
packages=$("$cache/pytorch/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') ||
    { echo "run.sh: no PyTorch; benches/training/run.sh installs it" >&2; exit 1; }
images=${LBAM_IMAGES:-$cache/photographs}
[ -d "$images" ] || { echo "run.sh: no photographs; run models/photographs/fetch.sh" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trace=${LBAM_KEEP:-$work}
mkdir -p "$trace"
# Not libcuda.so.1: NVRTC would look for more in that.
cc -shared -fPIC -O1 -o "$work/libcuda.so" benches/cuda/driver.c
train() { # PRESET SIZE BATCH
    rm -rf "$work/run"
    CUDA_PATH=$packages/nvidia/cu13 LD_LIBRARY_PATH=$work:$packages/nvidia/cu13/lib \
        "$desk" train --images "$images" --output "$work/run" --preset "$1" --size "$2" \
        --batch "$3" --steps 3 --backend cuda >/dev/null 2>"$work/log"
}
# Too little memory ends a run with one clear line.
if LBAM_TRACE=$work LBAM_MEMORY=50000000 train small 256 64 || [ $? -ne 1 ] ||
    ! grep -q 'GPU could not go on (out of device memory' "$work/log" || [ "$(wc -l <"$work/log")" -gt 9 ]; then
    cat "$work/log" >&2
    echo "run.sh: too little memory is not told as it should be" >&2
    exit 1
fi
LBAM_TRACE=$trace train "$preset" "$size" "$batch" || { cat "$work/log" >&2; exit 1; }
python3 benches/cuda/report.py "$trace" "$packages/triton/backends/nvidia/bin"
