# shellcheck shell=bash disable=SC2154,SC2034 # sourced by demo.sh: what is set in one is used in the other
# The story of the quickstart: an update in place under requests.
host=hello.localhost

step "$terraform apply: namespace, config map, secret, application, route"
image 1
tf apply -auto-approve -no-color | tail -n 20
step "the gateway answers"
hello "$gateway/"
hello "$gateway/"
before=$(instances quickstart hello)
show "$before"

step "another image, while requests keep coming"
load
image 2
tf apply -auto-approve -no-color | grep -e 'last_change_class' -e '~ image ' -e 'Modifications' -e 'Apply complete' || true
unload
hello "$gateway/"
hello "$gateway/"
after=$(instances quickstart hello)
show "$after"
[ "$(field sandbox_id <<<"$before" | sort)" = "$(field sandbox_id <<<"$after" | sort)" ] ||
    wrong "the sandboxes changed: this was not in place"
[ "$(field container_id <<<"$before" | sort)" != "$(field container_id <<<"$after" | sort)" ] ||
    wrong "the containers are the old ones: nothing was updated"
echo "same sandboxes and addresses, new containers; requests during the update: $answered answered, $failed failed"
