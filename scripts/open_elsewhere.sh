#!/usr/bin/env bash
# Opens a model where reviewbeam is not: in fresh environments of keras, keras-hub and
# TensorFlow, of TensorFlow alone, and of PyTorch and transformers alone.
#
#   scripts/open_elsewhere.sh MODEL [keras|tensorflow|transformers ...]
#
# Each must give the probabilities that reviewbeam gives, before calibration, within
# 1e-5. Downloads several gigabytes; the environments are removed at the end.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ $# -ge 1 ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
model=$(cd "$1" && pwd)
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python=$root/.venv/bin/python
"$python" "$root/scripts/open_elsewhere.py" reference "$model" "$work/reference.json"
# Nothing of ours may be found by the others.
cp "$root/scripts/open_elsewhere.py" "$work/"
unset PYTHONPATH
cd "$work"

open_with() { # NAME PACKAGE...
    local name=$1
    shift
    "$python" -m venv "$work/$name"
    "$work/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    "$work/$name/bin/python" open_elsewhere.py "$name" "$model" reference.json
    rm -rf "${work:?}/$name"
}

[ $# -gt 0 ] || set -- keras tensorflow transformers
for name; do
    case $name in
    keras) open_with keras keras keras-hub tensorflow ;;
    tensorflow) open_with tensorflow tensorflow ;;
    transformers) open_with transformers torch transformers ;;
    *)
        echo "open_elsewhere: no $name among keras, tensorflow, transformers" >&2
        exit 2
        ;;
    esac
done
