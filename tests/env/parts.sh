# shellcheck shell=bash
# The parts of a running environment: how each is started, where it listens and how it is asked for its health.
# Sourced by env.sh; everything here works on the state folder STATE.

# shellcheck disable=SC2034 # used by env.sh
readonly PARTS=(etcd kube-apiserver kube-controller-manager kube-scheduler kwok prometheus)
readonly CONTROLLERS=deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,garbage-collector-controller,namespace-controller,clusterrole-aggregation-controller
declare -A PORT=()

# --- processes -------------------------------------------------------------------------------------------------------

# Prints a process's start time; fails where it is gone or only waits to be reaped. With the start time, a pid that
# the system has given to somebody else is not mistaken for ours.
started_at() { # PID
  local stat fields
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != [ZX] ]] && printf '%s\n' "${fields[19]}"
}

is_alive() { # PID STARTED_AT
  [[ -n ${1:-} && $(started_at "$1") == "$2" ]]
}

part_pid() { # NAME; fails where the part does not run
  local pid start _address
  { read -r pid start _address <"$STATE/parts/$1"; } 2>/dev/null || return 1
  is_alive "$pid" "$start" && printf '%s\n' "$pid"
}

part_address() { # NAME
  local _pid _start address=-
  { read -r _pid _start address <"$STATE/parts/$1"; } 2>/dev/null || true
  printf '%s\n' "$address"
}

# Runs a part in the background. The death signal takes it down should this shell be killed outright.
spawn() { # NAME PORT COMMAND...
  local name=$1 port=$2 guard=()
  shift 2
  if command -v setpriv >/dev/null; then guard=(setpriv --pdeathsig KILL --); fi
  "${guard[@]}" "$@" </dev/null >"$STATE/logs/$name.log" 2>&1 &
  printf '%s %s 127.0.0.1:%s\n' $! "$(started_at $!)" "$port" >"$STATE/parts/$name"
}

# Sets PORT[name] to a port on which nobody listens. Below 32768, where the system takes ports for outgoing
# connections; whoever still snatches it first is met by the retry in `settle`.
pick_port() { # NAME
  local port
  while true; do
    port=$((20000 + (RANDOM << 2 | RANDOM & 3) % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
  done
  PORT[$1]=$port
}

# --- how each part is started ----------------------------------------------------------------------------------------

start_etcd() {
  local fsync=(--unsafe-no-fsync)
  if [[ ${HOIST_TEST_FSYNC:-} == 1 ]]; then fsync=(); fi
  pick_port etcd
  pick_port etcd-peer
  spawn etcd "${PORT[etcd]}" "${BIN[etcd]}" "${fsync[@]}" --name=test --data-dir="$STATE/etcd" --log-level=warn \
    --listen-client-urls="http://127.0.0.1:${PORT[etcd]}" --advertise-client-urls="http://127.0.0.1:${PORT[etcd]}" \
    --listen-peer-urls="http://127.0.0.1:${PORT[etcd-peer]}" \
    --initial-advertise-peer-urls="http://127.0.0.1:${PORT[etcd-peer]}" \
    --initial-cluster="test=http://127.0.0.1:${PORT[etcd-peer]}"
}

# Admission: no default service account is made for pods, and no node controller takes the not-ready taint away.
start_kube-apiserver() {
  local audit=()
  if [[ -n $AUDIT_USER ]]; then
    audit=(--audit-policy-file="$STATE/audit-policy.yaml" --audit-log-path="$STATE/audit.log")
  fi
  pick_port kube-apiserver
  # Its garbage collector takes a fifth of the time else.
  spawn kube-apiserver "${PORT[kube-apiserver]}" env GOGC=300 "${BIN[kube-apiserver]}" "${audit[@]}" \
    --etcd-servers="http://127.0.0.1:${PORT[etcd]}" --bind-address=127.0.0.1 --secure-port="${PORT[kube-apiserver]}" \
    --cert-dir="$STATE/pki" --service-account-key-file="$STATE/pki/sa.key" \
    --service-account-signing-key-file="$STATE/pki/sa.key" --service-account-issuer=https://kubernetes.default.svc \
    --token-auth-file="$STATE/pki/tokens.csv" --authorization-mode=RBAC --service-cluster-ip-range=10.0.0.0/12 \
    --endpoint-reconciler-type=none --disable-admission-plugins=ServiceAccount,TaintNodesByCondition
}

start_kube-controller-manager() {
  pick_port kube-controller-manager
  spawn kube-controller-manager "${PORT[kube-controller-manager]}" "${BIN[kube-controller-manager]}" \
    --kubeconfig="$STATE/pki/kube-controller-manager.kubeconfig" --bind-address=127.0.0.1 \
    --secure-port="${PORT[kube-controller-manager]}" --leader-elect=false \
    --controllers="$CONTROLLERS" --kube-api-qps=500 --kube-api-burst=1000
}

start_kube-scheduler() {
  pick_port kube-scheduler
  spawn kube-scheduler "${PORT[kube-scheduler]}" "${BIN[kube-scheduler]}" \
    --kubeconfig="$STATE/pki/kube-scheduler.kubeconfig" --bind-address=127.0.0.1 \
    --secure-port="${PORT[kube-scheduler]}" --leader-elect=false \
    --kube-api-qps=500 --kube-api-burst=1000
}

start_kwok() {
  pick_port kwok
  spawn kwok "${PORT[kwok]}" "${BIN[kwok]}" --kubeconfig="$STATE/pki/kwok.kubeconfig" --config="$HERE/stages.yaml" \
    --manage-all-nodes=true --node-lease-duration-seconds=0 --server-address="127.0.0.1:${PORT[kwok]}"
}

start_prometheus() {
  pick_port prometheus
  spawn prometheus "${PORT[prometheus]}" "${BIN[prometheus]}" --config.file="$STATE/prometheus/prometheus.yml" \
    --web.listen-address="127.0.0.1:${PORT[prometheus]}" --storage.tsdb.path="$STATE/prometheus/data" \
    --storage.tsdb.retention.time=6h --log.level=warn
}

# --- health ----------------------------------------------------------------------------------------------------------

# Whether a plain GET is answered with 200. Bash's own sockets, so that no HTTP client need be installed.
answers_ok() { # PORT PATH
  local code=''
  {
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3
    read -r -t 2 _ code _ <&3
    exec 3>&-
  } 2>/dev/null || true
  [[ $code == 200 ]]
}

kubectl_admin() { "${BIN[kubectl]}" --kubeconfig "$STATE/kubeconfig" --request-timeout=5s "$@"; }

# kube-controller-manager and kube-scheduler speak TLS with a certificate that nobody has signed.
healthz_tls() { # PORT
  "${BIN[kubectl]}" --kubeconfig /dev/null --server "https://127.0.0.1:$1" --insecure-skip-tls-verify --token none \
    --request-timeout=5s get --raw /healthz >/dev/null 2>&1
}

is_healthy() { # NAME
  local port
  port=$(part_address "$1")
  port=${port##*:}
  case $1 in
    etcd) answers_ok "$port" /health ;;
    kube-apiserver) api_server_answers ;;
    kube-controller-manager | kube-scheduler) healthz_tls "$port" ;;
    kwok) answers_ok "$port" /healthz ;;
    prometheus) answers_ok "$port" /-/ready ;;
    nodes) nodes_are_ready ;;
  esac
}

# The certificate that the API server made for itself decides when the kubeconfigs can be written.
api_server_answers() {
  [[ -s $STATE/pki/apiserver.crt ]] || return 1
  if [[ ! -e $STATE/kubeconfig ]]; then write_kubeconfigs; fi
  kubectl_admin get --raw /readyz >/dev/null 2>&1
}

nodes_are_ready() {
  local states
  states=$(kubectl_admin get nodes -o \
    'jsonpath={range .items[*].status.conditions[?(@.type=="Ready")]}{.status}{"\n"}{end}' 2>/dev/null) || return 1
  [[ $(grep -c True <<<"$states") -ge $NODES ]]
}

# Waits until all the named parts are healthy; one whose port was taken by somebody else gets another one.
settle() { # NAME...
  local name waiting=("$@") still tries=0
  while ((${#waiting[@]})); do
    still=()
    for name in "${waiting[@]}"; do
      if [[ $name != nodes ]] && ! part_pid "$name" >/dev/null; then
        if ((tries++ < 5)) && grep -qi 'address already in use' "$STATE/logs/$name.log"; then
          "start_$name"
        else
          fail_part "$name" "ended while starting"
        fi
      fi
      is_healthy "$name" || still+=("$name")
    done
    waiting=("${still[@]}")
    if ((${#waiting[@]} == 0)); then return 0; fi
    if ((SECONDS > DEADLINE)); then fail_part "${waiting[0]}" "not ready in time"; fi
    pause 0.05
    leave_if_abandoned
  done
}
