# shellcheck shell=bash disable=SC2154,SC2034 # sourced by demo.sh: what is set in one is used in the other
# The story of a canary: some first, then all; and one that fails its callers comes back by itself.
push 3 FAIL_PERCENT=100

step "$terraform apply: four instances of version 1, and a gray policy"
image 1
tf apply -auto-approve -no-color | tail -n 5
versions 20

step "version 2, while requests keep coming: one instance first, then two, then it waits"
load
image 2
tf apply -auto-approve -no-color | grep -e 'It goes on with' -e 'Apply complete' || true
sampan rollout status gray/hello
found=$(versions 40)
echo "$found"
[ "$(grep -c . <<<"$found")" = 2 ] || wrong "these are not two versions at once"

step "sampan rollout promote gray/hello"
sampan rollout promote gray/hello
followed gray/hello
found=$(versions 40)
echo "$found"
grep -q 'version 1' <<<"$found" && wrong "version 1 still answers"
unload
echo "requests during the release: $answered answered, $failed failed"
[ "$failed" = 0 ] || wrong "a request failed"

step "version 3 answers every request with 500: its first step is its last"
load
image 3
if said=$(tf apply -auto-approve -no-color 2>&1); then wrong "the apply of a broken version has to fail"; fi
sed -n '/AnalysisFailed/,/rolled back/p' <<<"$said"
grep -q 'AnalysisFailed' <<<"$said" || wrong "the apply does not say why it failed: $said"
unload
found=$(versions 40)
echo "$found"
echo "requests meanwhile: $answered answered, $failed failed"
grep -q 'version 3' <<<"$found" && wrong "version 3 still answers"
image 2
tf apply -auto-approve -no-color | grep -e 'Apply complete'
hints=("$bin/sampan rollout status gray/hello" "$bin/sampan rollout undo gray/hello")
