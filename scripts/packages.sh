#!/usr/bin/env bash
# packages.sh demo|test|bench: finds out what the demo, the tests or the bench lack on this machine. As root on Debian or Ubuntu it
# installs that by package name; elsewhere it says exactly what is missing. What only containers need stops the demo,
# and the tests with SAMPAN_REQUIRE_CONTAINERS=1; without it the tests go on, and those that need it say so.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin"
purpose=${1:?demo, test or bench}
terraform=${TF_CLI_PATH:-terraform}

# bash also finds what cannot be executed.
has() { [ -x "$(command -v "$1" 2>/dev/null)" ]; }

# newer FOUND WANTED: whether a version is not older than another.
newer() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# look: fills `build` and `run` with the Debian packages that are missing, to build and to run containers.
look() {
    build=() run=()
    has cc || build+=(build-essential)
    local pair
    for pair in containerd:containerd containerd:ctr runc:runc iptables:iptables iproute2:ip \
        docker-registry:docker-registry curl:curl; do
        has "${pair#*:}" || run+=("${pair%:*}")
    done
    # Makes the load of the tests, signs their release, and is the editor that the language server is tested with.
    if [ "$purpose" = test ]; then
        has hey || run+=(hey)
        has gpg || run+=(gnupg)
        has nvim || run+=(neovim)
    fi
    # What the gateway is measured against, and with.
    if [ "$purpose" = bench ]; then
        for pair in nginx-light:nginx haproxy:haproxy wrk:wrk util-linux:taskset; do
            has "${pair#*:}" || run+=("${pair%:*}")
        done
    fi
    [ -x /usr/lib/cni/bridge ] || [ -x /opt/cni/bin/bridge ] || run+=(containernetworking-plugins)
    mapfile -t run < <(printf '%s\n' "${run[@]}" | sort -u | grep .)
}

look
if [ "${#build[@]}" -gt 0 ] || [ "${#run[@]}" -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && has apt-get; then
        echo "installing: ${build[*]} ${run[*]}"
        export DEBIAN_FRONTEND=noninteractive
        # What apt could not install is found missing below, with apt's own words above.
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${build[@]}" "${run[@]}" >/dev/null; } || true
        look
    fi
fi

# Without these nothing is built; without those no container runs.
stop=() skip=()
[ "${#build[@]}" = 0 ] || stop+=("Debian packages: ${build[*]}")
[ "${#run[@]}" = 0 ] || skip+=("Debian packages: ${run[*]}")

wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! has cargo || ! has rustc; then
    stop+=("cargo is not on the PATH: install Rust $wanted or newer (under sudo, keep the PATH: sudo -E env \"PATH=\$PATH\" make …)")
else
    found=$(rustc --version | sed -n 's/^rustc \([0-9.]*\).*/\1/p')
    newer "$found" "$wanted" || stop+=("Rust $wanted or newer: rustc is $found (rustup update)")
    if [ "$purpose" = test ]; then
        cargo fmt --version >/dev/null 2>&1 || stop+=("cargo fmt: rustup component add rustfmt")
        cargo clippy --version >/dev/null 2>&1 || stop+=("cargo clippy: rustup component add clippy")
    fi
fi

if ! has "$terraform"; then
    skip+=("$terraform is not on the PATH: install Terraform 1.11 or newer from its vendor (Debian has no package of it), or name another one: TF_CLI_PATH=tofu")
else
    found=$("$terraform" version 2>/dev/null | sed -n 's/^[A-Za-z]* v\([0-9.]*\).*/\1/p' | head -n 1)
    newer "${found:-0}" 1.11 || skip+=("Terraform 1.11 or newer: $terraform is ${found:-of an unknown version}")
fi
[ "$(id -u)" = 0 ] || skip+=("root: containers need it")

[ "${#stop[@]}" != 0 ] || [ "${#skip[@]}" != 0 ] || exit 0
echo "missing on this machine:" >&2
printf '  %s\n' "${stop[@]}" "${skip[@]}" >&2
if [ "${#stop[@]}" = 0 ] && [ "$purpose" = test ] && [ "${SAMPAN_REQUIRE_CONTAINERS:-}" != 1 ]; then
    echo "the tests that need it are skipped, each with the reason" >&2
    exit 0
fi
if [ "$(id -u)" != 0 ] && [ -e /etc/debian_version ]; then
    echo "run this as root, and the packages are installed" >&2
fi
exit 1
