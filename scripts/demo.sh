#!/usr/bin/env bash
# The main job on the shipped miniature world, from the built binary: three teachers compared by
# kNN and zero-shot, a linear probe, SAM's
# decoder, and speed; then the table of it, checked, and a page. All goes to results/demo.
set -euo pipefail
radio_eval=$1
run() {
    echo
    echo "\$ radio-eval $*"
    "$radio_eval" --quiet "$@"
}
run imagenet --data imagenet-mini --task all --model mini-clip,mini-dino,mini-sam \
    --templates assets/mini/templates.txt --out results/demo
run ade20k --data ade-mini --preset mini --model mini-dino --out results/demo
run coco --data coco-mini --model mini-sam --out results/demo
run latency --model eradio_xxxtiny,mini-dino --resolution 224 --window trained,optimal \
    --baseline mini-dino --seconds 2 --out results/demo
# The table of it all, checked against the values of the reference implementation, and a page.
run run bench-configs/demo.toml --check --out results/demo/table
run report results/demo --title "The miniature world" --out results/demo/report.html
