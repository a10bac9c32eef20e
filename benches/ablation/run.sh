#!/usr/bin/env bash
# The paper's ablations, trained alike and judged alike: what the maps are, and which losses count.
#
#   benches/ablation/run.sh HELDOUT          # a folder of pictures that training never sees
#   benches/ablation/run.sh HELDOUT WORK     # keeps weights in WORK, and leaves out rows that are done
#
# Prints the tables of docs/ablation.md (the second with LBAM_STEPS=4000). `nano`, 128x128. Maps: from random weights, 8 pictures a
# step, L1 losses; the paper's network with two more seeds, to show how far apart chance puts runs.
# Losses: all go on from the shipped weights, since what a loss does to a network that has learned
# nothing yet says little; 2 pictures a step, since the losses on features take a second or so for
# each picture on a processor. Photographs are those of models/photographs/fetch.sh, feature weights
# those of models/features/fetch.sh (LBAM_VGG and LBAM_ALEXNET name others). LBAM_STEPS and
# LBAM_LOSS_STEPS are the steps of each run, LBAM_TABLES the tables ("maps losses"). lbam-desk is
# taken from CARGO_TARGET_DIR (release), or from LBAM_DESK.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

heldout=${1:?"run.sh: name a folder of held-out pictures"}
steps=${LBAM_STEPS:-1000}
loss_steps=${LBAM_LOSS_STEPS:-300}
tables=${LBAM_TABLES:-maps losses}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam
desk=${LBAM_DESK:-${CARGO_TARGET_DIR:-$cache/target}/release/lbam-desk}
images=$cache/photographs
vgg=${LBAM_VGG:-$cache/features/vgg16.safetensors}
alexnet=${LBAM_ALEXNET:-$cache/features/alexnet.safetensors}
if [ -n "${2:-}" ]; then
    # Of so many steps each, the losses' from these weights.
    start=$(sha256sum models/nano.safetensors | cut -c1-8)
    work=$(realpath -m -- "$2/$steps-$loss_steps-$start")
    mkdir -p "$work"
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
[ -x "$desk" ] || { echo "run.sh: no $desk; cargo build --locked --release --features desk --target-dir ${desk%/release/*}" >&2; exit 1; }
[ -d "$heldout" ] || { echo "run.sh: no folder $heldout" >&2; exit 1; }
[ -d "$images" ] || { echo "run.sh: no photographs; run models/photographs/fetch.sh" >&2; exit 1; }
for features in "$vgg" "$alexnet"; do
    [ -f "$features" ] ||
        { echo "run.sh: no $features; run models/features/fetch.sh" >&2; exit 1; }
done

# A model for each row; a row's name is its file's.
train() { # TABLE NAME OPTIONS...
    local table=$1 name=$2 run=$work/run
    shift 2
    mkdir -p "$work/$table"
    if [ ! -e "$work/$table/$name.safetensors" ]; then
        rm -rf "$run"
        echo "$table: $name" >&2
        "$desk" train --images "$images" --output "$run" --size 128 \
            --sample-every 100000 --checkpoint-every 100000 "$@" >/dev/null 2>"$work/log" ||
            { cat "$work/log" >&2; exit 1; }
        mv "$run/weights.safetensors" "$work/$table/$name.safetensors"
    fi
    printf '%s\n' "$name" >>"$work/$table.rows"
}

maps() { # NAME OPTIONS...
    local name=$1
    shift
    train maps "$name" --preset nano --batch 8 --steps "$steps" --learning-rate 1e-3 "$@"
}

losses() { # NAME OPTIONS...
    local name=$1
    shift
    train losses "$name" --init models/nano.safetensors --batch 2 \
        --steps "$loss_steps" --learning-rate 2e-4 --seed 4 "$@"
}

all_maps() {
    maps "both, gaussian" --seed 1
    maps "both, gaussian (seed 2)" --seed 2
    maps "both, gaussian (seed 3)" --seed 3
    maps "forward, gaussian" --seed 1 --attention-masks forward
    maps "pconv" --seed 1 --attention-masks pconv
    maps "both, sigmoid" --seed 1 --attention sigmoid
    maps "both, leaky-relu" --seed 1 --attention leaky-relu
    maps "both, relu" --seed 1 --attention relu
}

all_losses() {
    mkdir -p "$work/losses"
    cp models/nano.safetensors "$work/losses/start.safetensors"
    echo "start" >>"$work/losses.rows"
    losses "l1"
    losses "l1 of the hole alone" --valid-weight 0
    losses "l1 outside alone" --hole-weight 0
    losses "l1, ssim" --ssim-weight 1
    losses "l1, adversarial" --adversarial-weight 0.1
    losses "all the paper's" --vgg "$vgg" --adversarial-weight 0.1
    losses "all but adversarial" --vgg "$vgg"
    losses "all but perceptual" --vgg "$vgg" --perceptual-weight 0 --adversarial-weight 0.1
    losses "all but style" --vgg "$vgg" --style-weight 0 --adversarial-weight 0.1
}

for table in $tables; do
    rm -f "$work/$table.rows"
    "all_$table"
    models=()
    while IFS= read -r name; do
        models+=(--model "$work/$table/$name.safetensors")
    done <"$work/$table.rows"
    "$desk" eval "${models[@]}" --images "$heldout" --size 128 --seed 1 --baseline telea,mean \
        --lpips "$alexnet" --json >"$work/$table.json"
done
python3 - "$work" "$steps" "$loss_steps" "$tables" <<'PYTHON'
import json
import sys

work, steps, loss_steps, tables = sys.argv[1:]
titles = {
    "maps": f"Maps, {steps} steps",
    "losses": f"Losses, {loss_steps} steps from the shipped weights",
}
for table in tables.split():
    title = titles[table]
    results = json.load(open(f"{work}/{table}.json"))["results"]
    buckets = list(next(iter(results.values())))
    print(f"### {title}\n")
    print("| | " + " | ".join(buckets) + " |")
    print("|---|" + "---|" * len(buckets))
    for name, scores in results.items():
        cells = [
            f"{s['psnr_hole']:.2f} / {s['ssim']:.4f} / {s['lpips']:.4f}" if s else ""
            for s in (scores[bucket] for bucket in buckets)
        ]
        print(f"| {name.removesuffix('.safetensors')} | " + " | ".join(cells) + " |")
    print()
PYTHON
