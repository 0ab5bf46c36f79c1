#!/usr/bin/env bash
# Builds the wheel and tries it as its users have it: in a fresh virtual environment, outside the
# checkout, with what it depends on and nothing else. Needs Python 3.11 to 3.13 and a package index.
#
#   scripts/wheel.sh [DIRECTORY]   where the wheel is left (default: dist)
#   PYTHON=python3.12 …            the Python to try it with
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

mkdir -p "${1:-dist}"
directory=$(cd "${1:-dist}" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python=$(find_python)

say "Building the wheel with $("$python" --version)"
"$python" -m venv "$scratch/environment"
pip() { "$scratch/environment/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
pip wheel --no-deps --wheel-dir "$scratch/wheel" "$root"
wheel=$(echo "$scratch"/wheel/minidl-*-py3-none-any.whl)

say "Installing ${wheel##*/}"
pip install --constraint "$root/constraints.txt" "$wheel"
export PATH=$scratch/environment/bin:$PATH VIRTUAL_ENV=$scratch/environment
unset PYTHONPATH
cd "$scratch"
pip check

say "What is in it"
python - "$wheel" <<'END'
import importlib.metadata, pathlib, sys, zipfile
import minidl
names = zipfile.ZipFile(sys.argv[1]).namelist()
rooms = {name.partition("/")[0] for name in names}
version = importlib.metadata.version("minidl")
assert rooms == {"minidl", f"minidl-{version}.dist-info"}, rooms
assert minidl.__version__ == version and f"minidl-{version}-" in sys.argv[1], version
assert not pathlib.Path(minidl.__file__).is_relative_to(pathlib.Path.cwd() / "wheel")
for wanted in ("minidl/py.typed", "minidl/configs/quickstart.yaml", "minidl/service/page/static/index.html"):
    assert wanted in names, wanted
print(f"{len(names)} files of minidl {version}")
END

say "A derivative, a training, its evaluation"
python -c 'import minidl; assert minidl.derivative(lambda x: x**3 + 2 * x, 3.0) == 29.0'
minidl --version
minidl config init --like quickstart
minidl train config.yaml trainer.epochs=null trainer.max_steps=30 trainer.name=tried tracking=null
minidl eval runs/tried

mv "$wheel" "$directory"
say "$directory/${wheel##*/} works"
