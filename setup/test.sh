#!/bin/sh
# Installs the real counterparts that the tests run against, if any of them is missing.
set -eu
. "$(dirname "$0")/common.sh"

packages=""
need() { # PROGRAM PACKAGE
    have "$1" || packages="$packages $2"
}
need cc "gcc libc6-dev"
need crun crun
need runc runc
need mosquitto mosquitto
need mosquitto_pub mosquitto-clients
need skopeo skopeo
need umoci umoci
need kubectl kubernetes-client
need curl curl
need ip iproute2
need faketime faketime
need qemu-aarch64-static qemu-user-static

[ -e /bin/busybox ] || packages="$packages busybox-static"
[ -z "$packages" ] && exit 0
# shellcheck disable=SC2086  # a list of words
install_packages "the tests run against them" $packages

# Debian starts a broker of its own with the package; the tests start theirs.
if [ -d /run/systemd/system ]; then
    as_root systemctl disable --now mosquitto >/dev/null 2>&1 || true
fi
