#!/usr/bin/env bash
# Validates on GPUS processes per node: bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
# Several nodes: set NNODES, NODE_RANK and MASTER_ADDR on each. Without a GPU the processes talk through gloo.
set -euo pipefail
CONFIG=${1:-} CHECKPOINT=${2:-} GPUS=${3:-}
if [ ! -f "$CONFIG" ] || [ ! -e "$CHECKPOINT" ] || ! [[ "$GPUS" =~ ^[1-9][0-9]*$ ]]; then
    echo "error: CONFIG and CHECKPOINT have to be there and GPUS a number of at least 1, given: '$CONFIG'" \
        "'$CHECKPOINT' '$GPUS'. Usage: bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]" >&2
    exit 2
fi
python "$(dirname "$0")/_root.py"
# More threads than cores make two processes on two cores 20 times slower.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( $(nproc) / GPUS > 0 ? $(nproc) / GPUS : 1 ))}
exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$GPUS" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
