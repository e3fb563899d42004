#!/bin/sh
# Installs an OCI runtime and a static busybox for `make quickstart`, if they are missing.
set -eu
. "$(dirname "$0")/common.sh"

if ! have cargo; then
    echo "Rust is not installed: install it with rustup, or from your distribution (1.95 or newer), and try again." >&2
    exit 1
fi

packages=""
have crun || have runc || have youki || packages="$packages crun"
have busybox || packages="$packages busybox-static"
have cc || packages="$packages gcc libc6-dev"
[ -z "$packages" ] && exit 0

if ! have apt-get; then
    echo "Not a Debian or Ubuntu system: please install these yourself:$packages. The Wasm workload runs without them." >&2
    exit 0
fi
# Without root and without sudo the Wasm workload still runs; the container says why it waits.
if [ "$(id -u)" -ne 0 ] && ! have sudo; then
    echo "Neither root nor sudo: going on without$packages. The container will say why it waits." >&2
    exit 0
fi
# shellcheck disable=SC2086  # a list of words
install_packages "the container of the quickstart needs them" $packages
