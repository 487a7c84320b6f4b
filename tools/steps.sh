# Sourced by the other scripts: runs one step with its output in a log, prints one line for it with the seconds it took.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LOGS=$ROOT/build/logs

# Package tools print the addresses of their servers, which differ from site to site: leave them out of what is shown.
without_addresses() {
  sed -E -e "/^WARNING: Location '/d" -e "s#(https?|file)://[^ '\"]*#<package index>#g" -e "s#host='[^']*'#host=<package index>#g"
}

# step <name> <what to do when it fails> <command...>
step() {
  local name=$1 remedy=$2 start=$SECONDS log status=0
  shift 2
  mkdir -p "$LOGS"
  log=$LOGS/$(tr -cs 'a-zA-Z0-9\n' '-' <<<"$name").log
  printf '%s ... ' "$name"
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if ((status == 0)); then
    printf 'done (%d s)\n' $((SECONDS - start))
    return 0
  fi
  printf 'FAILED (exit status %d, %d s)\n' "$status" $((SECONDS - start))
  {
    printf '\n--- the last lines of %s:\n' "${log#"$ROOT"/}"
    tail -n 25 "$log" | without_addresses
    printf -- '---\n%s\n' "$remedy"
  } >&2
  exit 1
}
