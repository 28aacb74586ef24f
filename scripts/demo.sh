#!/usr/bin/env bash
# The main job on the shipped miniature world, from the built binary.
set -euo pipefail
radio_eval=$1
"$radio_eval" models
