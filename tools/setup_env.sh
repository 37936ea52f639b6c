#!/usr/bin/env bash
# Makes (or reuses) .venv with everything the project needs.
# Usage: bash tools/setup_env.sh          runtime
#        bash tools/setup_env.sh dev      runtime and test tools
# PYTHON chooses the interpreter (3.11 or newer), VENV the folder, TORCH the version of torch (else the newest
# that requirements.txt allows, or the one that is there), TRANSFORMERS that of transformers.
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=${VENV:-.venv}
PYTHON=${PYTHON:-python3}
# XTuner imports under no later version. The project itself also runs with those of requirements.txt.
TRANSFORMERS=${TRANSFORMERS:-4.57.6}
torch=$(grep -oE '^torch[^ ]*' requirements.txt)${TORCH:+,==$TORCH}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "$PYTHON is older than 3.11. Set PYTHON to a Python 3.11 or newer." >&2
    exit 1
}
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"

files=(requirements.txt requirements-xtuner.txt)
[ "${1:-}" = dev ] && files+=(requirements-{dev,search,demo,vocabulary}.txt)
# One stamp for the versions and files that were installed: a second call with the same is instant.
versions="torch${TORCH:-}-transformers$TRANSFORMERS"
stamp="$VENV/.installed-$versions-$(cat "${files[@]}" | sha256sum | cut -c1-16)"
if [ ! -e "$stamp" ]; then
    echo "Installing into $VENV (two to five minutes the first time) ..."
    find "$VENV" -maxdepth 1 -name '.installed-*' ! -name ".installed-$versions-*" -delete
    # torch first, so that a CPU build offered beside the index is taken before others ask for torch.
    "$VENV/bin/pip" install --quiet "$torch"
    "$VENV/bin/pip" install --quiet "$torch" "transformers==$TRANSFORMERS" -r requirements.txt
    "$VENV/bin/pip" install --quiet --no-deps -r requirements-xtuner.txt
    if [ "${1:-}" = dev ]; then
        # transformers again, so that nothing of these moves what it needs.
        "$VENV/bin/pip" install --quiet "transformers==$TRANSFORMERS" -r requirements-dev.txt
        "$VENV/bin/pip" install --quiet --no-deps -r requirements-vocabulary.txt
    fi
    # mmengine asks for opencv-python, which needs libGL; a server without it takes the headless build.
    "$VENV/bin/python" -c 'import cv2' 2>/dev/null || {
        "$VENV/bin/pip" uninstall --quiet --yes opencv-python
        "$VENV/bin/pip" install --quiet --force-reinstall --no-deps opencv-python-headless
    }
    touch "$stamp"
fi
