# shellcheck shell=bash disable=SC2154,SC2034 # sourced by demo.sh: what is set in one is used in the other
# The story of scaling: out under load, explained, nothing to change for Terraform, in afterwards, and from none to one.

# size NAME NUMBER SECONDS: waits until an application has so many instances, all of them ready.
size() {
    local tries=$(($3 * 5)) found ready
    while :; do
        found=$(instances scaling "$1") ready=$(grep -c '"ready": *true' <<<"$found" || true)
        [ "$ready" != "$2" ] || [ "$(grep -c sandbox_id <<<"$found" || true)" != "$2" ] || return 0
        [ "$tries" -gt 0 ] || wrong "$1 has $ready ready instances, not $2: $(sampan describe scaling "scaling/$1")"
        tries=$((tries - 1))
        sleep 0.2
    done
}
# unchanged: the plan has nothing to do.
unchanged() {
    tf plan -detailed-exitcode -no-color >"$demo/plan" || { cat "$demo/plan"; wrong "the plan is not empty"; }
    grep 'No changes' "$demo/plan"
}

step "$terraform apply: five applications, each with another kind of rule"
image 1
tf apply -auto-approve -no-color | tail -n 2
sampan get scaling-rules -n scaling
size metric 1 60

step "80 requests a second for metric.$host, of which an instance shall have 20"
stdbuf -oL curl -sS -o /dev/null -w '%{http_code}\n' --rate 80/s -H "Host: metric.$host" "$gateway/?[1-1000000]" >"$demo/requests" 2>&1 &
load_pid=$!
began=$SECONDS
size metric 4 60
echo "1 -> 4 ready instances in $((SECONDS - began)) s"
sampan describe scaling scaling/metric
unchanged

step "the load ends: one instance is enough, once that has been so for a while"
kill "$load_pid"
wait "$load_pid" 2>/dev/null || true
load_pid=''
if grep -qvx 200 "$demo/requests"; then wrong "a request failed: $(grep -vx 200 "$demo/requests" | head -n 3)"; fi
echo "$(wc -l <"$demo/requests") requests, all answered"
size metric 1 150
sampan describe scaling scaling/metric | grep -e ' → 1' | tail -n 1

step "to-zero.$host has not been asked for a minute: no instance, until the first request"
size to-zero 0 150
curl -sS --fail --max-time 60 -H "Host: to-zero.$host" -o /dev/null -w 'answered %{http_code} after %{time_total} s\n' "$gateway/"
size to-zero 1 60
unchanged
host=metric.$host
hints=("sampan describe scaling scaling/metric    # what the autoscaler decided, and why")
