#!/bin/sh
# Makes .venv and installs the project in it, with the versions of constraints.txt.
#
#   requirements/install.sh          only .venv, with uv
#   requirements/install.sh GROUP    the project, with one of the dependency groups of pyproject.toml: demo, test, dev,
#                                    release
#
# PYTHON names the interpreter to use. Settings of uv are passed on. Without UV_TORCH_BACKEND, uv chooses the build of
# PyTorch for this machine: without a GPU the one without CUDA, which is gigabytes smaller. Where that build cannot be
# had, the default index has the one with CUDA, which runs everywhere.
set -eu
cd "$(dirname "$0")/.."
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV

fail() {
    echo "$1" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if is_new_enough "$python"; then
            echo "$python"
            return
        fi
    done
    fail "Python 3.11 or newer is needed (${PYTHON:-python3} is not): install one, or name it, as in \`make PYTHON=/path/to/python3.12 …\`."
}

install() {
    .venv/bin/uv pip install --python .venv/bin/python \
        --constraints requirements/constraints.txt --build-constraints requirements/constraints.txt "$@"
}

choose_torch() {
    [ -z "${UV_TORCH_BACKEND:-}" ] || return 0
    # One try with a short wait: an index that cannot be reached must not hold up those behind a firewall. A PyTorch
    # that is there already does not count: the index has to be asked, as the installation below may ask it.
    if UV_TORCH_BACKEND=auto UV_HTTP_TIMEOUT=10 UV_HTTP_RETRIES=0 \
        install --dry-run --quiet --reinstall-package torch torch 2>/dev/null; then
        export UV_TORCH_BACKEND=auto
    else
        echo "PyTorch's own index has no build for this machine, or cannot be reached: taking that of the default index."
    fi
}

if ! is_new_enough .venv/bin/python; then
    python=$(find_python)
    rm -rf .venv
    "$python" -m venv .venv ||
        fail "$python cannot make .venv: see above; on Debian and Ubuntu, install the package python3-venv."
fi
if ! .venv/bin/uv --version >/dev/null 2>&1; then
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements/uv.txt ||
        fail "uv cannot be installed: check the network and pip's settings."
fi
if [ $# -gt 0 ]; then
    echo "Installing the project and what its group \"$1\" needs …"
    choose_torch
    install --editable . --group "$1" ||
        fail "The project cannot be installed: see above; check the network and uv's settings."
    touch ".venv/.installed-$1"
fi
