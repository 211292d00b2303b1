#!/bin/sh
# Bootstrap .venv with luna and everything its checks need. Safe to repeat: it does nothing
# while pyproject.toml, constraints.txt and this file are what it last set up.
#
#   PYTHON=python3.12 scripts/setup.sh     choose the interpreter (3.11 or newer)
#   LUNA_TORCH=cpu|cuda scripts/setup.sh   choose the build of torch, instead of looking for a GPU
set -eu
cd "$(dirname "$0")/.."

TORCH=$(sed -n 's/^torch==//p' constraints.txt)
CPU_INDEX=https://download.pytorch.org/whl/cpu

say() { printf 'setup: %s\n' "$*" >&2; }

find_python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    say "error: no Python 3.11 or newer found; name one with PYTHON=…"
    exit 4
}

wanted_torch() {
    if [ -n "${LUNA_TORCH:-}" ]; then
        echo "$LUNA_TORCH"
    elif [ "$(uname -s)" = Linux ] && nvidia-smi -L 2>/dev/null | grep -q GPU; then
        echo cuda
    elif [ "$(uname -s)" = Linux ]; then
        echo cpu
    else
        echo default # elsewhere the build on PyPI is the CPU's
    fi
}

# Keeps a .venv that works; one that was cut short or moved is made anew.
make_venv() {
    if .venv/bin/python -c 'import pip' 2>/dev/null; then
        return
    fi
    rm -rf .venv
    if ! "$1" -m venv .venv; then
        rm -rf .venv
        say "error: $1 cannot make a virtual environment (on Debian: apt install python3-venv)"
        exit 4
    fi
}

pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"; }

# A mirror or a folder that pip is configured with may hold the CPU build; PyPI does not.
# Without --no-deps the CPU index would also serve torch's requirements, some of them old.
install_cpu_torch() {
    if pip install -qq --no-deps "torch==$TORCH+cpu" 2>/dev/null; then
        return
    fi
    say "torch $TORCH for CPU from $CPU_INDEX"
    if ! pip install -qq --no-deps --index-url "$CPU_INDEX" "torch==$TORCH"; then
        say "error: no CPU build of torch $TORCH; LUNA_TORCH=cuda takes the large one from PyPI"
        exit 4
    fi
}

kind=$(wanted_torch)
stamp="$kind $(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)"
if [ -x .venv/bin/luna ] && [ "$(cat .venv/.luna-setup 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi

python=$(find_python)
say "$("$python" --version) in .venv, torch $TORCH ($kind)"
make_venv "$python"
if [ "$kind" = cpu ]; then
    install_cpu_torch
fi
say "luna and its requirements, as pinned in constraints.txt"
pip install -qq -c constraints.txt -e '.[dev,docs,export,cluster]'
.venv/bin/luna --version >&2
printf '%s' "$stamp" > .venv/.luna-setup
