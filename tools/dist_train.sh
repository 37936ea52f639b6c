#!/usr/bin/env bash
# Trains on GPUS processes per node: bash tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# Several nodes: set NNODES, NODE_RANK and MASTER_ADDR on each. Without a GPU the processes talk through gloo.
# MAX_RESTARTS=3: after a crash all processes start again, up to three times, from the newest checkpoint; not
# a run that was refused, or that was stopped for a reason that it would meet again.
# SIGTERM, SIGUSR1 or SIGINT to this script: the run saves at its next update and the script ends with 75.
set -euo pipefail
CONFIG=${1:-} GPUS=${2:-}
if [ ! -f "$CONFIG" ] || ! [[ "$GPUS" =~ ^[1-9][0-9]*$ ]]; then
    echo "error: CONFIG has to be a file and GPUS a number of at least 1, given: '$CONFIG' '$GPUS'." \
        "Usage: bash tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]" >&2
    exit 2
fi
python "$(dirname "$0")/_root.py"
MAX_RESTARTS=${MAX_RESTARTS:-0}
# More threads than cores make two processes on two cores 20 times slower.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( $(nproc) / GPUS > 0 ? $(nproc) / GPUS : 1 ))}
MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
PORT=${PORT:-29500}
if [ "$MAX_RESTARTS" -gt 0 ]; then
    # The static rendezvous cannot be joined a second time. Processes that start again would find the
    # addresses of those that ended in a store that outlives them (pytorch#135712).
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    MEET=(--max_restarts="$MAX_RESTARTS" --rdzv_backend=c10d --rdzv_endpoint="$MASTER_ADDR:$PORT" --rdzv_id="$PORT")
else
    MEET=(--node_rank="${NODE_RANK:-0}" --master_addr="$MASTER_ADDR" --master_port="$PORT")
fi
# A process that stopped because it was told to, or that must not start again, says so here.
MASK_CAPTION_SFT_STOPPED=$(mktemp)
export MASK_CAPTION_SFT_STOPPED
trap 'rm -f "$MASK_CAPTION_SFT_STOPPED"' EXIT

# In a session of its own: Ctrl-C must not reach torchrun, which gives its processes 30 seconds.
setsid python -m torch.distributed.run --nnodes="${NNODES:-1}" --nproc_per_node="$GPUS" "${MEET[@]}" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "${@:3}" &
LAUNCHER=$!

pass_on() {
    local processes
    processes=$(cat /proc/"$LAUNCHER"/task/*/children 2> /dev/null || true)
    # shellcheck disable=SC2086  # a list of numbers
    kill -s "$1" ${processes:-$LAUNCHER} 2> /dev/null || true
}
# A terminal that is closed would leave torchrun, in its own session, running.
trap "pass_on TERM" HUP
for NAME in TERM USR1 INT; do
    # shellcheck disable=SC2064  # the name of now
    trap "pass_on $NAME" "$NAME"
done

STATUS=0
while true; do
    wait "$LAUNCHER" && STATUS=0 || STATUS=$?
    # A trap interrupts `wait`; the launcher is still there.
    kill -0 "$LAUNCHER" 2> /dev/null || break
done
# It said so when all had come to their end; one that crashed as it was taken down does not change that.
if [ -s "$MASK_CAPTION_SFT_STOPPED" ]; then
    # "error: ..." would come again; anything else is a run to be gone on with.
    if grep -q '^error:' "$MASK_CAPTION_SFT_STOPPED"; then STATUS=1; else STATUS=75; fi
fi
exit "$STATUS"
