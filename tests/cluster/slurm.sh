#!/bin/sh
# An inference as an array job of 8 tasks in Slurm, in the folder of a bundle:
#   sbatch slurm.sh --config_file configs/inference.json
#   sbatch --array=3,7 slurm.sh --config_file configs/inference.json    # tasks that failed or were killed
#   segbundle merge-runs eval                                           # names those that are missing
#SBATCH --job-name=segbundle
#SBATCH --array=0-7
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
# SIGTERM a minute before the limit, to the shell that segbundle replaces: it ends after the current window.
#SBATCH --signal=B:TERM@60
#SBATCH --requeue
exec segbundle --threads "${SLURM_CPUS_PER_TASK:-1}" --skip-existing --part auto/8 run "$@"
