#!/usr/bin/env bash
# A real Kubernetes control plane from plain processes, with played nodes and a real Prometheus, all on 127.0.0.1.
set -euo pipefail

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly HERE
say() { printf 'env: %s\n' "$*" >&2; }
die() { # CODE MESSAGE
  say "$2"
  exit "$1"
}

# shellcheck source=tests/env/binaries.sh
. "$HERE/binaries.sh"
# shellcheck source=tests/env/parts.sh
. "$HERE/parts.sh"

usage() {
  cat <<'TEXT'
usage: env.sh VERB [OPTION...]

  prepare                 find the programs, or build them (once), and list them
  up                      start an environment; prints its state folder
    --state DIR             where it lives (default: a new folder under $TMPDIR)
    --owner PID             end and remove it as soon as this process is gone
    --nodes N               how many nodes (default 3)
    --audit USER            write audit.log with the requests of this user (for example hoist)
    --no-prometheus         leave Prometheus out
  down   [--state DIR]    end an environment and remove its state folder
  status [--state DIR] [-o json]
                          what runs, where, and whether it is well

`<state>/env` holds KUBECONFIG, PROMETHEUS_URL and the rest as KEY=value lines. Contexts in the kubeconfig: admin
and hoist (both allowed everything, told apart in audit and managedFields) and alice (allowed nothing yet).

  HOIST_TEST_CACHE        where built programs are kept (default ~/.cache/hoist)
  HOIST_TEST_FSYNC=1      let etcd sync to disk, for tests of faults and speed
  HOIST_TEST_TIMEOUT      seconds until a start counts as failed (default 90)
  KUBEBUILDER_ASSETS      a folder with programs to prefer
TEXT
}

# --- the state folder ------------------------------------------------------------------------------------------------

state_root() { printf '%s\n' "${TMPDIR:-/tmp}"; }

supervisor_runs() { # STATE
  local pid start
  { read -r pid start <"$1/supervisor"; } 2>/dev/null && is_alive "$pid" "$start"
}

# Only a folder that carries our mark is ever removed: --state may name any folder of the user's.
remove_state() { # STATE
  if [[ -f $1/.hoist-env ]]; then rm -rf -- "$1"; fi
}

# A supervisor that was killed outright leaves its folder; the next start takes it away.
sweep_stale_states() {
  local state
  for state in "$(state_root)"/hoist-env.*; do
    if [[ -O $state && -f $state/supervisor ]] && ! supervisor_runs "$state"; then remove_state "$state"; fi
  done
}

# The environment meant by a verb without --state: the only one there is.
only_state() {
  local state found=()
  for state in "$(state_root)"/hoist-env.*; do
    if [[ -O $state ]] && supervisor_runs "$state"; then found+=("$state"); fi
  done
  case ${#found[@]} in
    0) die 3 "no environment is up" ;;
    1) printf '%s\n' "${found[0]}" ;;
    *) die 64 "several environments are up, choose one with --state: ${found[*]}" ;;
  esac
}

new_state() { # [STATE]
  local state=${1:-}
  if [[ -z $state ]]; then
    state=$(mktemp -d "$(state_root)/hoist-env.XXXXXX")
  elif [[ -d $state && ! -f $state/.hoist-env && -n $(ls -A "$state") ]]; then
    die 73 "$state is not empty and not an environment of ours: choose another folder"
  else
    remove_state "$state"
    mkdir -p "$state"
    state=$(cd "$state" && pwd)
  fi
  chmod 700 "$state"
  touch "$state/.hoist-env"
  mkdir -p "$state"/{logs,parts,pki,prometheus/targets}
  printf '%s\n' "$state"
}

random_token() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# What the parts read: tokens, the key for service account tokens, the audit policy, Prometheus's configuration.
write_inputs() {
  local user
  openssl genrsa -out "$STATE/pki/sa.key" 2048 2>/dev/null
  for user in admin hoist kube-controller-manager kube-scheduler kwok; do
    printf '%s,%s,%s,"system:masters"\n' "$(random_token)" "$user" "$user"
  done >"$STATE/pki/tokens.csv"
  printf '%s,alice,alice\n' "$(random_token)" >>"$STATE/pki/tokens.csv"
  cat >"$STATE/audit-policy.yaml" <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - { level: Metadata, users: ["$AUDIT_USER"] }
  - { level: None }
YAML
  cat >"$STATE/prometheus/prometheus.yml" <<YAML
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
scrape_configs:
  - job_name: targets
    honor_labels: true
    file_sd_configs: [ { files: ["$STATE/prometheus/targets/*.json"], refresh_interval: 1s } ]
YAML
}

token_of() { sed -n "s/^\([^,]*\),$1,.*/\1/p" "$STATE/pki/tokens.csv"; }

# The last certificate in the API server's file is the authority that signed the first.
write_kubeconfig() { # FILE CA USER...
  local file=$1 ca=$2 user
  shift 2
  {
    printf 'apiVersion: v1\nkind: Config\ncurrent-context: %s\n' "$1"
    printf 'clusters:\n- name: test\n  cluster:\n    server: https://127.0.0.1:%s\n' "${PORT[kube-apiserver]}"
    printf '    certificate-authority-data: %s\n' "$ca"
    printf 'users:\n'
    for user in "$@"; do printf -- '- { name: %s, user: { token: %s } }\n' "$user" "$(token_of "$user")"; done
    printf 'contexts:\n'
    for user in "$@"; do printf -- '- { name: %s, context: { cluster: test, user: %s } }\n' "$user" "$user"; done
  } >"$file.new"
  chmod 600 "$file.new"
  mv "$file.new" "$file"
}

write_kubeconfigs() {
  local ca name
  ca=$(awk '/BEGIN CERT/ { pem = "" } { pem = pem $0 "\n" } END { printf "%s", pem }' "$STATE/pki/apiserver.crt" |
    base64 | tr -d '\n')
  for name in kube-controller-manager kube-scheduler kwok; do
    write_kubeconfig "$STATE/pki/$name.kubeconfig" "$ca" "$name"
  done
  write_kubeconfig "$STATE/kubeconfig" "$ca" admin hoist alice
}

write_env() {
  {
    printf 'STATE=%q\nKUBECONFIG=%q\n' "$STATE" "$STATE/kubeconfig"
    printf 'APISERVER_URL=https://127.0.0.1:%s\nETCD_URL=http://127.0.0.1:%s\n' "${PORT[kube-apiserver]}" "${PORT[etcd]}"
    printf 'ADMIN_TOKEN=%s\nHOIST_TOKEN=%s\nALICE_TOKEN=%s\n' "$(token_of admin)" "$(token_of hoist)" "$(token_of alice)"
    printf 'KUBECTL=%q\nPROMETHEUS=%q\nPROMTOOL=%q\n' "${BIN[kubectl]}" "${BIN[prometheus]}" "${BIN[promtool]}"
    if [[ -n $AUDIT_USER ]]; then printf 'AUDIT_LOG=%q\n' "$STATE/audit.log"; fi
    if ((WITH_PROMETHEUS)); then
      printf 'PROMETHEUS_URL=http://127.0.0.1:%s\n' "${PORT[prometheus]}"
      printf 'PROMETHEUS_TARGETS=%q\n' "$STATE/prometheus/targets"
    fi
  } >"$STATE/env"
  chmod 600 "$STATE/env"
}

create_nodes() {
  local i
  for ((i = 1; i <= NODES; i++)); do
    cat <<YAML
---
apiVersion: v1
kind: Node
metadata:
  name: node-$i
  labels: { kubernetes.io/hostname: node-$i, kubernetes.io/os: linux }
  annotations: { kwok.x-k8s.io/node: fake }
YAML
  done | kubectl_admin create --validate=false -f - >/dev/null
}

# --- the supervisor: parent of all parts, and what ends them -----------------------------------------------------------

# Sleeps without a process of its own. A trap that runs meanwhile must be short: when the time is over, bash leaves the
# trap's command where it stands.
pause() { read -r -t "$1" -u "$NEVER" || true; }

end_parts() {
  local name pid pids=()
  for name in "${PARTS[@]}"; do
    if pid=$(part_pid "$name"); then pids+=("$pid"); fi
  done
  if ((${#pids[@]})); then kill -KILL "${pids[@]}" 2>/dev/null || true; fi
  wait
}

# Nothing is kept, so nothing needs a gentle end.
leave() {
  end_parts
  remove_state "$STATE"
  exit 0
}

fail_part() { # NAME REASON
  {
    printf '%s: %s\n' "$1" "$2"
    tail -n 15 "$STATE/logs/$1.log" 2>/dev/null | sed 's/^/  | /'
  } >"$STATE/failed.new"
  end_parts
  mv "$STATE/failed.new" "$STATE/failed"
  exit 1
}

# Until the start is done, whoever asked for it counts as an owner too: Ctrl-C must leave nothing behind.
leave_if_abandoned() {
  if ((LEAVING)); then leave; fi
  if [[ -n $OWNER ]] && ! is_alive "$OWNER" "$OWNER_START"; then leave; fi
  if [[ ! -e $STATE/ready ]] && ! is_alive "$STARTER" "$STARTER_START"; then leave; fi
}

# A lock that the caller holds in an inherited descriptor must not be held for as long as the environment runs.
close_inherited_files() {
  local fd
  for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    if ((fd > 2 && fd != 255)); then eval "exec $fd>&-" 2>/dev/null || true; fi
  done
}

supervise() { # STATE
  STATE=$1
  close_inherited_files
  cd /
  # shellcheck source=/dev/null
  . "$STATE/options"
  exec {NEVER}<> <(:)
  LEAVING=0
  trap LEAVING=1 TERM INT HUP
  DEADLINE=$((SECONDS + ${HOIST_TEST_TIMEOUT:-90}))
  write_inputs
  start_etcd
  if ((WITH_PROMETHEUS)); then start_prometheus; fi
  settle etcd
  start_kube-apiserver
  settle kube-apiserver
  start_kube-controller-manager
  start_kube-scheduler
  start_kwok
  create_nodes
  settle kube-controller-manager kube-scheduler kwok nodes
  if ((WITH_PROMETHEUS)); then settle prometheus; fi
  write_env
  touch "$STATE/ready"
  while true; do
    pause 0.2
    leave_if_abandoned
  done
}

# --- verbs -----------------------------------------------------------------------------------------------------------

write_options() {
  local name
  {
    printf 'NODES=%q AUDIT_USER=%q WITH_PROMETHEUS=%q\n' "$NODES" "$AUDIT_USER" "$WITH_PROMETHEUS"
    printf 'OWNER=%q OWNER_START=%q\n' "$OWNER" "${OWNER:+$(started_at "$OWNER")}"
    printf 'STARTER=%q STARTER_START=%q\n' "$$" "$(started_at $$)"
    for name in "${PROGRAMS[@]}"; do printf 'BIN[%s]=%q\n' "$name" "${BIN[$name]}"; done
  } >"$STATE/options"
}

up() {
  NODES=3 AUDIT_USER='' WITH_PROMETHEUS=1 OWNER='' STATE=''
  while (($#)); do
    case $1 in
      --state) STATE=${2:?$1 needs a value} && shift 2 ;;
      --owner) OWNER=${2:?$1 needs a value} && shift 2 ;;
      --nodes) NODES=${2:?$1 needs a value} && shift 2 ;;
      --audit) AUDIT_USER=${2:?$1 needs a value} && shift 2 ;;
      --no-prometheus) WITH_PROMETHEUS=0 && shift ;;
      *) die 64 "up: unknown option $1 (see env.sh help)" ;;
    esac
  done
  if [[ -n $OWNER ]] && ! started_at "$OWNER" >/dev/null; then die 64 "up: no process has the pid $OWNER"; fi
  if [[ -n $STATE && -e $STATE/ready ]] && supervisor_runs "$STATE"; then
    say "already up"
    (cd "$STATE" && pwd)
    return 0
  fi
  resolve_programs
  sweep_stale_states
  STATE=$(new_state "$STATE")
  write_options
  setsid bash "$HERE/env.sh" supervise "$STATE" </dev/null >"$STATE/logs/supervisor.log" 2>&1 &
  printf '%s %s\n' $! "$(started_at $!)" >"$STATE/supervisor"
  say "starting in $STATE"
  await_ready
  say "ready after ${SECONDS} s"
  printf '%s\n' "$STATE"
}

await_ready() {
  while [[ ! -e $STATE/ready ]]; do
    if [[ -e $STATE/failed ]]; then
      say "the start failed: $(cat "$STATE/failed")"
      remove_state "$STATE"
      exit 1
    fi
    if ! supervisor_runs "$STATE" && [[ ! -e $STATE/failed ]]; then
      say "the start failed: $(tail -n 15 "$STATE/logs/supervisor.log" 2>/dev/null)"
      remove_state "$STATE"
      exit 1
    fi
    sleep 0.05
  done
}

# Sets STATE, and JSON for status.
parse_state_option() {
  STATE='' JSON=0
  while (($#)); do
    case $1 in
      --state) STATE=${2:?$1 needs a value} && shift 2 ;;
      -o) [[ ${2:-} == json ]] && JSON=1 && shift 2 ;;
      *) die 64 "unknown option $1 (see env.sh help)" ;;
    esac
  done
  if [[ -z $STATE ]]; then STATE=$(only_state); fi
}

down() {
  local pid start
  parse_state_option "$@"
  if supervisor_runs "$STATE"; then
    read -r pid start <"$STATE/supervisor"
    kill -TERM "$pid"
    while is_alive "$pid" "$start"; do sleep 0.05; done
  fi
  remove_state "$STATE"
}

status() {
  local name pid rss health all_well=0 rows=()
  parse_state_option "$@"
  supervisor_runs "$STATE" || die 3 "no environment is up in $STATE"
  # shellcheck source=/dev/null
  . "$STATE/options"
  ((JSON)) || printf '%-24s %8s  %-16s %9s  %s\n' PART PID ADDRESS RSS HEALTH
  for name in "${PARTS[@]}"; do
    [[ -e $STATE/parts/$name ]] || continue
    pid='' rss=0 health=down
    if pid=$(part_pid "$name"); then
      rss=$(($(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status" 2>/dev/null || echo 0) / 1024))
      is_healthy "$name" && health=ok || health=unhealthy
    fi
    if [[ $health != ok ]]; then all_well=1; fi
    if ((JSON)); then
      rows+=("$(printf '{"part":"%s","pid":%s,"address":"%s","rssMiB":%d,"health":"%s"}' \
        "$name" "${pid:-null}" "$(part_address "$name")" "$rss" "$health")")
    else
      printf '%-24s %8s  %-16s %5d MiB  %s\n' "$name" "${pid:--}" "$(part_address "$name")" "$rss" "$health"
    fi
  done
  if ((JSON)); then (IFS=, && printf '{"state":"%s","parts":[%s]}\n' "$STATE" "${rows[*]}"); fi
  return "$all_well"
}

main() {
  local verb=${1:-help}
  shift || true
  case $verb in
    prepare) resolve_programs && print_programs ;;
    up) up "$@" ;;
    down) down "$@" ;;
    status) status "$@" ;;
    supervise) supervise "$@" ;; # internal: what `up` leaves running
    help | -h | --help) usage ;;
    *) usage >&2 && exit 64 ;;
  esac
}

main "$@"; exit # in the same line, so that an edit while it runs changes nothing
