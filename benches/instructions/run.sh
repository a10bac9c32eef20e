#!/usr/bin/env bash
# Counts the Arm instructions of every step of lbam-edge under emulation: what a processor's time
# would be if each instruction took as long, without a board at hand. README.md beside this script
# says how to read it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() {
    cat <<'TEXT'
usage: run.sh [PROCESSOR [MODEL]]
       run.sh --peers [--paper] [PROCESSOR]

One line a step, and the sums of both stages, of lbam-edge on MODEL (models/small-int8.lbam) and
PROCESSOR, which qemu knows: cortex-a76 (unless given), cortex-a72, max ...

  --peers    beside tract and rten on the same network (benches/peers makes their files; that needs
             lbam-desk), with the ratios that are the project's goals
  --paper    the paper's width with random weights

LBAM_KERNEL names another kernel than the best, LBAM_RECORD=FILE.csv keeps the counts. Builds what
is missing and installs it (Debian). LBAM_DEVICE_EDGE names a lbam-edge for Arm that is built.
TEXT
}

fail() {
    printf 'run.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

peers=
network=small
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
    --peers) peers=yes ;;
    --paper) network=paper ;;
    -h | --help)
        usage
        exit
        ;;
    -*)
        usage >&2
        exit 2
        ;;
    *) arguments+=("$1") ;;
    esac
    shift
done
processor=${arguments[0]:-cortex-a76}
model=${arguments[1]:-models/small-int8.lbam}
if [ "$network" = paper ] && [ -z "$peers" ]; then fail "--paper goes with --peers" 2; fi
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam/instructions
mkdir -p "$cache"

# The dynamic qemu: static ones take no plugins. Unpacked, for it would take the static one's
# place; so the libraries that it needs are installed here.
setup_qemu() {
    local qemu=$cache/qemu/usr/bin/qemu-aarch64
    # In a shell of its own: it sets the build folder, and asks for an administrator if it must.
    if [ ! -x "$qemu" ]; then
        (
            . scripts/setup.sh build
            cd "$cache"
            apt-get download -qq qemu-user
        )
        dpkg -x "$cache"/qemu-user_*.deb "$cache/qemu"
    fi
    if ldd "$qemu" | grep -q 'not found'; then
        local libraries
        mapfile -t libraries < <(dpkg-deb -f "$cache"/qemu-user_*.deb Depends | tr ',' '\n' |
            sed 's/^ *//; s/[ (].*//')
        (
            . scripts/setup.sh build
            setup_apt "${libraries[@]}"
        )
    fi
    cc -O2 -shared -fPIC -o "$cache/count.so" benches/instructions/count.c
}

# tract and rten in one program; its folder is its own, since its features are.
build_contender() {
    (
        LBAM_CROSS_TARGET_DIR=$cache/target
        . cross/setup.sh build
        cross_cargo build -q --locked --release --features tract \
            --manifest-path benches/peers/contender/Cargo.toml
    )
    contender=$cache/target/aarch64-unknown-linux-gnu/release/contender
}

# counted COUNTS PROGRAM...: the program's instructions whenever it asks for the time.
counted() {
    local counts=$1
    shift
    # Signing pointers the standard's way would take most of the time, and none of the counts.
    timeout "${LBAM_INSTRUCTIONS_LIMIT:-3600}" "$cache/qemu/usr/bin/qemu-aarch64" \
        -cpu "${processor/%max/max,pauth-impdef=on}" -plugin "$cache/count.so" "$@" 2>"$counts" || {
        grep -vE '^(CLOCK|MARK) ' "$counts" | tail -n 3 >&2
        fail "$1 failed on $processor"
    }
}

# peer NAME RUNTIME FILE
peer() {
    echo "counting $1" >&2
    # A run to get ready, then the one that counts.
    echo once | counted "$work/$1.counts" "$contender" "$2" "$prepared/$3" 1 "$prepared" \
        >"$work/$1.json"
}

program=${LBAM_DEVICE_EDGE:-$(cross/build.sh --bin lbam-edge | tail -n 1)}
setup_qemu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "$peers" ]; then
    options=(--prepare)
    if [ "$network" = paper ]; then options+=(--paper); fi
    mapfile -t made < <(benches/peers/run.sh "${options[@]}")
    [ "${#made[@]}" = 2 ] || fail "benches/peers/run.sh --prepare failed"
    prepared=${made[0]}
    model=${made[1]}
    build_contender
fi

# All of the picture a hole: all that there is to compute.
counted "$work/counts" "$program" bench --model "$model" --hole 1 --threads 1 --frames 1 \
    --profile --json >"$work/bench.json"
# Detail has known patches to take: a hole of 20 %. What is counted is a frame with matches of frames
# before.
counted "$work/detail.counts" "$program" bench --model "$model" --hole 0.2 --threads 1 --frames 3 \
    >/dev/null
if [ -n "$peers" ]; then
    peer "tract f32" tract smooth-whole.onnx
    peer "tract int8" tract integer-whole.onnx
    # Where the processor has 16-bit arithmetic. tract asks /proc/cpuinfo for it, which shows the
    # host here.
    if [ "$processor" != cortex-a72 ] && [ "$processor" != cortex-a53 ]; then
        TRACT_CPU_ISA=+fp16 peer "tract f16" tract-f16 smooth-whole.onnx
    fi
    peer "rten f32" rten whole.onnx
fi
python3 benches/instructions/report.py "$work" "$processor" "$network" "${LBAM_RECORD:-}"
