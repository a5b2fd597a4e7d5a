#!/bin/bash
# Train on two nodes with four GPUs each: sbatch train.sh
# SLURM starts torchrun once per node; torchrun starts one process per GPU. A job that is queued again resumes.
#SBATCH --job-name=tomoseg-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=tomoseg-train-%j.log
#SBATCH --open-mode=append
set -euo pipefail

preprocessed=${PREPROCESSED:-/share/preprocessed} run=${RUN:-/share/run}
processes=${PROCESSES:-${SLURM_GPUS_ON_NODE:-1}}
read -r host < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 20000)) # two jobs that share a node use different ports
export OMP_NUM_THREADS=$((${SLURM_CPUS_PER_TASK:-1} / processes > 0 ? ${SLURM_CPUS_PER_TASK:-1} / processes : 1))

srun --kill-on-bad-exit=1 torchrun \
  --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "$processes" \
  --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "${RENDEZVOUS:-$host:$port}" \
  -m tomoseg train "$preprocessed" -o "$run" ${TRAIN_FLAGS:-}
