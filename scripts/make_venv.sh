#!/bin/sh
# Make a virtual environment with pip in folder $1, with the newest Python of 3.11 to 3.13 on this machine.
# Debian and Ubuntu leave ensurepip out of python3; then pip's wheel is taken from their own package, which needs no root.
set -eu
target=$1

find_python() {
    for name in python3.13 python3.12 python3.11 python3; do
        if "$name" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "make_venv: no Python 3.11, 3.12 or 3.13 found; install one (Debian, Ubuntu: apt-get install python3; macOS: brew install python@3.12)" >&2
    exit 2
}

add_pip_from_debian() {
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    (
        cd "$scratch"
        apt-get -q download python3-pip-whl >/dev/null 2>&1 || {
            mkdir -p lists/partial archives/partial
            own="-oDir::State::Lists=$scratch/lists -oDir::Cache=$scratch -oAPT::Sandbox::User="
            # shellcheck disable=SC2086
            apt-get -q $own update >/dev/null && apt-get -q $own download python3-pip-whl >/dev/null
        }
        dpkg -x python3-pip-whl*.deb unpacked
    )
    wheel=$(find "$scratch/unpacked" -name 'pip-*.whl')
    "$target/bin/python" "$wheel/pip" install --quiet --no-index "$wheel"
}

python=$(find_python)
rm -rf "$target"
if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv "$target"
elif command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
    echo "make_venv: this Python has no ensurepip; taking pip from the package python3-pip-whl" >&2
    "$python" -m venv --without-pip "$target"
    add_pip_from_debian
else
    echo "make_venv: $python has no ensurepip; install it (Debian, Ubuntu: apt-get install python3-venv)" >&2
    exit 2
fi
"$target/bin/python" --version
