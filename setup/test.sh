#!/bin/sh
# Fetches the crates that the tests need, and installs the real counterparts that they run against, if any is missing.
set -eu
. "$(dirname "$0")/common.sh"

# The crates of every platform that Lichen is built for: the rules in tests/tests/tidy.rs look at their licences offline.
# shellcheck disable=SC2046  # a list of words
cargo fetch --quiet --locked $(sed 's/^/--target /' "$(dirname "$0")/platforms")

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
need openssl openssl
need ip iproute2
need iptables iptables
need faketime faketime
need qemu-aarch64-static qemu-user-static

/usr/bin/python3 -c 'import paho.mqtt.client' 2>/dev/null || packages="$packages python3-paho-mqtt"
[ -e /bin/busybox ] || packages="$packages busybox-static"
[ -z "$packages" ] && exit 0
# shellcheck disable=SC2086  # a list of words
install_packages "the tests run against them" $packages

# Debian starts a broker of its own with the package; the tests start theirs.
if [ -d /run/systemd/system ]; then
    as_root systemctl disable --now mosquitto >/dev/null 2>&1 || true
fi
