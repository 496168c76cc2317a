#!/usr/bin/env bash
# Makes .venv from the lock file that fits this machine, or brings it up to date.
#
#   scripts/setup.sh [EXTRA...]    extras of setup.py to add, such as openvino or tune
#
# Safe to call again: it does nothing when nothing changed. Extras once asked for stay.
# Exits with 2 when the machine lacks something that only its owner can give.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=$PWD/.venv
stamp=$venv/.reviewbeam # Written last: what this environment was made from.

case ${1-} in
-*)
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' scripts/setup.sh
    exit 2
    ;;
esac

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 2
}

# Sets `lock`, and `versions` of Python that it has wheels for, best first.
choose_lock() {
    local glibc
    [ "$(uname -sm)" = "Linux x86_64" ] ||
        fail "this is $(uname -sm); TensorFlow Data Validation needs Linux x86_64."
    glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || glibc="no glibc"
    case $glibc in
    glibc\ 2.39* | glibc\ 2.[4-9][0-9]*)
        lock=requirements-glibc2.39.lock versions="3.13 3.12 3.11"
        ;;
    glibc\ 2.2[89]* | glibc\ 2.3[0-8]*)
        lock=requirements-glibc2.28.lock versions=3.11
        ;;
    *) fail "this system has $glibc; glibc 2.28 or newer is needed." ;;
    esac
}

# Sets `python` to the first interpreter that fits the lock, or to nothing.
find_python() {
    local name version
    for name in python3.13 python3.12 python3.11 python3 /usr/bin/python3; do
        version=$("$name" -c "import sys; print('%d.%d' % sys.version_info[:2])" \
            2>/dev/null) || continue
        case " $versions " in
        *" $version "*)
            python=$name
            return
            ;;
        esac
    done
    python=
}

# Sets `missing` to the Debian packages that would supply what isn't there.
find_missing() {
    local prefix=python3
    missing=
    find_python
    if [ -n "$python" ]; then
        prefix=python$("$python" -c "import sys; print('%d.%d' % sys.version_info[:2])")
        "$python" -c "import ensurepip, venv" 2>/dev/null || missing+=" $prefix-venv"
        "$python" -c "import os.path, sysconfig as s
assert os.path.exists(os.path.join(s.get_path('include'), 'Python.h'))" \
            2>/dev/null || missing+=" $prefix-dev"
    else
        # A python3 of another version takes one more beside it.
        ! command -v python3 >/dev/null || prefix=python${versions%% *}
        missing+=" $prefix $prefix-venv $prefix-dev"
    fi
    command -v g++ >/dev/null || missing+=" g++" # pyfarmhash comes as source only.
}

provide_python() {
    find_missing
    [ -n "$missing" ] || return 0
    if command -v apt-get >/dev/null; then
        if [ "$(id -u)" != 0 ]; then
            fail "needed first: sudo apt-get update && sudo apt-get install -y$missing"
        fi
        echo "setup: installing$missing"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        # shellcheck disable=SC2086  # Several names.
        apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
            fail "apt-get could not install$missing."
        find_missing
    fi
    [ -n "$python" ] ||
        fail "$lock is for Python ${versions// /, }, and none was found on PATH."
    [ -z "$missing" ] ||
        fail "$python lacks what Debian calls$missing; install it and try again."
}

# Prints a setting of pip, from the environment or its files, or nothing.
pip_setting() {
    "$venv/bin/pip" config list |
        sed -n "s/^\(:env:\|global\|install\)\.$1='\(.*\)'\$/\2/p" | head -n 1
}

# uv reads neither pip's settings nor the system's certificates: hands them on.
adopt_pip_settings() {
    local index cert
    index=$(pip_setting index-url)
    cert=$(pip_setting cert)
    if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        export UV_DEFAULT_INDEX=$index
    fi
    if [ -n "$cert" ] && [ -z "${SSL_CERT_FILE:-}" ]; then
        export SSL_CERT_FILE=$cert
    fi
    if [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/cert.pem ]; then
        export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-true}
    fi
}

uv() {
    "$venv/bin/uv" --no-progress "$@" --python "$venv/bin/python"
}

install() {
    # Without bytecode every start of TensorFlow and Beam takes three times as long.
    unset PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME
    # What has a stamp was whole; anything else is made anew.
    if ! { [ -f "$stamp" ] && "$venv/bin/python" -m pip --version; } &>/dev/null; then
        provide_python
        echo "setup: making .venv with $("$python" --version), $lock"
        "$python" -m venv --clear "$venv"
    fi
    rm -f "$stamp"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes -r scripts/requirements-uv.lock
    adopt_pip_settings
    echo "setup: installing $lock (3.3 GB on disk; minutes where little is cached)"
    uv pip sync --quiet --compile-bytecode --require-hashes --build-constraints "$lock" \
        "$lock"
    # setuptools is the lock's own.
    uv pip install --quiet --no-deps --no-build-isolation --editable .
    if [ -n "$extras" ]; then
        uv pip install --quiet --compile-bytecode --constraints "$lock" \
            --no-build-isolation --editable ".[$extras]"
    fi
    # A syntax error is not for the set-up to report.
    "$venv/bin/python" -m compileall -qq components pipelines || true
    printf '%s\n' "$fingerprint" "$extras" >"$stamp"
    echo "setup: .venv is ready"
}

exec 9<scripts/setup.sh
flock 9 # One at a time.
choose_lock
extras=$(
    { [ ! -f "$stamp" ] || sed -n 2p "$stamp"; printf '%s\n' "$@"; } |
        tr -s ', ' '\n' | sed '/^$/d' | sort -u | paste -sd, -
)
# The path too: an environment can't be moved.
fingerprint=$(
    { pwd; cat "$lock" setup.py scripts/requirements-uv.lock; } | sha256sum | cut -c1-64
)
if [ "$(cat "$stamp" 2>/dev/null)" != "$(printf '%s\n' "$fingerprint" "$extras")" ] ||
    ! "$venv/bin/python" -c "" 2>/dev/null; then
    install
fi
