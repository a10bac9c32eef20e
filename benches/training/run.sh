#!/usr/bin/env bash
# Training beside PyTorch: the same network, loss, size, batch and threads, in turns, and the ratio
# of their steps: PyTorch's median one, and the mean of the second half of ours, with all that a run
# does between steps.
#
#   benches/training/run.sh                     # small, 256x256, 4 pictures a step, 2 threads
#   benches/training/run.sh nano 128 8          # another width, size and batch
#   benches/training/run.sh small 256 64 cuda   # on a GPU, with a program that has the backend
#
# LBAM_OPTIONS is for both, LBAM_PYTHON a Python that has PyTorch, LBAM_IMAGES another folder of pictures.
#
# PyTorch is installed into a private environment (some gigabytes). lbam-desk is taken from
# CARGO_TARGET_DIR (release), or from LBAM_DESK. Figures of PyTorch are the better of its two
# memory layouts. Where it may, everything runs at real-time priority.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

preset=${1:-small}
size=${2:-256}
batch=${3:-4}
backend=${4:-cpu}
threads=${LBAM_THREADS:-2}
rounds=${LBAM_ROUNDS:-3}
device=cpu
steps=40
if [ "$backend" != cpu ]; then
    device=cuda
    steps=300
fi
read -ra options <<<"${LBAM_OPTIONS:-}"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam
desk=${LBAM_DESK:-${CARGO_TARGET_DIR:-$cache/target}/release/lbam-desk}
home=$cache/pytorch
python=${LBAM_PYTHON:-$home/bin/python}
[ -x "$desk" ] || { echo "run.sh: no $desk; cargo build --locked --release --features desk --target-dir ${desk%/release/*}" >&2; exit 1; }
case $preset in
nano) base=8 ;;
small) base=16 ;;
base) base=32 ;;
paper) base=64 ;;
*) echo "run.sh: no preset $preset" >&2; exit 2 ;;
esac
if ! "$python" -c 'import torch' 2>/dev/null; then
    echo "installing PyTorch into $home" >&2
    python3 -m venv "$home"
    "$home/bin/pip" install -q torch numpy
    python=$home/bin/python
fi
images=${LBAM_IMAGES:-$cache/photographs}
[ -d "$images" ] || { echo "run.sh: no photographs; run models/photographs/fetch.sh" >&2; exit 1; }
first=()
if [ "$backend" = cpu ] && chrt --fifo 1 true 2>/dev/null; then first=(chrt --fifo 1); fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pytorch() { # OPTIONS...
    "${first[@]}" "$python" benches/training/pytorch.py --base $base --size "$size" \
        --batch "$batch" --steps $steps --threads "$threads" --device $device "${options[@]}" "$@"
}

ours() { # BACKEND
    RAYON_NUM_THREADS=$threads "${first[@]}" "$desk" train --images "$images" --output "$work/run" \
        --preset "$preset" --size "$size" --batch "$batch" --steps $steps --backend "$1" \
        --checkpoint-every 100000 "${options[@]}" >/dev/null 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
    # The first steps wait for the first pictures, and on a GPU for its kernels. The log has tenths of
    # a second.
    tail -n +2 "$work/run/log.csv" | cut -d , -f 1,2 | python3 -c '
import sys
lines = [line.split(",") for line in sys.stdin]
lines = lines[len(lines) // 2 :]
print((float(lines[-1][1]) - float(lines[0][1])) / (len(lines) - 1))'
    rm -rf "$work/run"
}

# An assignment ends the script where the command fails; an echo of it would not.
measured() { # NAME COMMAND...
    local name=$1 seconds
    shift
    seconds=$("$@")
    echo "$name $seconds"
}

for ((round = 0; round < rounds; round++)); do
    measured ours ours "$backend"
    if [ "$backend" = cpu ]; then measured burn ours cpu-burn; fi
    measured torch pytorch
    measured torch-last pytorch --channels-last
done >"$work/times"
python3 - "$work/times" "$batch" "$backend" <<'PYTHON'
import statistics
import sys

times = {}
for line in open(sys.argv[1]):
    name, seconds = line.split()
    times.setdefault(name, []).append(float(seconds))
batch = int(sys.argv[2])
median = {name: statistics.median(values) for name, values in times.items()}
torch = min(median["torch"], median["torch-last"])
rows = [
    (f"lbam-desk --backend {sys.argv[3]}", "ours"),
    ("lbam-desk --backend cpu-burn", "burn"),
    ("PyTorch, channels first", "torch"),
    ("PyTorch, channels last", "torch-last"),
]
for name, key in rows:
    if key not in median:
        continue
    seconds = median[key]
    print(f"{name:<30} {1000 * seconds:7.1f} ms a step, {batch / seconds:6.1f} pictures/s")
print(f"PyTorch's step over ours: {torch / median['ours']:.2f}")
PYTHON
