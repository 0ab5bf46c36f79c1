#!/usr/bin/env bash
# All checks: a virtual environment, the development installation, ruff, mypy, pytest. Arguments go
# to pytest: scripts/test.sh tests/autograd -k jvp
#
# MINIDL_DATA=DIR   the whole of MNIST, for the tests that want it (they skip without)
# WITH_TORCH=1      install PyTorch 2.13 too, for the comparison tests (they skip without)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

enter_environment dev mlflow fast ray mpi
if [ -n "${WITH_TORCH:-}" ] && ! python -c 'import torch' 2>/dev/null; then
    say "Installing PyTorch for the comparison tests"
    python -m pip install --quiet --disable-pip-version-check \
        --constraint "$root/constraints.txt" torch==2.13.0
fi
cd "$root"
say "ruff: lint"
ruff check .
say "ruff: format"
ruff format --check .
say "mypy"
mypy
say "pytest"
# A process a core, each with one BLAS thread: threads of several would wait for each other's cores.
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}
pytest -n auto --dist worksteal "$@"
