#!/usr/bin/env bash
# Builds lbam-edge for 64-bit Arm Linux (Raspberry Pi 4 and 5, Jetson, ...), without Docker.
#
#   cross/build.sh                          # the program; its path is the last line
#   cross/build.sh --bin lbam-edge -j 2     # options go on to cargo build
#   cross/build.sh test --no-run --lib      # so does another command of cargo
#
# Installs what is missing (Debian). Build output goes to ~/.cache/lbam/target-aarch64 unless
# LBAM_CROSS_TARGET_DIR is set. README.md beside this file has the way with Docker.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

. cross/setup.sh build

options=("$@")

command=build
case ${options[0]:-} in
    "" | -*) ;;
    *)
        command=${options[0]}
        options=("${options[@]:1}")
        ;;
esac
if [ "${#options[@]}" = 0 ]; then options=(--bin lbam-edge); fi
cross_cargo "$command" --locked --release "${options[@]}"
if [ "$command" = build ]; then echo "$CARGO_TARGET_DIR/$cross_target/release/lbam-edge"; fi
