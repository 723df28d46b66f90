#!/usr/bin/env bash
# One short round of the loop for every config, with the time each took.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
total=$SECONDS
for config in {square8,hex8,square19,hexagonal}_{2,3,4}p; do
    start=$SECONDS
    .venv/bin/ringrift loop --smoke --config "$config" --run "$runs/$config" >"$runs/$config.log" 2>&1 || {
        cat "$runs/$config.log"
        exit 1
    }
    echo "$config $((SECONDS - start)) s"
done
echo "all $((SECONDS - total)) s"
