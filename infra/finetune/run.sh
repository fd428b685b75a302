#!/usr/bin/env bash
# Run `ragkeep finetune` on a folder with a finetune.yaml: here, in the container, or on a rented GPU.
#
#   infra/finetune/run.sh all                          every step, on $JOB (default /job)
#   infra/finetune/run.sh train --method dpo           one step
#   REMOTE=root@host PORT=22 JOB=job infra/finetune/run.sh all
#                                                      the same on another machine: code and job are copied there over
#                                                      ssh, and what was made is copied back, also after a failure
#
# A run that was stopped goes on from its last checkpoint when it is started again, here or there: the work folder
# travels with the job. On a machine that may be taken away, start it again until it ends with 0.
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
job=${JOB:-/job}
steps=(validate prepare-data generate-qa augment train evaluate merge-adapter export)

ragkeep() {
    if [[ -x "$here/.venv/bin/ragkeep" ]]; then "$here/.venv/bin/ragkeep" "$@"; else uv run --project "$here" ragkeep "$@"; fi
}

remote() {
    local ssh="ssh -p ${PORT:-22} -o StrictHostKeyChecking=accept-new" code=0
    # only what git tracks travels: no .venv, no state, no keys
    git -C "$here" ls-files -z | rsync -az --from0 --files-from=- -e "$ssh" "$here/" "$REMOTE:ragkeep/"
    rsync -az -e "$ssh" "$job/" "$REMOTE:job/"
    # the arguments are quoted once more for the shell on the other side
    $ssh "$REMOTE" "cd ragkeep && (command -v uv >/dev/null || pip install -q uv) &&
        uv sync -q --frozen --no-default-groups --extra train --extra aws && uv pip install -q 'bitsandbytes>=0.50' &&
        RAGKEEP_HOME=\$PWD RAGKEEP_STATE=\$HOME/job/.ragkeep JOB=\$HOME/job infra/finetune/run.sh $(printf '%q ' "$@")" || code=$?
    rsync -az -e "$ssh" "$REMOTE:job/" "$job/"
    return "$code"
}

if [[ -n "${REMOTE:-}" ]]; then
    remote "${@:-all}"
    exit
fi
export RAGKEEP_HOME=${RAGKEEP_HOME:-$here}
if [[ "${1:-all}" != all ]]; then
    ragkeep finetune "$1" --config "$job/finetune.yaml" "${@:2}"
    exit
fi
for step in "${steps[@]}"; do
    echo "== $step" >&2
    case $step in
        train) ragkeep finetune train --config "$job/finetune.yaml" --no-track ;;
        *) ragkeep finetune "$step" --config "$job/finetune.yaml" ;;
    esac
done
