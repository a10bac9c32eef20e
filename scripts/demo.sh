#!/usr/bin/env bash
# Builds lbam-edge and fills a moving test pattern with the model that comes with the project: ten
# pictures in lbam-demo/, then a live page until Ctrl-C. Needs no camera.
#
#   scripts/demo.sh             # pictures, then the page (when run in a terminal)
#   scripts/demo.sh --no-page   # pictures only
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

page=no
if [ -t 1 ]; then page=yes; fi
case ${1:-} in
    "") ;;
    --no-page) page=no ;;
    *)
        echo "usage: scripts/demo.sh [--no-page]" >&2
        exit 2
        ;;
esac

. scripts/setup.sh build
echo "demo: building lbam-edge (the first time takes some minutes)" >&2
cargo build --locked --release --bin lbam-edge
edge=$CARGO_TARGET_DIR/release/lbam-edge
run=("$edge" --model models/small-int8.lbam --camera test: --mask "rect:30%,30%,20%,20%")

rm -rf lbam-demo
"${run[@]}" --frames 10 --no-realtime --output lbam-demo
echo "demo: ten filled frames are in $PWD/lbam-demo"
if [ "$page" = yes ]; then
    echo "demo: live page at http://${LBAM_HTTP:-127.0.0.1:8080}/, where you can paint (Ctrl-C ends it)"
    exec env XDG_STATE_HOME="$PWD/lbam-demo" "${run[@]}" --mask http: --output http:
fi
