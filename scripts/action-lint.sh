#!/usr/bin/env bash
# Runs sampan lint for action.yml: marks on the lines of the change, and a file for the upload, from one analysis.
# From the environment: PATHS, ARGUMENTS, SARIF; GITHUB_OUTPUT is the runner's.
set -euo pipefail

# Without patterns of the shell: a * in a path stays what it is.
set -f
# shellcheck disable=SC2206
paths=(${PATHS:-.})
# shellcheck disable=SC2206
arguments=(${ARGUMENTS:-})
code=0
sampan lint --format github --format "sarif=${SARIF:?}" "${arguments[@]}" -- "${paths[@]}" || code=$?
echo "exit-code=$code" >> "${GITHUB_OUTPUT:?}"
exit "$code"
