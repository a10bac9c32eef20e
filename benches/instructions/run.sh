#!/usr/bin/env bash
# Counts the Arm instructions of every step of lbam-edge under emulation: what a processor's time
# would be if each instruction took as long, without a board at hand.
#
#   benches/instructions/run.sh                  # cortex-a76, small in int8
#   benches/instructions/run.sh cortex-a72 FILE  # another processor, another int8 model
#
# One line a step, and the sums of both stages. LBAM_RECORD=FILE.csv keeps them, too. Builds what
# is missing and installs it (Debian).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
processor=${1:-cortex-a76}
model=${2:-models/small-int8.lbam}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam/instructions

program=${LBAM_DEVICE_EDGE:-$(cross/build.sh --bin lbam-edge | tail -n 1)}
mkdir -p "$cache"
# The dynamic qemu: static ones take no plugins. Unpacked, for it would take the static one's place.
if [ ! -x "$cache/qemu/usr/bin/qemu-aarch64" ]; then
    (cd "$cache" && apt-get download -qq qemu-user && dpkg -x qemu-user_*.deb qemu)
fi
cc -O2 -shared -fPIC -o "$cache/count.so" benches/instructions/count.c
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# All of the picture a hole: all that there is to compute.
timeout 900 "$cache/qemu/usr/bin/qemu-aarch64" -cpu "$processor" -plugin "$cache/count.so" \
    "$program" bench --model "$model" --hole 1 --threads 1 --frames 1 --profile --json \
    >"$work/bench.json" 2>"$work/counts" || { tail -n 3 "$work/counts" >&2; exit 1; }
python3 - "$work" "$processor" "${LBAM_RECORD:-}" <<'PYTHON'
import csv
import json
import pathlib
import sys

work, processor, record = pathlib.Path(sys.argv[1]), *sys.argv[2:]
bench = json.loads((work / "bench.json").read_text())
steps = bench["profile"]["steps"]
lines = (work / "counts").read_text().splitlines()
# The program asks for the time at the end of every step; after the last step it never asks again.
counts = [int(line.split()[1]) for line in lines if line.startswith("CLOCK ")][-len(steps) - 1 :]
rows = []
for step, begin, end in zip(steps, counts, counts[1:]):
    rows.append([step["stage"], step["name"], end - begin, step["multiply_adds"]])
for stage in ("mask", "frame"):
    own = [row for row in rows if row[0] == stage]
    rows.append([stage, "all", sum(row[2] for row in own), sum(row[3] for row in own)])
print(f"{bench['model']} on {processor}, {bench['kernel']}, {bench['size']}, all of it a hole")
for stage, name, instructions, products in rows:
    ratio = f"{16 * instructions / products:6.2f} per 16 multiply-adds" if products else ""
    print(f"  {stage:<6} {name:<18} {instructions / 1e6:8.2f} M instructions {ratio}")
if record:
    with open(record, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "processor", "kernel", "stage", "step", "instructions", "multiply_adds"])
        writer.writerows([bench["model"], processor, bench["kernel"], *row] for row in rows)
PYTHON
