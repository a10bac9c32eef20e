#!/usr/bin/env bash
# lbam-edge beside other runtimes: the same network, picture, mask and threads, in one run.
# README.md beside this script says what is compared and how to read it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() {
    cat <<'TEXT'
usage: run.sh [--paper] [--pictures DIR] [--rounds N] [--no-record] [--note TEXT]
       run.sh [--paper] [--pictures DIR] --prepare

Sets up ONNX Runtime, OpenVINO, ncnn and tract in a private Python environment, compiles rten,
gives them and lbam-edge the same network, checks that all agree, and prints times and ratios.

  --paper         the paper's width with random weights, instead of models/small.safetensors
  --pictures DIR  photographs to calibrate on; otherwise 16 of those that
                  models/photographs/fetch.sh lays
  --rounds N      turns that each contender gets (7)
  --no-record     do not write benches/record/MACHINE/DATE.csv
  --note TEXT     goes into the record
  --prepare       only make the files that benches/instructions needs; a smaller environment does

lbam-edge and lbam-desk are taken from CARGO_TARGET_DIR (release), or from LBAM_EDGE and
LBAM_DESK. Where it may, everything measured runs at real-time priority (LBAM_PEERS_REALTIME=0:
it does not).
TEXT
}

fail() {
    printf 'run.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam
target=${CARGO_TARGET_DIR:-$cache/target}
edge=${LBAM_EDGE:-$target/release/lbam-edge}
desk=${LBAM_DESK:-$target/release/lbam-desk}
network=small
pictures=
rounds=7
record=yes
note=
only_prepare=
while [ $# -gt 0 ]; do
    case $1 in
    --paper) network=paper ;;
    --pictures | --rounds | --note)
        [ $# -ge 2 ] || fail "$1 needs a value" 2
        case $1 in
        --pictures) pictures=$2 ;;
        --rounds) rounds=$2 ;;
        --note) note=$2 ;;
        esac
        shift
        ;;
    --no-record) record= ;;
    --prepare) only_prepare=yes ;;
    -h | --help)
        usage
        exit
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done
programs=("$desk")
[ -n "$only_prepare" ] || programs+=("$edge")
for program in "${programs[@]}"; do
    [ -x "$program" ] ||
        fail "no program $program; build with: cargo build --locked --release --bins --features desk --target-dir ${program%/release/*}"
done

home=$cache/peers
python=$home/bin/python
work=$home/$network
mkdir -p "$work"

# The versions that are installed.
stamp=$home/installed
[ -z "$only_prepare" ] || stamp=$home/installed-to-prepare

# What `--prepare` needs, and what the peers are beyond that. pnnx is installed without what it
# depends on: its converter for ONNX is one program, and the rest of the package would bring PyTorch.
setup_peers() {
    local wanted=(numpy==2.4.6 pillow==13.0.0 onnx==1.23.2 onnxruntime==1.32.0 safetensors==0.8.0)
    local peers=(openvino==2026.4.1 nncf==3.4.0 ncnn==1.0.20261020 tract==0.23.9)
    if [ -z "$only_prepare" ]; then wanted+=("${peers[@]}"); fi
    if [ "$(cat "$stamp" 2>/dev/null)" = "${wanted[*]}" ]; then return; fi
    echo "installing Python packages into $home" >&2
    # Without python3-venv there would be a Python and no pip.
    [ -x "$home/bin/pip" ] || python3 -m venv "$home"
    "$python" -m pip install -q "${wanted[@]}"
    [ -n "$only_prepare" ] || "$python" -m pip install -q --no-deps pnnx==20261020
    echo "${wanted[*]}" >"$stamp"
}

# Sixteen photographs, evenly over the list.
pick_pictures() {
    local from=$cache/photographs every count
    [ -d "$from" ] || fail "no photographs; run models/photographs/fetch.sh or give --pictures"
    count=$(find "$from" -type f | wc -l)
    every=$(((count + 15) / 16))
    rm -rf "$work/pictures"
    mkdir "$work/pictures"
    find "$from" -type f | sort | awk -v every="$every" 'NR % every == 1' |
        while read -r file; do
            cp "$file" "$work/pictures/$(basename "$(dirname "$file")")-$(basename "$file")"
        done
    pictures=$work/pictures
}

# What was made is kept, unless what it is made from is newer.
prepare() {
    local weights=models/small.safetensors made=$work/prepared shipped=models/small-int8.lbam
    local converter parts=()
    if [ -n "$only_prepare" ]; then
        made=$work/prepared-for-instructions
        parts=(--instructions)
    fi
    int8=$work/int8.lbam
    if [ "$network" = small ] && [ -e "$shipped" ]; then int8=$shipped; fi
    if [ -z "$pictures" ] && [ "$made" -nt "$weights" ] && [ "$made" -nt "$stamp" ] &&
        [ "$made" -nt benches/peers/prepare.py ] && [ -e "$int8" ]; then return; fi
    if [ -z "$pictures" ]; then pick_pictures; fi
    if [ "$network" = paper ] && [ ! -e "$work/random.safetensors" ]; then
        "$python" benches/peers/paper_weights.py "$weights" "$work/random.safetensors"
    fi
    if [ "$network" = paper ]; then weights=$work/random.safetensors; fi
    "$desk" export "$weights" --format onnx --output "$work/network.onnx" >&2
    [ "$int8" = "$shipped" ] || [ "$int8" -nt "$weights" ] ||
        "$desk" calibrate "$weights" --images "$pictures" --output "$int8" >&2
    echo "quantising for the peers" >&2
    "$python" benches/peers/prepare.py "${parts[@]}" "$work/network.onnx" "$pictures" "$work" \
        >"$work/prepare.log" 2>&1 || fail "see $work/prepare.log"
    if [ -z "$only_prepare" ]; then
        converter=$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/pnnx/pnnx
        (cd "$work" && "$converter" smooth-whole.onnx) >"$work/pnnx.log" 2>&1 ||
            fail "see $work/pnnx.log"
    fi
    touch "$made"
}

# Nobody else's work comes first then, so that a machine may be busy; needs the right to.
realtime_options() {
    if [ "${LBAM_PEERS_REALTIME:-1}" = 1 ] && chrt --fifo 1 true 2>/dev/null; then
        echo --realtime
    fi
}

# Of the processor, as /proc/cpuinfo has it: a name alone may stand for several generations.
machine_name() {
    local name family model
    name=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
    family=$(sed -n 's/^cpu family[^:]*: //p' /proc/cpuinfo | head -n 1)
    model=$(sed -n 's/^model\t[^:]*: //p' /proc/cpuinfo | head -n 1)
    echo "${name:-$(uname -m)} family ${family:-0} model ${model:-0} $(nproc) cpus" |
        tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9\n' -
}

setup_peers
prepare
if [ -n "$only_prepare" ]; then
    # For whoever called: what was made, and lbam-edge's model of the same network.
    printf '%s\n' "$work" "$int8"
    exit
fi
CARGO_TARGET_DIR=$home/contender cargo build -q --release --locked \
    --manifest-path benches/peers/contender/Cargo.toml
machine=$(machine_name)
csv=benches/record/$machine/$(date +%F).csv
[ -n "$record" ] || csv=$work/unrecorded.csv
versions=$("$python" -m pip list 2>/dev/null |
    awk '/^(onnxruntime|openvino|nncf|ncnn|tract) / { printf "%s %s, ", $1, $2 }')
mapfile -t realtime < <(realtime_options)
"$python" benches/peers/measure.py "$work" --edge "$edge" \
    --contender "$home/contender/release/contender" --int8 "$int8" --network "$network" \
    --csv "$csv" --rounds "$rounds" "${realtime[@]}" \
    --note "$machine; ${versions}lbam $(git rev-parse --short HEAD)${note:+; $note}"
echo "written to $csv"
