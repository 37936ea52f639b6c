#!/usr/bin/env bash
# From a fresh clone to a trained tiny model: sets up .venv, writes the tiny world, trains the whole
# two-stage loop on CPU, validates before and after, prints the figures and the path of a picture.
# Arguments go to tools/train.py, e.g. --cfg-options train_cfg.max_iters=40.
set -euo pipefail
cd "$(dirname "$0")/.."
WORK_DIR=${WORK_DIR:-work_dirs/quickstart}
DATA_ROOT=data/tiny_world   # where configs/mask_caption_sft_tiny.py looks

bash tools/setup_env.sh
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} PATH="${VENV:-$PWD/.venv}/bin:$PATH"
# An older version's world, or half a one, is written anew.
python tools/make_tiny_world.py --out "$DATA_ROOT" --reuse
# A second quickstart moves the checkpoints of the first aside.
[[ " $* " == *" --resume"* ]] || set -- --start-over "$@"
python tools/train.py configs/mask_caption_sft_tiny.py --work-dir "$WORK_DIR" "$@"
python tools/quickstart_table.py "$WORK_DIR"
