#!/usr/bin/env bash
# Training on the processor beside PyTorch: the same network, loss, size, batch and threads, in
# turns, and the ratio of their median steps.
#
#   benches/training/run.sh                     # small, 256x256, 4 pictures a step, 2 threads
#   benches/training/run.sh nano 128 8          # another width, size and batch
#
# PyTorch is installed into a private environment (some gigabytes). lbam-desk is taken from
# CARGO_TARGET_DIR (release), or from LBAM_DESK. Figures of PyTorch are the better of its two
# memory layouts. Where it may, everything runs at real-time priority.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

preset=${1:-small}
size=${2:-256}
batch=${3:-4}
threads=${LBAM_THREADS:-2}
rounds=${LBAM_ROUNDS:-3}
steps=40
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam
desk=${LBAM_DESK:-${CARGO_TARGET_DIR:-$cache/target}/release/lbam-desk}
home=$cache/pytorch
[ -x "$desk" ] || { echo "run.sh: no $desk; cargo build --release --features desk" >&2; exit 1; }
case $preset in
nano) base=8 ;;
small) base=16 ;;
base) base=32 ;;
paper) base=64 ;;
*) echo "run.sh: no preset $preset" >&2; exit 2 ;;
esac
if ! "$home/bin/python" -c 'import torch' 2>/dev/null; then
    echo "installing PyTorch into $home" >&2
    python3 -m venv "$home"
    "$home/bin/pip" install -q torch numpy
fi
images=$cache/photographs
[ -d "$images" ] || { echo "run.sh: no photographs; run models/photographs/fetch.sh" >&2; exit 1; }
first=()
if chrt --fifo 1 true 2>/dev/null; then first=(chrt --fifo 1); fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pytorch() { # OPTIONS...
    "${first[@]}" "$home/bin/python" benches/training/pytorch.py --base $base --size "$size" \
        --batch "$batch" --steps $steps --threads "$threads" "$@"
}

ours() { # BACKEND
    RAYON_NUM_THREADS=$threads "${first[@]}" "$desk" train --images "$images" --output "$work/run" \
        --preset "$preset" --size "$size" --batch "$batch" --steps $steps --backend "$1" \
        >/dev/null 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
    # The first steps wait for the first pictures.
    tail -n +14 "$work/run/log.csv" | cut -d , -f 1,2 | python3 -c '
import sys
lines = [line.split(",") for line in sys.stdin]
print((float(lines[-1][1]) - float(lines[0][1])) / (len(lines) - 1))'
    rm -rf "$work/run"
}

for ((round = 0; round < rounds; round++)); do
    echo "ours $(ours cpu)"
    echo "burn $(ours cpu-burn)"
    echo "torch $(pytorch)"
    echo "torch-last $(pytorch --channels-last)"
done >"$work/times"
"$home/bin/python" - "$work/times" "$batch" <<'PYTHON'
import statistics
import sys

times = {}
for line in open(sys.argv[1]):
    name, seconds = line.split()
    times.setdefault(name, []).append(float(seconds))
batch = int(sys.argv[2])
median = {name: statistics.median(values) for name, values in times.items()}
torch = min(median["torch"], median["torch-last"])
rows = [("lbam-desk", median["ours"]), ("Burn (--backend cpu-burn)", median["burn"]), ("PyTorch", torch)]
for name, seconds in rows:
    print(f"{name:<26} {1000 * seconds:7.1f} ms a step, {batch / seconds:6.1f} pictures/s")
print(f"PyTorch's step over ours: {torch / median['ours']:.2f}")
PYTHON
