#!/bin/bash
# Training on several machines of a Slurm cluster: sbatch segtf/recipes/cluster/slurm.sh
# One task a node, one process for all of its GPUs. The working directory must be on a file system
# that all nodes share: all read the data set, the first process writes the run folder.
# The environment: pip install 'PATH/TO/checkout[jax]' 'jax[cuda13]' (the CUDA that your driver
# supports). The encoder's weights: segtf/recipes/README.md says how to make the file.
#SBATCH --job-name=chips
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120      # two minutes before the end: the current step is finished and saved
#SBATCH --requeue              # after the loss of a node the job resumes from the backup
#SBATCH --open-mode=append     # the log of the job's earlier starts stays
#SBATCH --output=%x-%j.log

set -eu
run=chips
coordinator=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):29400 # 29401 is used too

if [ -f "artifacts/runs/$run/backup/state.json" ]; then
    settings=(--resume)
else
    # --batch is that of all machines together, a multiple of their GPUs
    settings=(--data data/chips --size 512 --batch 64 --epochs 100 --backend jax --overwrite
        --encoder mobilenetv2 --encoder-weights weights/mobilenetv2.weights.h5)
fi

# srun gives each task its SLURM_PROCID, but not the job's --cpus-per-task. It kills no task: the
# tasks end each other after their cleanup, and the first one evaluates when the others have left.
code=0
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=0 --wait=0 \
    bash -c 'exec python -m segtf.train "$@" --process-id "$SLURM_PROCID"' \
    segtf --run "$run" "${settings[@]}" --processes "$SLURM_NTASKS" --coordinator "$coordinator" ||
    code=$?
if [ "$code" -eq 143 ]; then # told to end, saved: resume
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
