#!/bin/bash
# Segment a folder of scans with an array of jobs, each with a GPU: sbatch predict.sh
# Each job takes the next free scan; jobs may end, fail or be added at any time.
#SBATCH --job-name=tomoseg-predict
#SBATCH --array=1-20
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=tomoseg-%A_%a.log
#SBATCH --open-mode=append
set -euo pipefail

scans=${SCANS:-/share/scans} out=${OUT:-/share/out} model=${MODEL:-body-117}
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

exec tomoseg predict -i "$scans" -o "$out" -m "$model" --device "${DEVICE:-cuda}" --join
