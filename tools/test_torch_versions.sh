#!/usr/bin/env bash
# Runs the tests of model, loop, checkpoints and export under versions of torch across the range of
# requirements.txt, each with both ends of the range of transformers. Prints a Markdown table; exits with 1
# if anything failed. Not part of CI: an hour on two cores, and up to 7 GB per version of torch.
# Usage: bash tools/test_torch_versions.sh                 the ends of the range and two between
#        bash tools/test_torch_versions.sh 2.9.1 2.12.1
# VENVS is the folder of the environments, one per version of torch, which a second call reuses, and of the
# logs; TRANSFORMERS the versions of transformers; TESTS what pytest runs; PYTHON the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

VENVS=${VENVS:-work_dirs/versions} PYTHON=${PYTHON:-python3}
read -ra TRANSFORMERS <<<"${TRANSFORMERS:-4.57.6 5.24.0}"
read -ra TESTS <<<"${TESTS:-tests/test_ops tests/test_losses tests/test_sa2va tests/test_checkpoints \
tests/test_grounding tests/test_loop tests/test_hooks tests/test_tools/test_checkpoints.py tests/test_tools/test_resume.py}"
[ $# -gt 0 ] || set -- 2.6.0 2.8.0 2.10.0 2.13.0
export OMP_NUM_THREADS=1
mkdir -p "$VENVS"
VENVS=$(cd "$VENVS" && pwd)

# The number before a word in the last line of pytest, 0 without it.
count() { tail -n 1 "$1" | grep -oE "[0-9]+ $2" | grep -oE '[0-9]+' || echo 0; }

table='| torch | transformers | Python | passed | failed | skipped |
|---|---|---|---|---|---|'
result=0
for torch in "$@"; do
    for transformers in "${TRANSFORMERS[@]}"; do
        venv="$VENVS/torch-$torch" log="$VENVS/torch-$torch-transformers-$transformers.log"
        echo "torch $torch, transformers $transformers: $log" >&2
        if ! VENV=$venv TORCH=$torch TRANSFORMERS=$transformers bash tools/setup_env.sh dev >"$log" 2>&1; then
            table+=$'\n'"| $torch | $transformers | not installed, see $log | | | |" result=1
            continue
        fi
        PATH="$venv/bin:$PATH" python -m pytest -n 2 --dist loadfile -o addopts=-q "${TESTS[@]}" >"$log" 2>&1 ||
            result=1
        python=$("$venv/bin/python" -c 'import platform; print(platform.python_version())')
        failed=$(($(count "$log" failed) + $(count "$log" error)))
        table+=$'\n'"| $torch | $transformers | $python | $(count "$log" passed) | $failed | $(count "$log" skipped) |"
        tail -n 1 "$log" >&2
    done
done
echo "$table"
exit $result
