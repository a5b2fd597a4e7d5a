#!/bin/bash
# A SLURM of one controller and two nodes on this machine, to try `--on slurm` with; as root, on Debian or Ubuntu after
# apt-get install slurm-wlm munge
#
#   tests/clusters/slurm.sh start FOLDER      # its configuration, state and logs go into FOLDER
#   export SLURM_CONF=FOLDER/slurm.conf       # sbatch, squeue, scancel, scontrol of this shell then talk to it
#   tests/clusters/slurm.sh stop FOLDER
#   tests/clusters/slurm.sh kill FOLDER node2 # as if that node lost power; start-node brings it back
#   tests/clusters/slurm.sh start-node FOLDER node2
#
# Two slurmd run beside each other by names and ports of their own (-N). Nothing is limited by cgroups: processes are
# found by their parents (proctrack/linuxproc), so that it runs in a container, too.
set -euo pipefail
what=${1:?start, stop, kill or start-node} folder=$(mkdir -p "${2:?a folder}" && cd "$2" && pwd)
export SLURM_CONF=$folder/slurm.conf

configure() {
  mkdir -p "$folder"/{state,spool-node1,spool-node2,munge}
  chmod 755 "$folder"
  cores=$(nproc)
  cat >"$folder/slurm.conf" <<CONF
ClusterName=tomoseg
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=${SLURM_PORT:-16817}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
InactiveLimit=0
KillWait=5
MinJobAge=60
OverTimeLimit=0
JobRequeue=1
NodeName=node1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((${SLURM_PORT:-16817} + 1)) CPUs=$cores
NodeName=node2 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((${SLURM_PORT:-16817} + 2)) CPUs=$cores
PartitionName=all Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
CONF
  version=v1
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then version=v2; fi
  echo "CgroupPlugin=cgroup/$version" >"$folder/cgroup.conf" # slurmd 22.05 wants one, though nothing here uses it
}

start_munge() {
  head -c 1024 /dev/urandom >"$folder/munge/key"
  chmod 400 "$folder/munge/key"
  chmod 711 "$folder/munge"
  munged --socket="$folder/munge/socket" --key-file="$folder/munge/key" --pid-file="$folder/munge/pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" --force
}

start_node() {
  TOMOSEG_TEST_NODE=$folder/$1 slurmd -N "$1" -f "$SLURM_CONF"
}

below() { # all processes that a process has started
  for child in $(pgrep -P "$1" || true); do
    echo "$child"
    below "$child"
  done
}

end_by() { # a file with the number of a process
  if [ -s "$1" ]; then kill "${2:--TERM}" "$(cat "$1")" 2>/dev/null || true; fi
}

case $what in
start)
  configure
  start_munge
  slurmctld -f "$SLURM_CONF" -c
  start_node node1
  start_node node2
  for _ in $(seq 60); do
    [ "$(sinfo -h -o %T 2>/dev/null | sort -u)" = idle ] && exit 0
    sleep 0.5
  done
  echo "expected two idle nodes, got: $(sinfo -h -N -o '%N %T %E' 2>&1); look into $folder/*.log" >&2
  exit 1
  ;;
kill)
  end_by "$folder/slurmd-${3:?which node}.pid" -KILL
  for environment in /proc/[0-9]*/environ; do # its steps, then what they had started
    if tr '\0' '\n' <"$environment" 2>/dev/null | grep -qx "TOMOSEG_TEST_NODE=$folder/$3"; then
      step=$(basename "$(dirname "$environment")")
      started=$(below "$step")
      kill -KILL "$step" 2>/dev/null || true
      for one in $started; do kill -KILL "$one" 2>/dev/null || true; done
    fi
  done
  ;;
start-node) start_node "${3:?which node}" ;;
stop)
  scancel --user="$(id -un)" 2>/dev/null || true
  for pid in "$folder"/slurmd-*.pid "$folder"/slurmctld.pid "$folder"/munge/pid; do end_by "$pid"; done
  ;;
*)
  echo "expected start, stop, kill or start-node, got $what" >&2
  exit 2
  ;;
esac
