#!/usr/bin/env bash
# A table, checked, and its page; what .github/workflows/paper-tables.yml runs.
#   scripts/paper-table.sh BINARY CONFIG [CELLS]
set -uo pipefail
radio_eval=$1
config=$2
only=${3:-}
"$radio_eval" run "$config" --check --github --out results/ci ${only:+--only "$only"}
outcome=$?
"$radio_eval" report results/ci --out results/ci.html --title "$(basename "$config" .toml)"
exit "$outcome"
