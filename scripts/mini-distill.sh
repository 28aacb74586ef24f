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
mkdir -p "$out"
pictures 128 31 8000
pictures 192 32 4000

common=(--device cpu --threads "$threads" --workers "$workers" --quiet)
seconds=$SECONDS
"$tool" distill bench-configs/mini-distill.toml "${common[@]}" --out "$out/teachers" --cache-only
echo "teachers: $((SECONDS - seconds)) s" >&2

for student in ${STUDENTS:-radio eradio}; do
    config=bench-configs/mini-distill.toml
    [ "$student" = radio ] || config=bench-configs/mini-distill-$student.toml
    fitted=$out/mini-$student.toml flags=("${common[@]}" --out "$out/mini-$student")
    if [ ! -f "$fitted" ]; then # else a run that was interrupted goes on
        student_s=$("$tool" distill "$config" "${flags[@]}" --restart --dry-run |
            sed -n 's/.*student \([0-9]*\) s, in all.*/\1/p')
        awk -v factor="$(awk "BEGIN { print $minutes * 60 / $student_s }")" \
            '/^steps = /{ printf "steps = %d\n", $3 * factor; next } { print }' "$config" >"$fitted"
        flags+=(--restart) # statistics of a run of another length
    fi
    seconds=$SECONDS
    "$tool" distill "$fitted" "${flags[@]}"
    echo "mini-$student: $((SECONDS - seconds)) s" >&2
done
