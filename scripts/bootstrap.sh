#!/bin/sh
# Makes .venv and installs ChainRig into it: bootstrap.sh REQUIREMENT ('.' or '.[dev,raytrace]').
# What the system lacks is told in one sentence, before anything is built on it.
set -eu
python="${PYTHON:-python3}"

stop() {
    echo "chainrig: $1" >&2
    exit 2
}

command -v "$python" >/dev/null 2>&1 ||
    stop "There is no $python: install Python 3.10 or later (Debian, Ubuntu: apt install python3 python3-venv)."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    stop "$python is older than Python 3.10: name a newer one with PYTHON=python3.12."
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    stop "This Python cannot make virtual environments: install the package python3-venv (Debian, Ubuntu: apt install python3-venv)."

if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    echo "Making the virtual environment .venv"
    "$python" -m venv --clear .venv
fi
echo "Installing ChainRig and what it needs into .venv (the first time takes minutes)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable "$1" ||
    stop "The installation failed: the lines above say why; run the same command again once that is settled."
.venv/bin/python -m pipeline.environment
