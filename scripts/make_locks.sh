#!/usr/bin/env bash
# Resolves setup.py's ranges (base and `dev`) into the two lock files, at the newest
# releases that fit; also pins uv itself. Run by hand when the ranges change or newer
# releases are wanted; scripts/setup.sh installs what this wrote.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv_version=0.13.9

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet "uv==$uv_version"

# resolve OUTPUT SOURCE [OPTION...]
resolve() {
    "$tools/bin/uv" pip compile --quiet --generate-hashes --no-header \
        --output-file "$1" --upgrade "${@:2}"
    echo "$1: $(grep -c '^[a-z].*==' "$1") pinned"
}

# TFDV's newest wheels for glibc < 2.39 are for Python 3.11 at most.
resolve requirements-glibc2.28.lock setup.py --extra dev \
    --python-version 3.11 --python-platform x86_64-manylinux_2_28
# One file for Python 3.11 to 3.13; pyproject.toml limits it to Linux on x86-64.
resolve requirements-glibc2.39.lock setup.py --extra dev \
    --python-version 3.11 --universal
echo "uv==$uv_version" >"$tools/uv.in"
resolve scripts/requirements-uv.lock "$tools/uv.in" --no-annotate
