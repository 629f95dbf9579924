# shellcheck shell=bash disable=SC2154,SC2034 # sourced by demo.sh: what is set in one is used in the other
# The story of blue and green: a full second set is looked at, then all requests go there at once.
preview=(-H 'x-preview: yes')

step "$terraform apply: two instances of version 1, and a policy with the strategy blue_green"
image 1
tf apply -auto-approve -no-color | tail -n 5
before=$(instances blue-green hello)
show "$before"

step "version 2, while requests keep coming: a second set is made, and waits"
load
image 2
tf apply -auto-approve -no-color | grep -e 'It goes on with' -e 'Apply complete' || true
show "$(instances blue-green hello)"
echo "everybody:"
found=$(versions 20)
echo "$found"
grep -q 'version 2' <<<"$found" && wrong "version 2 answers before the switch"
echo "with the header x-preview: yes:"
found=$(versions 20 "${preview[@]}")
echo "$found"
grep -q 'version 1' <<<"$found" && wrong "version 1 answers the preview"

step "sampan rollout promote blue-green/hello: the switch"
sampan rollout promote blue-green/hello
followed blue-green/hello
unload
echo "everybody:"
found=$(versions 20)
echo "$found"
grep -q 'version 1' <<<"$found" && wrong "version 1 answers after the switch"
after=$(instances blue-green hello)
show "$after"
if comm -12 <(field sandbox_id <<<"$before" | sort) <(field sandbox_id <<<"$after" | sort) | grep -q .; then
    wrong "an instance of the old set is still there"
fi
echo "another set of instances; requests during the release: $answered answered, $failed failed"
[ "$failed" = 0 ] || wrong "a request failed"
hints=("curl -H 'Host: $host' -H 'x-preview: yes' $gateway/    # while a release waits")
