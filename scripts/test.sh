#!/usr/bin/env bash
# Checks the code: lint, format, tests.
#
#   scripts/test.sh [--all] [OPTION...]    --all: slow tests too; options of pytest
#
# Two files of tests run at once; `-n 0` runs one after the other, as a debugger needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

selection=(-m "not slow")
if [ "${1:-}" = --all ]; then
    selection=()
    shift
fi

scripts/setup.sh
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/python -m pytest -n 2 --no-loadscope-reorder --durations 25 \
    "${selection[@]}" "$@"
