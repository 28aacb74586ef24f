#!/usr/bin/env bash
# How far preset `quick` is from `repo-head` on small data: makes the records of results/quick-distance
# and, from them, assets/measured/quick-distance.json, which the tool quotes when `quick` is used.
#
#   ./scripts/quick-distance.sh [BINARY] [FOLDER]
#
# `repo-head` is scaled down to the data: as many iterations as `quick` has, warm-up in proportion, and
# crops and test images of the network's own 126 px instead of 512. It is tested by windows, as the paper
# does: whole images would be padded by up to a tenth at this size (at 512 px by a fortieth), and the
# padding stays in the result (64.3 instead of 73.8).
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:-target/release/radio-eval}
folder=${2:-results/quick-distance}
common=(ade20k --model mini-dino --data ade-mini --device cpu --restart)
"$binary" "${common[@]}" --preset quick --out "$folder/quick"
"$binary" "${common[@]}" --preset repo-head --out "$folder/repo-head" --iterations 1000 --warmup 19 \
  --resolution 126 --scale 504 126 --test-scale 504 126 --inference slide --val-every 250
if [ "$folder" = results/quick-distance ]; then
  python3 scripts/quick_distance.py "$folder"/quick/*.json "$folder"/repo-head/*.json \
    > assets/measured/quick-distance.json
fi
