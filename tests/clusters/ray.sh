#!/bin/bash
# A Ray of one head and two nodes on this machine, to try `--on ray` with; all by Ray's own command line.
#
#   tests/clusters/ray.sh start FOLDER       # the numbers of its processes and its logs go into FOLDER
#   export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=FOLDER/token
#   export RAY_ADDRESS=127.0.0.1:6399        # tomoseg predict --on ray talks to it; or --on ray://127.0.0.1:20399
#   tests/clusters/ray.sh kill FOLDER node2  # as if that node lost power
#   tests/clusters/ray.sh stop FOLDER
#
# The head has no cores for workers, each node has one, and a folder of its own for what Ray keeps. PYTHONPATH, if it is
# set, is what the workers import.
set -euo pipefail
what=${1:?start, kill or stop} folder=$(mkdir -p "${2:?a folder}" && cd "$2" && pwd)
port=${RAY_PORT:-6399} client=${RAY_CLIENT_PORT:-20399}
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$folder/token

begin() { # NAME, then arguments of `ray start`; in a group of processes of its own
  local name=$1
  shift
  setsid ray start --block --num-gpus 0 --object-store-memory 100000000 "$@" >"$folder/$name.log" 2>&1 &
  echo $! >"$folder/$name.pid"
}

await() { # TEXT of `ray status`; for a minute at least
  for _ in $(seq 120); do
    ray status --address "127.0.0.1:$port" 2>/dev/null | grep -q "$1" && return
    sleep 0.5
  done
  return 1
}

end() { # NAME SIGNAL
  if [ -s "$folder/$1.pid" ]; then kill "-$2" -- "-$(cat "$folder/$1.pid")" 2>/dev/null || true; fi
}

case $what in
start)
  (umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$folder/token") # who has it may run things
  begin head --head --port "$port" --ray-client-server-port "$client" --num-cpus 0 --include-dashboard false \
    --temp-dir "$folder/r"
  await "Node status" || true
  # One after the other: of two nodes that start at once on one machine, one may never be ready.
  for number in 1 2; do
    begin "node$number" --address "127.0.0.1:$port" --num-cpus 1 --min-worker-port 0 --max-worker-port 0
    await "/$number.0 CPU" || break
    [ "$number" = 2 ] && exit 0
  done
  echo "expected two nodes, got: $(ray status --address "127.0.0.1:$port" 2>&1); look into $folder/*.log" >&2
  exit 1
  ;;
kill) end "${3:?which node}" KILL ;;
stop)
  for name in node1 node2 head; do end "$name" TERM; done
  for _ in $(seq 30); do # they drain first
    kill -0 -- "-$(cat "$folder/head.pid")" 2>/dev/null || exit 0
    sleep 1
  done
  for name in node1 node2 head; do end "$name" KILL; done
  ;;
*)
  echo "expected start, kill or stop, got $what" >&2
  exit 2
  ;;
esac
