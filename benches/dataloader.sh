#!/usr/bin/env bash
# Decode + resize + normalise to 224 px with 2 workers: this loader against torchvision's
# DataLoader (PIL), on the same 500x375 JPEGs in one run. Prints both rates and their ratio.
#
#   benches/dataloader.sh [FOLDER_OF_PHOTOGRAPHS]
#
# PYTHON names an interpreter with torch, torchvision and Pillow < 13 (default: python3).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" benches/dataloader.py make "$work" ${1:+"$1"}
cargo bench -q --bench dataloader --no-run
export DATALOADER_IMAGES="$work/images/all"
theirs=$("$python" benches/dataloader.py run "$work")
ours=$(cargo bench -q --bench dataloader)
echo "torchvision DataLoader, 2 workers: $theirs images/s"
echo "radio-eval loader, 2 workers:      $ours images/s"
awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "ratio: %.2f\n", a / b }'
