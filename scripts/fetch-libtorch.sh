#!/usr/bin/env bash
# Provides libtorch from PyPI wheels: fetch-libtorch.sh PYTHON FOLDER PIP-ARGS...
# Installs beside FOLDER and renames, so that an interrupted download leaves nothing half-done.
set -euo pipefail
python=$1 folder=$2
shift 2
rm -rf "$folder" "$folder.part"
echo "fetching libtorch into $folder (once)" >&2
# --target touches no system package, which is what PEP 668's guard protects.
PIP_BREAK_SYSTEM_PACKAGES=1 "$python" -m pip install --quiet --disable-pip-version-check \
    --root-user-action=ignore --target "$folder.part" "$@"
mv "$folder.part" "$folder"
