#!/bin/sh
# Checks and measures everything that needs a GPU, in at most nine minutes; prints a table and writes gpu.json.
#
#   tests/gpu/run.sh prepare FOLDER    on a machine with a registry: program and wheels for a machine without one
#   tests/gpu/run.sh FOLDER            on the machine with a GPU; its Python has torch 2.11
#   tests/gpu/run.sh --dry-run [FOLDER]   the same on a CPU, with small images
#
# FOLDER holds `segbundle` and `wheels/`; results go to $OUT, or to FOLDER/results.
set -eu
here=$(dirname "$0")
if [ "${1:-}" = prepare ]; then
  mkdir -p "$2/wheels"
  strip -o "$2/segbundle" "$here/../../target/release/segbundle"
  # monai itself, and what it and the scripts import besides torch and numpy
  python3 -m pip --disable-pip-version-check download -q --no-deps -d "$2/wheels" monai==1.6.1 pytorch-ignite==0.5.5 nibabel==5.4.2 fire==0.7.1 termcolor==3.1.0
  echo "wrote $2"
  exit
fi
dry=
if [ "${1:-}" = --dry-run ]; then dry=--dry-run; shift; fi
exec "${SEGBUNDLE_MONAI_PYTHON:-python3}" "$here/gpu.py" $dry "$@"
