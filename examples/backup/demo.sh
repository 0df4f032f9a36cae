#!/usr/bin/env bash
# The main job from end to end: make a shop, back it up, put it back, compare.
# `make demo` builds what it needs first. It can be run again and again.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

example=examples/backup
socket=$PWD/data/stepd.sock
[ ${#socket} -le 107 ] || socket=$(mktemp -d)/stepd.sock # a socket's address is short
export STEPD_SOCKET=$socket
stepd() { bin/stepd "$@"; }

say "A shop to back up"
go run ./$example/mkshop -dir $example/shop

say "The daemon starts on ./data"
mkdir -p data
bin/stepd serve --data data --plugin-dir bin/plugins 2>>data/stepd.log &
daemon=$!
stop() {
  kill "$daemon" 2>/dev/null && wait "$daemon" || true
}
trap stop EXIT
for _ in $(seq 100); do
  stepd status --quiet >/dev/null 2>&1 && break
  kill -0 "$daemon" 2>/dev/null || { echo "the daemon did not start:"; tail -n 5 data/stepd.log; exit 1; }
  sleep 0.1
done
stepd status

say "The task is saved and run"
stepd apply $example/backup.yaml $example/restore.yaml
stepd run backup --follow

say "The archive is put back beside the shop"
rm -rf $example/restored # of the last demo
stepd run restore --follow

say "Both are compared, table by table and file by file"
go run ./$example/compare \
  -db $example/shop/shop.db $example/restored/shop.db \
  -files $example/shop/files $example/restored/files

say "The archive"
find "$PWD/$example/backups" -name '*.tar.zst' -printf '%T@ %p (%s bytes)\n' | sort -n | tail -n 1 | cut -d' ' -f2-

stop
trap - EXIT
say "The daemon has stopped. Its state is in ./data, its log in data/stepd.log."
