#!/bin/sh
# Puts tslg and all it needs into .venv, bringing the system packages that a fresh Debian lacks. Safe to repeat.
set -eu

usage() {
  cat <<'TEXT'
usage: ./install.sh [--dev]

  --dev   with the tools that test and check the code

Set PYTHON to choose an interpreter, 3.11 or later. Afterwards: .venv/bin/tslg --help
TEXT
}

say() { printf 'install: %s\n' "$*" >&2; }
die() {
  say "$@"
  exit 1
}

# A command may be on the PATH and yet not run, as pyenv's shims of versions that are not active.
is_good_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  for candidate in ${PYTHON:-python3.11 python3 python3.12 python3.13 python3.14}; do
    if is_good_python "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
}

compiles() { printf '#include <%s>\n' "$1" | "${CC:-gcc}" -x c -fsyntax-only - >/dev/null 2>&1; }

# The Debian packages that are missing. Some of libp2p's dependencies are compiled here, against Python and GMP.
missing_packages() {
  if [ -z "$python" ]; then
    echo python3 python3-venv python3-dev
  else
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || echo "python$version-venv"
    [ -f "$headers/Python.h" ] || echo "python$version-dev"
  fi
  compiles stdio.h || echo gcc libc6-dev
  compiles gmp.h || echo libgmp-dev
}

install_packages() {
  command -v apt-get >/dev/null 2>&1 || die "missing on this machine: $* (these are Debian's names; install them, then try again)"
  as_root=
  if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null 2>&1 || die "run as root: apt-get install $* (there is no sudo here)"
  fi
  say "installing system packages: $*"
  $as_root apt-get update -qq || die "apt-get update failed: is there a network?"
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null ||
    die "apt-get could not install: $*"
}

extra=
case "${1-}" in
  '') ;;
  --dev) extra='[dev]' ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 2 ;;
esac
cd "$(dirname "$0")"

# What an installation depends on; a finished one is not touched again until any of it changes.
state=$({ pwd -P && cat install.sh pyproject.toml constraints.txt; } | cksum)
if grep -qsxF "$state${extra:+ dev}" .venv/installed; then
  exit 0
fi

python=$(find_python)
packages=$(missing_packages)
# shellcheck disable=SC2086 # one word a package
if [ -n "$packages" ]; then
  install_packages $packages
  python=$(find_python)
  packages=$(missing_packages)
  [ -z "$packages" ] || die "still missing:" $packages "(Python must be 3.11 or later; PYTHON=... chooses one)"
fi

say "installing into .venv with $("$python" --version) (about a minute)"
if ! is_good_python .venv/bin/python; then
  "$python" -m venv --clear .venv
elif ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  .venv/bin/python -m ensurepip >/dev/null
fi
.venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --constraint constraints.txt \
  --editable ".$extra" || die "pip could not install the packages; its message is above"
printf '%s\n%s\n' "$state" "${extra:+$state dev}" >.venv/installed
say "done"
