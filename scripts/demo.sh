#!/usr/bin/env bash
# demo.sh [EXAMPLE]: an example from nothing: registry, server, and the story of scripts/demo/EXAMPLE.sh, which applies
# examples/EXAMPLE and looks at it. With ONCE=1 everything is removed at the end; without it runs until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin"
root=$PWD
example=${1:-quickstart}
story=$root/scripts/demo/$example.sh
# Short: the path of containerd's socket below it has at most 107 bytes.
demo=${DEMO_DIR:-$root/.demo}
terraform=${TF_CLI_PATH:-terraform}
bin=${SAMPAN_BIN_DIR:-$(realpath -m "${CARGO_TARGET_DIR:-target}")/debug}
registry_pid='' dev_pid='' load_pid=''

if [ ! -f "$story" ]; then
    echo "there is no demo of $example: there are $(cd scripts/demo && echo *.sh | sed 's/\.sh//g')" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "make demo needs root: it starts containers. Try: sudo -E env \"PATH=\$PATH\" make demo" >&2
    exit 1
fi

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# end PID SECONDS: SIGTERM, and success when the process ends in time.
end() {
    [ -n "$1" ] || return 0
    kill "$1" 2>/dev/null || true
    local tries=$(($2 * 10))
    while kill -0 "$1" 2>/dev/null; do
        [ "$tries" -gt 0 ] || return 1
        tries=$((tries - 1))
        sleep 0.1
    done
}

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    if [ -n "$load_pid" ]; then kill "$load_pid" 2>/dev/null || true; fi
    if [ -n "$dev_pid" ]; then
        step "stopping sampan dev"
        end "$dev_pid" 60 || kill -9 "$dev_pid" 2>/dev/null || true
        "$bin/sampan" dev --data-dir "$demo/data" --teardown || status=1
    fi
    if [ -n "$registry_pid" ]; then
        end "$registry_pid" 10 || kill -9 "$registry_pid" 2>/dev/null || true
    fi
    # After a failure the logs stay.
    if [ "$status" = 0 ] || [ "$status" = 130 ]; then rm -rf "$demo"; status=0; else echo "logs are in $demo" >&2; fi
    exit "$status"
}

# wait_line FILE PID PATTERN: prints what the sed pattern finds first in the file; fails when the process ends.
wait_line() {
    local found tries=1200
    while :; do
        found=$(sed -n "$3" "$1" | head -n 1)
        if [ -n "$found" ]; then echo "$found"; return; fi
        if ! kill -0 "$2" 2>/dev/null || [ "$tries" -le 0 ]; then
            echo "it did not start:" >&2
            tail -n 20 "$1" >&2
            return 1
        fi
        tries=$((tries - 1))
        sleep 0.1
    done
}

if [ -d "$demo/data" ]; then "$bin/sampan" dev --data-dir "$demo/data" --teardown; fi
rm -rf "$demo"
mkdir -p "$demo/terraform"
touch "$demo/registry.log" "$demo/sampan.log"
trap cleanup EXIT
trap 'exit 130' INT TERM

step "a registry on loopback, with two versions of a demo program"
cat >"$demo/registry.yml" <<YAML
version: 0.1
storage:
  filesystem: { rootdirectory: "$demo/registry" }
http: { addr: "127.0.0.1:0" }
YAML
docker-registry serve "$demo/registry.yml" >"$demo/registry.log" 2>&1 &
registry_pid=$!
registry=$(wait_line "$demo/registry.log" "$registry_pid" 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p')
# push TAG [KEY=VALUE]: the demo program as an image that knows its version.
push() {
    "$bin/xtask" hello-image --registry "$registry" --repository demo/hello --tag "$1" --env "VERSION=$1" ${2:+--env "$2"}
}
push 1
push 2

step "sampan dev"
"$bin/sampan" dev --data-dir "$demo/data" --api 127.0.0.1:0 --gateway 127.0.0.1:0 >"$demo/sampan.log" 2>&1 &
dev_pid=$!
ready=$(wait_line "$demo/sampan.log" "$dev_pid" '/"event":"ready"/p')
echo "$ready"
word() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" <<<"$ready"; }
SAMPAN_ENDPOINT=$(word api) SAMPAN_TOKEN_FILE=$(word token_file)
gateway=$(word gateway)
export SAMPAN_ENDPOINT SAMPAN_TOKEN_FILE

cat >"$demo/terraform.rc" <<HCL
provider_installation {
  dev_overrides {
    "sampan/sampan" = "$bin"
  }
  direct {}
}
disable_checkpoint = true
HCL
export TF_CLI_CONFIG_FILE=$demo/terraform.rc TF_IN_AUTOMATION=1 TF_INPUT=0
cp "examples/$example/"*.tf "$demo/terraform/"
tf() { "$terraform" -chdir="$demo/terraform" "$@" | grep -v -e 'dev_overrides' || return "${PIPESTATUS[0]}"; }
image() { echo "image = \"$registry/demo/hello:$1\"" >"$demo/terraform/terraform.tfvars"; }
sampan() { "$bin/sampan" "$@"; }
host=$example.localhost
hello() { curl -sS --fail --max-time 10 -H "Host: $host" "$@"; }
# instances NAMESPACE APPLICATION: one JSON object a line.
instances() {
    curl -sS --fail -H "Authorization: Bearer $(cat "$SAMPAN_TOKEN_FILE")" \
        "$SAMPAN_ENDPOINT/v1/namespaces/$1/applications/$2/instances" | tr '{' '\n' | sed -n '/"sandbox_id"/p'
}
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p"; }
show() {
    printf '%-20s %-14s %-14s %s\n' INSTANCE SANDBOX CONTAINER ADDRESS
    while read -r line; do
        printf '%-20s %-14.12s %-14.12s %s\n' "$(field name <<<"$line")" "$(field sandbox_id <<<"$line")" \
            "$(field container_id <<<"$line")" "$(field ip <<<"$line")"
    done <<<"$1"
}
# versions NUMBER [CURL OPTION...]: how many of so many requests each version answers.
versions() {
    local number=$1
    shift
    for _ in $(seq "$number"); do hello "$@" "$gateway/"; done | field version | sort | uniq -c |
        sed 's/^ *\([0-9]*\) \(.*\)/  version \2 answered \1/'
}
# wrong TEXT: the demo does not show what it promises.
wrong() { echo "$*" >&2; exit 1; }
# followed NS/APP: waits for the end of its release, and prints it.
followed() {
    local tries=600 status
    while :; do
        status=$(sampan rollout status "$1" -o json)
        case $(field phase <<<"$status") in
        Succeeded) sampan rollout status "$1"; return ;;
        Failed | RolledBack | Aborted | Paused) wrong "the release of $1 did not go to its end: $status" ;;
        esac
        [ "$tries" -gt 0 ] || wrong "the release of $1 does not end: $status"
        tries=$((tries - 1))
        sleep 0.1
    done
}
# load: requests in the background until `unload`, each noted in $demo/requests.
load() {
    (
        trap 'exit 0' TERM
        while :; do
            if hello "$gateway/" >/dev/null 2>&1; then echo ok; else echo failed; fi
            sleep 0.02
        done
    ) >"$demo/requests" &
    load_pid=$!
}
unload() {
    kill "$load_pid"
    wait "$load_pid" 2>/dev/null || true
    load_pid=''
    answered=$(grep -c ok "$demo/requests" || true) failed=$(grep -c failed "$demo/requests" || true)
}
# More lines for the end, by the story.
hints=()

# shellcheck source=scripts/demo/quickstart.sh
. "$story"

if [ "${ONCE:-}" = 1 ]; then
    step "$terraform destroy"
    tf destroy -auto-approve -no-color | tail -n 1
    exit 0
fi

step "it runs until Ctrl-C; in another terminal:"
cat <<TEXT
  curl -H 'Host: $host' $gateway/
  export SAMPAN_ENDPOINT=$SAMPAN_ENDPOINT SAMPAN_TOKEN_FILE=$SAMPAN_TOKEN_FILE
  export TF_CLI_CONFIG_FILE=$TF_CLI_CONFIG_FILE
  cd $demo/terraform    # change main.tf, then: $terraform apply
TEXT
[ "${#hints[@]}" = 0 ] || printf '  %s\n' "${hints[@]}"
wait "$dev_pid"
