#!/usr/bin/env bash
# Checks the code: lint, format, tests.
#
#   scripts/test.sh [--all] [OPTION...]    --all: slow tests too; options of pytest
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
.venv/bin/python -m pytest "${selection[@]}" "$@"
