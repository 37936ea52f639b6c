#!/usr/bin/env bash
# Makes (or reuses) .venv with everything the project needs.
# Usage: bash tools/setup_env.sh          runtime
#        bash tools/setup_env.sh dev      runtime and test tools
# PYTHON chooses the interpreter (3.11 or newer), VENV the folder.
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=${VENV:-.venv}
PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "$PYTHON is older than 3.11. Set PYTHON to a Python 3.11 or newer." >&2
    exit 1
}
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"

files=(requirements.txt requirements-xtuner.txt)
[ "${1:-}" = dev ] && files+=(requirements-dev.txt requirements-vocabulary.txt)
# One stamp for the files that were installed: a second call with the same files is instant.
stamp="$VENV/.installed-$(cat "${files[@]}" | sha256sum | cut -c1-16)"
if [ ! -e "$stamp" ]; then
    echo "Installing into $VENV (two to five minutes the first time) ..."
    # torch first, so that a CPU build offered beside the index is taken before others ask for torch.
    "$VENV/bin/pip" install --quiet "$(grep -oE '^torch[^ ]*' requirements.txt)"
    "$VENV/bin/pip" install --quiet -r requirements.txt
    "$VENV/bin/pip" install --quiet --no-deps -r requirements-xtuner.txt
    if [ "${1:-}" = dev ]; then
        "$VENV/bin/pip" install --quiet -r requirements-dev.txt
        "$VENV/bin/pip" install --quiet --no-deps -r requirements-vocabulary.txt
    fi
    # mmengine asks for opencv-python, which needs libGL; a server without it takes the headless build.
    "$VENV/bin/python" -c 'import cv2' 2>/dev/null || {
        "$VENV/bin/pip" uninstall --quiet --yes opencv-python
        "$VENV/bin/pip" install --quiet --force-reinstall --no-deps opencv-python-headless
    }
    touch "$stamp"
fi
