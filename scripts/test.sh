#!/usr/bin/env bash
# All checks: format, lints, tests, documentation, scripts, models, and the programs from end to
# end. Continuous integration runs this and nothing else.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SECONDS=0
name=setup
trap 'echo "FAILED after $SECONDS s, in: $name" >&2' ERR

# step NAME COMMAND...
step() {
    name=$1
    shift
    echo "== $SECONDS s: $name"
    "$@"
}

check_models() {
    local model count=0
    for model in models/*.lbam models/*/*.lbam; do
        [ -e "$model" ] || continue
        "$CARGO_TARGET_DIR/release/lbam-edge" info "$model"
        count=$((count + 1))
    done
    echo "$count model files checked"
}

check_scripts() {
    local scripts=()
    mapfile -t scripts < <(find .ci benches calibration scripts tests models cross -type f \
        \( -name '*.sh' -o -path '.ci/*' -o -path 'cross/debian/p*' \))
    shellcheck -x "${scripts[@]}"
}

# The hardening of the units, and that the instance form differs only where it must.
check_units() {
    local unit own='^(#|Description=|ExecStart=|EnvironmentFile=|StateDirectory=|WorkingDirectory=)'
    diff <(grep -Ev "$own" cross/systemd/lbam-edge.service) \
        <(grep -Ev "$own" cross/systemd/lbam-edge@.service)
    # systemd has known this since 250; Ubuntu 22.04 has an older one.
    if [[ $(systemd-analyze --help 2>/dev/null) != *--offline* ]]; then
        echo "no systemd-analyze here checks units offline; their exposure is not checked"
        return
    fi
    for unit in cross/systemd/*.service; do
        systemd-analyze security --offline=true --threshold=20 --no-pager "$unit" | tail -n 1
    done
}

# Programs and tests in one build: the tests' dependencies bring features of the others with them,
# so that building each alone would compile tract twice.
cross_build() { device_edge=$(cross/build.sh --bin lbam-edge --tests | tail -n 1); }

echo "== 0 s: setup"
. scripts/setup.sh tests

step "format" cargo fmt --all --check
step "format, fuzz targets" cargo fmt --manifest-path fuzz/Cargo.toml --check
if command -v shellcheck >/dev/null; then step "scripts" check_scripts; fi
step "units" check_units
step "lints, edge and desk" \
    cargo clippy --locked --release --all-targets --features desk -- -D warnings
step "lints, edge alone" cargo clippy --locked --release --all-targets -- -D warnings
step "lints, fuzz targets" \
    cargo clippy --locked --release --manifest-path fuzz/Cargo.toml -- -D warnings
step "tests, edge alone" cargo test --locked --release
step "tests, edge and desk" cargo test --locked --release --features desk
step "documentation" \
    env RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --release --features desk
step "programs" cargo build --locked --release --bins --features desk
step "models" check_models
step "end to end" tests/end_to_end.sh
step "training on a GPU backend" tests/gpu.sh
if setup_is_debian_12; then
    step "cross-building" cross_build
    step "tests as Arm programs" cross/test.sh
    step "emulated device" env LBAM_DEVICE_EDGE="$device_edge" cross/device/run.sh
else
    echo "== left out: cross-building, tests as Arm programs, emulated device (they need Debian 12)"
fi
echo "all steps passed in $SECONDS s"
