#!/bin/bash
# The miniature students again: makes the pictures (scripts/miniworld, numpy 2 and Pillow 11.3),
# measures a step, fits the number of steps to MINUTES each, and trains both students.
#
#   scripts/mini-distill.sh [MINUTES] [OUT]        (default: 12 results/mini-distill)
#
# PYTHON (python3), RADIO_EVAL (target/release/radio-eval), THREADS (2), WORKERS (1) and
# MINI_DISTILL_DATA (OUT/pictures) may be set. STUDENTS chooses among "radio eradio".
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-12} out=${2:-results/mini-distill}
python=${PYTHON:-python3} tool=${RADIO_EVAL:-target/release/radio-eval}
threads=${THREADS:-2} workers=${WORKERS:-1}
export MINI_DISTILL_DATA=${MINI_DISTILL_DATA:-$PWD/$out/pictures}

pictures() { # SIZE SEED COUNT
    local folder=$MINI_DISTILL_DATA/p$1 last
    last=$(printf 'distill-mini-%06d.tar' $(($3 / 500 - 1)))
    [ -f "$folder/.done" ] && [ -f "$folder/$last" ] && return
    (cd scripts/miniworld && "$python" make_world.py "$folder" "$2" distill "$3" "$1")
    touch "$folder/.done"
}
pictures 128 31 12000
pictures 192 32 6000

for student in ${STUDENTS:-radio eradio}; do
    config=bench-configs/mini-distill.toml
    [ "$student" = radio ] || config=bench-configs/mini-distill-$student.toml
    flags=(--device cpu --threads "$threads" --workers "$workers" --out "$out/mini-$student")
    if [ -f "$out/mini-$student/steps" ]; then
        steps=$(cat "$out/mini-$student/steps") # of a run that was interrupted
    else
        step_s=$("$tool" distill "$config" "${flags[@]}" --restart --dry-run --quiet |
            sed -n 's/.*images; \([0-9.]*\) s a step.*/\1/p')
        steps=$(awk "BEGIN { print int($minutes * 60 / $step_s / 20) * 20 }")
        echo "$steps" >"$out/mini-$student/steps"
    fi
    echo "mini-$student: $steps steps" >&2
    # --restart: the number of steps is part of a run's identity.
    [ -d "$out/mini-$student/checkpoints" ] || flags+=(--restart)
    "$tool" distill "$config" "${flags[@]}" --steps "$steps" --quiet
done
