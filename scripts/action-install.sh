#!/usr/bin/env bash
# Installs a release of sampan for action.yml. Nothing is run whose checksum is another one.
# From the environment: VERSION, URL, SHA256; RUNNER_TEMP and GITHUB_PATH are the runner's.
set -euo pipefail

if [ -z "${URL:-}" ] || [ -z "${SHA256:-}" ]; then
  echo "::error::version needs the inputs url and sha256: the archive of the release and its checksum"
  exit 3
fi
folder="${RUNNER_TEMP:?}/sampan-${VERSION:?}"
mkdir -p "$folder"
curl --fail --silent --show-error --location --max-time 300 --output "$folder/archive.tar.gz" "$URL"
if ! echo "$SHA256  $folder/archive.tar.gz" | sha256sum --check --status; then
  echo "::error::the archive at $URL has another checksum than the input sha256"
  exit 3
fi
tar -xzf "$folder/archive.tar.gz" -C "$folder" sampan
echo "$folder" >> "${GITHUB_PATH:?}"
