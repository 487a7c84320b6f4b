#!/usr/bin/env bash
# Collects what an image of scratch needs into a folder: the server, its libraries and those of the C library, the backend,
# and a model repository.
#
#   collect.sh <folder> <tritonserver> <backends> <models>
#
# The libraries are those that the dynamic linker of this machine finds, so run it where the server runs: the machine or
# the stage of the container file that has it.
set -euo pipefail

if [[ $# -ne 4 ]]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0"
  exit 2
fi
root=$1 server=$2 backends=$3 models=$4

mkdir -p "$root"/{tmp,models,backends,dev/shm,etc}
cp -r "$backends/." "$root/backends/"
cp -r "$models/." "$root/models/"
install -D "$server" "$root/tritonserver"

# Every library goes to the folder that is searched last, under the name that it is loaded by, and the linker to its own
# path, which is in the program.
mapfile -t objects < <(printf '%s\n' "$server"; find "$backends" "$models" -name '*.so*' -type f)
{
  for object in "${objects[@]}"; do
    LD_LIBRARY_PATH=$(dirname "$object") ldd "$object" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }'
  done
} | sort -u -k1,1 | while read -r name path; do
  if ! find "$root/models" "$root/backends" -name "$name" | grep -q .; then
    install -D "$path" "$root/usr/lib/$name"
  fi
done
linker=$(readelf -l "$server" | sed -n 's/.*interpreter: \(.*\)\]/\1/p')
install -D "$linker" "$root$linker"
# Signal-safe shutdown needs nothing else; names are looked up in files alone.
printf 'hosts: files\n' >"$root/etc/nsswitch.conf"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
