#!/bin/sh
# On a machine with a GPU, in at most ten minutes: training and scoring equal the processor's within tolerance, and what both cost.
# Prints a table and writes it to benchmarks/results/gpu.{md,json}. Needs an installed compressvqa and no network.
#
#     sh benchmarks/gpu.sh [cuda|cpu]        cpu: compares the processor with itself, to try the script
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python}
DEVICE=${1:-cuda}
$PYTHON -m compressvqa doctor
timeout 480 $PYTHON benchmarks/gpu/compare.py --device "$DEVICE"
GPUS=$($PYTHON -c 'import torch; print(torch.cuda.device_count())')
if [ "$GPUS" -gt 1 ]; then
    timeout 120 torchrun --standalone --nproc-per-node 2 benchmarks/gpu/compare.py --device "$DEVICE" --only training
fi
