#!/usr/bin/env bash
# Fetch the training photographs that photographs.csv lists from Debian packages.
# See README.md beside this script.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: fetch.sh [--check] [--heldout DIR] [OUT]

Fetches the photographs that photographs.csv lists from Debian 12's packages and
lays them as OUT/PACKAGE/NAME. Nothing is installed. What is there already is
verified and kept.

  OUT            where to lay them; ${XDG_CACHE_HOME:-$HOME/.cache}/lbam/photographs if not given
  --check        only verify what is in OUT, fetch and write nothing
  --heldout DIR  refuse every photograph that looks like a picture in DIR, whose
                 pictures are for evaluation only, and remove it where it was
                 laid before (not with --check). Needs Pillow, which is fetched
                 into a private environment in the cache where it is missing

Exit status: 0 if every photograph is there and right, 1 if not, 2 for wrong usage.
TEXT
}

fail() {
    printf 'fetch.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

check_only=
heldout=()
out=
while [ $# -gt 0 ]; do
    case $1 in
    --check) check_only=yes ;;
    --heldout)
        [ $# -ge 2 ] || fail "--heldout needs a folder" 2
        [ -d "$2" ] || fail "no folder $2" 2
        heldout=(--heldout "$2")
        shift
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    -*)
        usage >&2
        exit 2
        ;;
    *)
        [ -z "$out" ] || fail "only one OUT can be given" 2
        out=${1%/}
        ;;
    esac
    shift
done

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lbam
# Absolute: apt takes a folder that is not as one of its own.
out=$(realpath -m -- "${out:-$cache/photographs}")
export PYTHONDONTWRITEBYTECODE=1

command -v python3 >/dev/null || fail "python3 is missing (apt-get install python3)"
python=python3

# Only the comparison with held-out pictures decodes anything.
if [ ${#heldout[@]} -gt 0 ] && ! python3 -c 'import PIL' 2>/dev/null; then
    python=$cache/pillow/bin/python3
    if ! "$python" -c 'import PIL' 2>/dev/null; then
        echo "Pillow is missing: fetching it into $cache/pillow"
        mkdir -p "$cache"
        python3 -m venv --clear "$cache/pillow" ||
            fail "no virtual environment could be made (apt-get install python3-venv, or python3-pil)"
        "$python" -m pip install --quiet --disable-pip-version-check 'pillow>=9.4' ||
            fail "Pillow could not be fetched (apt-get install python3-pil does as well)"
    fi
fi

if [ -n "$check_only" ]; then
    exec "$python" "$here/lay.py" check "${heldout[@]}" "$out"
fi

missing=$("$python" "$here/lay.py" missing "$out")
if [ -n "$missing" ]; then
    mapfile -t packages <<<"$missing"
    for tool in apt-get dpkg; do
        command -v "$tool" >/dev/null || fail "$tool is missing: this needs a Debian system"
    done
    mkdir -p "$out"
    work=$(mktemp -d "$out.fetch.XXXXXX")
    trap 'rm -rf -- "$work"' EXIT
    mkdir "$work/lists" "$work/deb"
    # As root apt would want to write as its own user, which cannot enter here.
    apt_options=(-qq -o APT::Sandbox::User=)
    own_lists=

    # Downloads one package. Where the machine's own package lists are missing or
    # too old, fresh ones come into the work folder; the system's stay as they are.
    download() {
        (cd "$work/deb" && apt-get "${apt_options[@]}" download "$1") && return
        [ -z "$own_lists" ] || return 1
        own_lists=yes
        echo "fetching fresh package lists"
        mkdir -p "$work/lists/partial" "$work/apt/archives/partial"
        apt_options+=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/apt")
        apt-get "${apt_options[@]}" update || return 1
        (cd "$work/deb" && apt-get "${apt_options[@]}" download "$1")
    }

    number=0
    for package in "${packages[@]}"; do
        number=$((number + 1))
        printf '[%d/%d] ' "$number" "${#packages[@]}"
        if ! download "$package"; then
            echo "$package: not downloaded"
            continue
        fi
        deb=("$work/deb/$package"_*.deb)
        if ! dpkg -x "${deb[0]}" "$work/tree"; then
            echo "$package: not unpacked"
        else
            rm -f -- "${deb[@]}"
            "$python" "$here/lay.py" lay "${heldout[@]}" "$out" "$package" "$work/tree" || true
        fi
        rm -rf -- "$work/tree" "${deb[@]}"
    done
fi

"$python" "$here/lay.py" check --purge "${heldout[@]}" "$out" || {
    echo "fetch.sh: not all photographs are there and right. The list was made from the packages" >&2
    echo "of Debian 12 that README.md names; other versions may hold other pictures." >&2
    exit 1
}
