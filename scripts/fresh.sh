#!/usr/bin/env bash
# The quickstart on a new machine: makes a minimal Debian 12 in a temporary folder, gives it git, cargo and terraform,
# clones HEAD of this repository there and runs what README says. Everything is removed at the end, also after a
# failure. Exit code 75: Debian's packages could not be fetched, so nothing was learned.
#
# Own mount and process namespaces: no mount outlives this script, and no process either. The toolchain, the crates
# already downloaded and what is already built are lent to the guest; what it builds stays in its own folder.
set -euo pipefail
cd "$(dirname "$0")/.."
unreachable=75

# --- inside: the namespaces are ours -------------------------------------------------------------------------------
if [ "${1:-}" = inside ]; then
    root=$2 toolchain=$3 crates=$4 target=$5
    mount --make-rprivate /
    # runc changes its root in turn, which needs a root that is a mount: a chroot is none.
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    mount --bind "$toolchain" "$root/opt/rust"
    mount -o remount,bind,ro "$root/opt/rust"
    mount --bind "$crates" "$root/root/.cargo/registry"
    # Laid over what is built here, so that nothing is changed here. Only programs of the same Debian fit.
    if [ -n "$target" ]; then
        mount -t overlay overlay -o "lowerdir=$target,upperdir=$root/built/upper,workdir=$root/built/work" "$root/target"
    fi
    shift 5
    cd "$root"
    mkdir -p old
    pivot_root . old
    cd /
    umount -l /old
    exec /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 CARGO_TARGET_DIR=/target \
        PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        "${@:1:$#-1}" bash -euc "${*: -1}"
fi

# --- outside -------------------------------------------------------------------------------------------------------
if [ "$(id -u)" != 0 ]; then
    echo "this needs root: it makes namespaces with a root of their own" >&2
    exit 1
fi
step() { printf '\n== %s\n' "$*"; }
for program in debootstrap unshare git; do
    command -v "$program" >/dev/null 2>&1 && continue
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends debootstrap util-linux git >/dev/null; } ||
        { echo "$program is missing, and apt cannot install it now" >&2; exit "$unreachable"; }
done
terraform=$(command -v "${TF_CLI_PATH:-terraform}") || { echo "${TF_CLI_PATH:-terraform} is not on the PATH" >&2; exit 1; }
toolchain=$(rustc --print sysroot)
crates=${CARGO_HOME:-$HOME/.cargo}/registry
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
grep -q '^VERSION_CODENAME=bookworm' /etc/os-release && [ -d "$target" ] || target=''
mkdir -p "$crates"

folder=$(mktemp -d "${TMPDIR:-/tmp}/sampan-fresh.XXXXXX")
root=$folder/root
child=''

# The settings under which this machine reaches the registries of packages.
passed=()
while IFS='=' read -r name value; do
    case $name in
    http_proxy | https_proxy | no_proxy | HTTP_PROXY | HTTPS_PROXY | NO_PROXY | CARGO_HTTP_* | CARGO_REGISTRIES_* | CARGO_NET_*)
        passed+=("$name=$value") ;;
    SSL_CERT_FILE | CURL_CA_BUNDLE) passed+=("$name=/etc/host-ca.crt") ;;
    esac
done < <(env)

# guest COMMANDS: runs them in the new machine.
guest() {
    unshare --mount --pid --fork --kill-child=SIGKILL --propagation private -- \
        "$PWD/scripts/fresh.sh" inside "$root" "$toolchain" "$crates" "$target" "${passed[@]}" "$1" </dev/null &
    child=$!
    local status=0
    wait "$child" || status=$?
    child=''
    return "$status"
}

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    if [ -n "$child" ]; then kill -9 "$child" 2>/dev/null || true; wait "$child" 2>/dev/null || true; fi
    # A demo that was cut off leaves bridges and cgroups, which belong to the host's kernel.
    if [ -d "$root/root/sampan/.demo/data" ]; then
        guest '/target/debug/sampan dev --data-dir /root/sampan/.demo/data --teardown' || true
    fi
    rm -rf --one-file-system "$folder"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

step "a minimal Debian 12"
# shellcheck disable=SC2016 # apt fills these in
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sed -n 's/ bookworm$//p' | head -n 1)
proxy=$(apt-config dump --format '%v%n' Acquire::http::Proxy)
if ! ${proxy:+env "http_proxy=$proxy"} debootstrap --variant=minbase --include=ca-certificates bookworm "$root" \
    ${mirror:+"$mirror"} >"$folder/log" 2>&1; then
    tail -n 5 "$folder/log" >&2
    echo "debootstrap could not make a Debian 12: is the mirror of apt reachable?" >&2
    exit "$unreachable"
fi
# apt reaches its mirror there as it does here. Nothing starts by itself: there is no init.
rm -f "$root/etc/apt/sources.list"
for item in sources.list sources.list.d trusted.gpg.d keyrings auth.conf.d; do
    [ ! -e "/etc/apt/$item" ] || cp -a "/etc/apt/$item" "$root/etc/apt/"
done
mkdir -p "$root/usr/share/keyrings" "$root/opt/rust" "$root/root/.cargo/registry" "$root/target" "$root"/built/{upper,work}
cp -a /usr/share/keyrings/. "$root/usr/share/keyrings/"
{ apt-config dump | grep '^Acquire::[A-Za-z:-]* ' || true; echo 'Acquire::Retries "3";'; } >"$root/etc/apt/apt.conf.d/99host"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
[ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/host-ca.crt"
[ ! -e "${CARGO_HOME:-$HOME/.cargo}/config.toml" ] || cp "${CARGO_HOME:-$HOME/.cargo}/config.toml" "$root/root/.cargo/"
install -m 755 "$terraform" "$root/usr/local/bin/terraform"

step "git, and a clone of $(git rev-parse --short HEAD)"
guest 'apt-get update -qq && apt-get install -y -qq --no-install-recommends git >/dev/null' || exit "$unreachable"
git clone --quiet --no-hardlinks . "$root/root/sampan"
git -C "$root/root/sampan" checkout --quiet --detach "$(git rev-parse HEAD)"
# shellcheck disable=SC2016 # the guest's shell fills these in
guest 'for absent in make cc sudo containerd runc docker-registry curl; do
    ! command -v $absent || { echo "$absent is there: this machine is not new" >&2; exit 1; }
done
git --version; cargo --version; terraform version | head -n 1; . /etc/os-release; echo "$PRETTY_NAME, uid $(id -u)"'

step "as README says"
guest 'cd /root/sampan && apt-get install -y -qq make >/dev/null && make demo ONCE=1'

step "nothing may be left"
[ ! -e "$root/root/sampan/.demo" ] || { echo ".demo is still there" >&2; exit 1; }
if grep -F "$folder" /proc/self/mountinfo; then echo "these mounts are still there" >&2; exit 1; fi
echo "the quickstart works on a fresh Debian 12"
