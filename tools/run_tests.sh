#!/usr/bin/env bash
# Sets up .venv, then runs formatter, linter, type checker and tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tools/setup_env.sh dev
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} PATH="${VENV:-$PWD/.venv}/bin:$PATH"
ruff format --check .
ruff check .
mypy
python -m pytest "$@"
