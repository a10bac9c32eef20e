#!/usr/bin/env bash
# Builds lbam-edge for 64-bit Arm Linux (Raspberry Pi 4 and 5, Jetson, ...), without Docker.
#
#   cross/build.sh                          # the program; its path is the last line
#   cross/build.sh --bin lbam-edge -j 2     # options go on to cargo build
#   cross/build.sh test --no-run --lib      # so does another command of cargo
#
# LBAM_PROFILE=dist builds as packages carry it: smaller, and some minutes longer in the making.
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
profile=${LBAM_PROFILE:-release}
cross_cargo "$command" --locked --profile "$profile" "${options[@]}"
if [ "$command" = build ]; then echo "$CARGO_TARGET_DIR/$cross_target/$profile/lbam-edge"; fi
