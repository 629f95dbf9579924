# shellcheck shell=bash disable=SC2154,SC2034 # sourced by demo.sh: what is set in one is used in the other
# The story of a full link: front asks middle, middle asks back; testers get the gray ones of both ends.
tester=(-H 'x-user: tester')

# chain [CURL OPTION...]: the applications that one request visits, each with its version and the lane it saw.
chain() {
    local hop names=(front middle back) at=0
    hello "$@" "$gateway/chain" | tr '{' '\n' | sed -n '/"version"/p' | while read -r hop; do
        printf '  %-7s version %s  lane %s\n' "${names[$at]}" "$(field version <<<"$hop")" \
            "$(sed -n 's/.*"lane":"\{0,1\}\([^",]*\).*/\1/p' <<<"$hop")"
        at=$((at + 1))
    done
}
# visits FOUND VERSION VERSION VERSION: whether a request went this way.
visits() {
    local found
    found=$(awk '{ printf "%s ", $3 }' <<<"$1")
    [ "$found" = "$2 $3 $4 " ] || wrong "it visited the versions $found, and not $2 $3 $4"
}
# both VERSION: the image of front and back; middle keeps its own.
both() {
    local of="$registry/demo/hello"
    echo "images = { front = \"$of:$1\", middle = \"$of:1\", back = \"$of:$1\" }" >"$demo/terraform/terraform.tfvars"
}

step "$terraform apply: front asks middle, middle asks back"
both 1
tf apply -auto-approve -no-color | tail -n 5
found=$(chain)
echo "$found"
visits "$found" 1 1 1

step "version 2 of front and back: for testers only, and then it waits"
both 2
tf apply -auto-approve -no-color | grep -e 'It goes on with' -e 'Apply complete' || true
echo "everybody:"
found=$(chain)
echo "$found"
visits "$found" 1 1 1
echo "with the header x-user: tester:"
found=$(chain "${tester[@]}")
echo "$found"
visits "$found" 2 1 2
echo "with a lane from outside, which nobody believes:"
found=$(chain -H 'x-sampan-lane: testers')
echo "$found"
visits "$found" 1 1 1

step "sampan rollout promote, both"
for application in front back; do
    sampan rollout promote "gray-lane/$application"
    followed "gray-lane/$application"
done
echo "everybody:"
found=$(chain)
echo "$found"
visits "$found" 2 1 2
hints=("curl -H 'Host: $host' -H 'x-user: tester' $gateway/chain    # while a release waits")
