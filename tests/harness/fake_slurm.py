"""Slurm as far as submitit needs it: sbatch, srun and sacct as scripts that run an array's tasks as
processes on this machine."""

from __future__ import annotations

import os
from pathlib import Path

SBATCH = r"""#!/bin/bash
# Runs the tasks of an array side by side and returns at once, as sbatch does.
script="${@: -1}"
cp "$script" "$FAKE_SLURM/submitted.sh"
last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\)%.*/\1/p' "$script")
for task in $(seq 0 "$last"); do
  SLURM_JOB_ID=$((100 + task)) SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=$task SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 \
    SLURM_NTASKS=1 SLURM_NNODES=1 SLURM_JOB_NODELIST=localhost \
    bash -c 'bash "$0"; touch "$FAKE_SLURM/done-$SLURM_ARRAY_TASK_ID"' "$script" > "$FAKE_SLURM/task-$task.log" 2>&1 &
done
echo "Submitted batch job 77"
"""  # noqa: E501
SRUN = r"""#!/bin/bash
while [ "${1#--}" != "$1" ]; do
  case "$1" in --output|--error) shift 2 ;; *) shift ;; esac
done
exec "$@"
"""
SACCT = r"""#!/bin/bash
echo "JobID|State|NodeList"
for done in "$FAKE_SLURM"/task-*.log; do
  task=${done##*-}; task=${task%.log}
  if [ -e "$FAKE_SLURM/done-$task" ]; then state=COMPLETED; else state=RUNNING; fi
  echo "77_$task|$state|localhost"
done
"""


def install(folder: Path) -> dict[str, str]:
    """Put the commands into `folder` and return the environment that finds them."""
    folder.mkdir()
    for name, text in {
        "sbatch": SBATCH,
        "srun": SRUN,
        "sacct": SACCT,
        "scancel": "#!/bin/bash\n",
        "squeue": "#!/bin/bash\n",
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(folder)}
