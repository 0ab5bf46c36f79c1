# Sourced by the scripts beside it: an environment with minidl and the extras asked for.
#
#   enter_environment EXTRAS...   e.g. enter_environment mlflow dev
#
# Uses the virtual environment that is active, or else .venv in the checkout, made on first use.
# Nothing is installed again while pyproject.toml, constraints.txt and the extras stay the same.

say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$candidate"
            return 0
        fi
    done
    echo "minidl wants Python 3.11, 3.12 or 3.13; none was found (set PYTHON to one)" >&2
    return 1
}

enter_environment() {
    local python environment wanted stamp extras
    if [ -n "${VIRTUAL_ENV:-}" ] && [ -x "$VIRTUAL_ENV/bin/python" ]; then
        environment=$VIRTUAL_ENV
        say "Using the active virtual environment, $environment"
    else
        environment=$root/.venv
        if [ ! -x "$environment/bin/python" ]; then
            python=$(find_python) || return 1
            say "Making a virtual environment in $environment ($("$python" --version))"
            "$python" -m venv "$environment"
        else
            say "Using the virtual environment in $environment"
        fi
    fi
    export PATH=$environment/bin:$PATH VIRTUAL_ENV=$environment
    python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
        echo "minidl wants Python 3.11, 3.12 or 3.13; $environment has $(python --version)" >&2
        return 1
    }

    extras=$(IFS=,; echo "$*")
    wanted="$root $extras $(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum)"
    stamp=$environment/.minidl-$extras
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && python -c 'import minidl' 2>/dev/null; then
        say "minidl[$extras] is installed already"
        return 0
    fi
    say "Installing minidl[$extras] and what it needs (once; a few minutes at most)"
    python -m pip install --quiet --disable-pip-version-check \
        --constraint "$root/constraints.txt" --editable "$root[$extras]"
    echo "$wanted" >"$stamp"
}
