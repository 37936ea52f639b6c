#!/usr/bin/env bash
# Sets up .venv, then runs formatter, linter, type checker and tests, two files at once with one
# thread each. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tools/setup_env.sh dev
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PATH="${VENV:-$PWD/.venv}/bin:$PATH"
ruff format --check .
ruff check .
mypy
python -m pytest -n 2 --dist loadfile "$@"
