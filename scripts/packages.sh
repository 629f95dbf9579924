#!/usr/bin/env bash
# Finds out what the demo and the tests lack on this machine. As root on Debian or Ubuntu it installs that by package
# name; elsewhere it says exactly what is missing.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

missing=()
need() { # need PACKAGE PROGRAM
    command -v "$2" >/dev/null 2>&1 || missing+=("$1")
}
need build-essential cc
need containerd containerd
need containerd ctr
need runc runc
need iptables iptables
need iproute2 ip
need docker-registry docker-registry
need curl curl
[ -x /usr/lib/cni/bridge ] || [ -x /opt/cni/bin/bridge ] || missing+=(containernetworking-plugins)

if [ "${#missing[@]}" -gt 0 ]; then
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then
        echo "installing: ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "missing on this machine (Debian's package names): ${missing[*]}" >&2
        echo "install them, or run this as root on Debian or Ubuntu" >&2
        exit 1
    fi
fi

if ! command -v terraform >/dev/null 2>&1; then
    echo "terraform is not on the PATH. Debian has no package of it: install Terraform 1.11 or newer from its vendor." >&2
    exit 1
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo is not on the PATH: install Rust 1.95 or newer with rustfmt and clippy." >&2
    exit 1
fi
