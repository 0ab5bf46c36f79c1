#!/usr/bin/env bash
# From a clone to a trained, tracked model: a virtual environment, the installation, and a small
# CNN trained on the sample of MNIST that comes with minidl. Needs Python 3.11 to 3.13 and a
# package index. Arguments are changes to the config: scripts/quickstart.sh trainer.epochs=3
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

enter_environment mlflow
cd "$root"
say "Training: minidl train configs/quickstart.yaml $*"
minidl train configs/quickstart.yaml "$@"
