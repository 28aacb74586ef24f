#!/usr/bin/env bash
# RoIAlign and NMS on the CPU: this shim's against torchvision's, on the same numbers in one run and
# in turns. Prints milliseconds (the fastest of the rounds) and ratios; outputs are compared.
#
#   benches/detection_ops.sh [THREADS]
#
# PYTHON names an interpreter with torch, torchvision 0.28 and safetensors (default: python3).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export OMP_NUM_THREADS=${1:-2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" benches/detection_ops.py make "$work"
cargo bench -q --bench detection_ops --no-run
for round in 1 2; do
  "$python" benches/detection_ops.py run "$work" > "$work/theirs.$round"
  cargo bench -q --bench detection_ops -- "$work" > "$work/ours.$round"
done
"$python" - "$work" <<'PY'
import sys
def best(who):
    times = {}
    for round in (1, 2):
        for line in open(f"{sys.argv[1]}/{who}.{round}"):
            name, value = line.split()
            times[name] = min(float(value), times.get(name, 1e9))
    return times
ours, theirs = best("ours"), best("theirs")
for name in ours:
    if name == "threads":
        print(f"threads: {ours[name]:.0f} and {theirs[name]:.0f}")
        continue
    print(f"{name:28} {ours[name]:9.2f} ms, torchvision {theirs[name]:9.2f} ms, ratio {theirs[name] / ours[name]:.2f}")
PY
