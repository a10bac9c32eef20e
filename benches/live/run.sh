#!/usr/bin/env bash
# How live fills look and hold still: photographs as scenes of 640x480, of which the program knows
# nothing but what is around a hole, scored at several frames.
#
#   benches/live/run.sh                        # models/small-int8.lbam, 32 scenes
#   benches/live/run.sh nano-int8.lbam 8       # another of models/, and fewer
#
# LBAM_OPTIONS goes to lbam-edge (--no-detail). LBAM_EDGE names another program than that in
# CARGO_TARGET_DIR (release), LBAM_IMAGES another folder of pictures, LBAM_PYTHON a Python that has
# PyTorch, NumPy and Pillow; without one they are installed into a private environment (some gigabytes).
# LPIPS takes models/features/fetch.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam
edge=${LBAM_EDGE:-${CARGO_TARGET_DIR:-$cache/target}/release/lbam-edge}
python=${LBAM_PYTHON:-$cache/pytorch/bin/python}
images=${LBAM_IMAGES:-$cache/photographs}
[ -x "$edge" ] || { echo "run.sh: no $edge; cargo build --locked --release --features desk --target-dir ${edge%/release/*}" >&2; exit 1; }
[ -d "$images" ] || { echo "run.sh: no photographs; run models/photographs/fetch.sh" >&2; exit 1; }
[ -f "$cache/features/vgg16.safetensors" ] || models/features/fetch.sh >&2
if ! "$python" -c 'import torch, numpy, PIL' 2>/dev/null; then
    echo "installing PyTorch into $cache/pytorch" >&2
    python3 -m venv "$cache/pytorch"
    "$cache/pytorch/bin/pip" install -q torch numpy pillow
    python=$cache/pytorch/bin/python
fi
read -ra options <<<"${LBAM_OPTIONS:-}"
"$python" benches/live/live.py --edge "$edge" --model "models/${1:-small-int8.lbam}" \
    --images "$images" --scenes "${2:-32}" --lpips "$cache/features/vgg16.safetensors" -- "${options[@]}"
