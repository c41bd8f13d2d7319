# shellcheck shell=bash
# Finds the programs of the test environment, or builds them from the modules pinned beside this file.
# Sourced by env.sh. Leaves the paths in BIN[name] and where each came from in ORIGIN[name].

KUBERNETES_VERSION=1.34.4
ETCD_VERSION=3.6.5
KWOK_VERSION=0.8.0
GO_VERSION_MIN=1.24.0

# Older ones are refused: etcd before 3.5.13 has no watch progress, so the API server switches that off and clients
# that ask for streaming lists (KWOK, kube) wait for ever without an error.
declare -rA VERSION_MIN=(
  [etcd]=3.5.13 [kube-apiserver]=1.33.0 [kube-controller-manager]=1.33.0 [kube-scheduler]=1.33.0
  [kwok]=0.8.0 [kubectl]=1.28.0 [prometheus]=2.40.0 [promtool]=2.40.0
)
readonly PROGRAMS=(etcd kube-apiserver kube-controller-manager kube-scheduler kwok kubectl prometheus promtool)
declare -A BIN=() ORIGIN=()
MISSING=()

# Prints the first x.y.z of what the program says about itself.
version_of() { # NAME PATH
  local said
  case $1 in
    kubectl) said=$("$2" version --client 2>/dev/null || true) ;;
    *) said=$("$2" --version 2>&1 || true) ;;
  esac
  [[ $said =~ ([0-9]+\.[0-9]+\.[0-9]+) ]] && printf '%s\n' "${BASH_REMATCH[1]}" || printf 'unknown\n'
}

version_at_least() { # VERSION MINIMUM
  [[ $1 != unknown && $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

# Takes the program from PATH where its version fits, and says why where it does not.
take_if_fits() { # NAME PATH ORIGIN
  local version
  [[ -x $2 && ! -d $2 ]] || return 1
  version=$(version_of "$1" "$2")
  if version_at_least "$version" "${VERSION_MIN[$1]}"; then
    BIN[$1]=$2 ORIGIN[$1]="$3, $version"
    return 0
  fi
  say "$1 $version at $2 refused: ${VERSION_MIN[$1]} or newer is needed"
  return 1
}

cache_root() { printf '%s\n' "${HOIST_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hoist}"; }

# One folder for each set of pinned sources, so that a changed pin never runs an old binary.
cache_dir() {
  local key
  key=$({
    cat "$HERE"/{kubernetes,etcd,kwok}/go.sum
    printf '%s\n' "$KUBERNETES_VERSION" "$ETCD_VERSION" "$KWOK_VERSION" "$(uname -m)"
  } | sha256sum)
  printf '%s/bin-%s\n' "$(cache_root)" "${key:0:12}"
}

find_program() { # NAME
  local name=$1 found
  if [[ -n ${KUBEBUILDER_ASSETS:-} ]] && take_if_fits "$name" "$KUBEBUILDER_ASSETS/$name" KUBEBUILDER_ASSETS; then
    return 0
  fi
  found=$(command -v "$name" || true)
  if [[ -n $found ]] && take_if_fits "$name" "$found" PATH; then return 0; fi
  if [[ -x $CACHE/$name ]]; then
    BIN[$name]=$CACHE/$name ORIGIN[$name]=cache
    return 0
  fi
  return 1
}

# Compiles into a folder of its own and renames, so that an interrupted build leaves nothing that looks finished.
go_build() { # MODULE LDFLAGS WHAT NAME=PACKAGE...
  local module=$1 ldflags=$2 what=$3 pair stage
  shift 3
  stage=$(mktemp -d "$CACHE/.build.XXXXXX")
  say "building $what"
  for pair in "$@"; do
    if ! (cd "$HERE/$module" && GOWORK=off GOFLAGS='' GOTOOLCHAIN=local CGO_ENABLED=0 \
      go build -mod=readonly -trimpath -ldflags "$ldflags" -o "$stage/${pair%%=*}" "${pair#*=}") >&2; then
      rm -rf "$stage"
      MISSING+=("$what: the build in ${HERE}/$module failed, see above")
      return 0
    fi
    mv "$stage/${pair%%=*}" "$CACHE/${pair%%=*}"
  done
  rm -rf "$stage"
}

# Adds `NAME=PACKAGE` to the caller's list `wanted` for each program that is not in the cache yet.
want_unbuilt() { # PACKAGE_ROOT NAME...
  local root=$1 name
  shift
  for name in "$@"; do
    if [[ -z ${BIN[$name]:-} && ! -x $CACHE/$name ]]; then wanted+=("$name=$root/$name"); fi
  done
}

build_missing() {
  local ld="-s -w" kube="k8s.io/component-base/version" wanted=()
  want_unbuilt k8s.io/kubernetes/cmd kube-apiserver kube-controller-manager kube-scheduler kubectl
  if ((${#wanted[@]})); then
    go_build kubernetes "$ld -X $kube.gitVersion=v$KUBERNETES_VERSION -X $kube.gitMajor=1 -X $kube.gitMinor=34" \
      "$(printf '%s ' "${wanted[@]%%=*}")$KUBERNETES_VERSION (about 5 minutes, once)" "${wanted[@]}"
  fi
  if [[ -z ${BIN[etcd]:-} && ! -x $CACHE/etcd ]]; then
    go_build etcd "$ld" "etcd $ETCD_VERSION (about half a minute, once)" etcd=go.etcd.io/etcd/server/v3
  fi
  wanted=()
  want_unbuilt sigs.k8s.io/kwok/cmd kwok
  if ((${#wanted[@]})); then
    go_build kwok "$ld" "kwok $KWOK_VERSION (about a minute, once)" "${wanted[@]}"
  fi
}

go_is_usable() {
  local version
  version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null || true)
  [[ -n $version ]] && version_at_least "${version#go}" "$GO_VERSION_MIN"
}

# Unpacks Debian's package into the cache rather than installing it: that needs no root and starts no service.
fetch_prometheus() {
  local stage apt=(apt-get -qq) name
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  stage=$(mktemp -d "$CACHE/.prometheus.XXXXXX")
  say "fetching Debian's package prometheus"
  if ! (cd "$stage" && "${apt[@]}" download prometheus >/dev/null 2>&1); then
    # The machine has no package lists, or old ones: fetch some for this one download.
    mkdir -p "$stage/lists/partial" "$stage/archives/partial"
    apt+=(-o "Dir::State::Lists=$stage/lists" -o "Dir::Cache=$stage" -o "APT::Sandbox::User=")
    (cd "$stage" && "${apt[@]}" update && "${apt[@]}" download prometheus) >&2 || true
  fi
  if ! { dpkg-deb -x "$stage"/prometheus_*.deb "$stage/root" 2>/dev/null; }; then
    rm -rf "$stage"
    return 1
  fi
  for name in prometheus promtool; do
    if [[ -z ${BIN[$name]:-} ]]; then mv "$stage/root/usr/bin/$name" "$CACHE/$name"; fi
  done
  rm -rf "$stage"
}

# What no PATH and no cache holds. One run at a time does this; another waits and then finds the result.
obtain_missing() {
  local name lock unbuilt=()
  exec {lock}>"$CACHE/.lock"
  if ! flock -n "$lock"; then
    say "another run is filling $CACHE: waiting for it"
    flock "$lock"
  fi
  for name in "${PROGRAMS[@]}"; do find_program "$name" 2>/dev/null || unbuilt+=("$name"); done
  case " ${unbuilt[*]} " in
    *" etcd "* | *" kube"* | *" kwok "*)
      if ! go_is_usable; then
        MISSING+=("Go $GO_VERSION_MIN or newer on PATH, to build what is not there yet:$(printf ' %s' "${unbuilt[@]/prom*/}")")
      elif ((${#MISSING[@]} == 0)); then
        build_missing
      fi
      ;;
  esac
  if [[ " ${unbuilt[*]} " == *" prom"* ]] && ! fetch_prometheus; then
    MISSING+=("prometheus and promtool ${VERSION_MIN[prometheus]} or newer: put both on PATH, for example with \`apt-get install prometheus\`")
  fi
  exec {lock}>&-
}

# Fills BIN, or ends with everything that is missing in one message.
resolve_programs() {
  local name complete=1
  CACHE=$(cache_dir)
  mkdir -p "$CACHE"
  for name in openssl setsid base64; do
    command -v "$name" >/dev/null || MISSING+=("$name on PATH")
  done
  for name in "${PROGRAMS[@]}"; do find_program "$name" || complete=0; done
  if ((!complete)); then obtain_missing; fi
  if ((${#MISSING[@]})); then die_missing; fi
  for name in "${PROGRAMS[@]}"; do
    find_program "$name" 2>/dev/null || MISSING+=("$name (looked in KUBEBUILDER_ASSETS, PATH and $CACHE)")
  done
  if ((${#MISSING[@]})); then die_missing; fi
}

die_missing() {
  say "the test environment cannot start; missing:"
  printf '  - %s\n' "${MISSING[@]}" >&2
  exit 69 # EX_UNAVAILABLE
}

print_programs() {
  local name
  for name in "${PROGRAMS[@]}"; do printf '%-24s %-28s %s\n' "$name" "(${ORIGIN[$name]})" "${BIN[$name]}"; done
}
