#!/usr/bin/env bash
# AP of 200,000 detections on 5,000 images (the size of COCO val2017): radio-eval, pycocotools and
# faster-coco-eval on the same files in one run, reading included, by boxes and by masks.
#
#   benches/coco_ap.sh [bbox|segm ...]
#
# PYTHON names an interpreter with numpy, pycocotools and faster-coco-eval (default: python3);
# RADIO_EVAL a release build (default: target/release/radio-eval).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
tool=${RADIO_EVAL:-target/release/radio-eval}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export RADIO_EVAL_HOME=$work/home
"$python" benches/coco_ap.py make "$work"
for kind in "${@:-bbox}"; do
  for flags in --no-intervals ""; do
    started=$(date +%s.%N)
    "$tool" coco --task ap --ground-truth "$work/truth.json" --results "$work/$kind.json" \
      --iou-type "$kind" --out "$work/out" --json $flags -q > "$work/record.json"
    ended=$(date +%s.%N)
    "$python" - "$work/record.json" "$kind" "$started" "$ended" "${flags:-with intervals}" <<'PY'
import json, sys
record, kind, started, ended, flags = sys.argv[1:]
value = json.load(open(record))[0]["metrics"]
value = value["box_ap" if kind == "bbox" else "mask_ap"]["value"]
print(f"radio-eval {kind}: {float(ended) - float(started):.2f} s, AP {value!r} ({flags})")
PY
  done
  "$python" benches/coco_ap.py faster "$work" "$kind"
  "$python" benches/coco_ap.py pycocotools "$work" "$kind"
done
