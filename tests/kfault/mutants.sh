#!/usr/bin/env bash
# Takes one safety line after the other out of the daemon, and expects the plans that each patch names to notice.
#
#   mutants.sh [NAME...]      all patches of tests/kfault/mutants, or those named
#
# Nothing of the work tree is changed: patches are applied to a copy, and its builds are kept beside the others.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
exec </dev/null

ROOT=$PWD
CARGO=${CARGO:-cargo}
HERE=tests/kfault
# Seconds; a daemon that is fit for it is through in half of that.
PATIENCE=75
WORK=$(mktemp -d "${TMPDIR:-/tmp}/hoist-mutants.XXXXXX")
STATE=''

leave() {
  if [[ -n ${BUILDER:-} ]]; then kill -- "-$BUILDER" 2>/dev/null || true; fi
  if [[ -n $STATE ]]; then "$ROOT/tests/env/env.sh" down --state "$STATE" || true; fi
  rm -rf -- "$WORK"
}
trap leave EXIT

said() { sed -n "s/^# $1: //p" "$2"; }

target() { "$CARGO" metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'; }

suite() {
  "$CARGO" test --locked --test kfault --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"kfault".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}

# A copy of what the daemon is built from, with one patch.
build() { # PATCH NAME
  local tree=$WORK/tree
  mkdir -p "$tree"
  rm -rf -- "$tree/src"
  tar --exclude=./target --exclude=./.git -cf - . | tar -xf - -C "$tree"
  # Files keep their times, by which cargo would take the last mutant's build for this one's.
  touch "$tree/src/lib.rs" "$tree/src/main.rs"
  (cd "$tree" && git apply --unsafe-paths --directory="$tree" -p1 "$ROOT/$1" 2>"$WORK/apply.log") || {
    cat "$WORK/apply.log" >&2
    return 1
  }
  (cd "$tree" && "$CARGO" build --locked --quiet --bin hoist --target-dir "$TARGET/mutants" 2>"$WORK/build.log") || {
    tail -n 30 "$WORK/build.log" >&2
    return 1
  }
  cp "$TARGET/mutants/debug/hoist" "$WORK/hoist-$2"
}

play() { # PLAN...; the log on standard output, the suite's exit code
  local plan args=()
  for plan in "$@"; do args+=(--plan "$HERE/plans/$plan.yaml"); done
  "$SUITE" --reference "$WORK/reference.json" --patience "$PATIENCE" "${args[@]}" 2>&1
}

patches=()
if (($#)); then
  for name in "$@"; do patches+=("$HERE/mutants/$name.patch"); done
else
  patches=("$HERE"/mutants/*.patch)
fi

TARGET=$(target)
"$CARGO" build --locked --quiet --example conduit
SUITE=$(suite)
STATE=$(tests/env/env.sh up --audit hoist --owner $$)
export HOIST_TEST_STATE=$STATE
mapfile -t all < <(for patch in "${patches[@]}"; do said plans "$patch" | tr ' ' '\n'; done | sort -u)
printf 'the daemon as it is must pass %d plans\n' "${#all[@]}"
if ! play "${all[@]}" >"$WORK/sound.log"; then
  cat "$WORK/sound.log"
  exit 1
fi
tail -n 1 "$WORK/sound.log"

# Builds ahead of the plays, which mostly wait; in a process group of its own, so that what it has begun ends with it.
set -m
for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  if build "$patch" "$name"; then touch "$WORK/$name.built"; else touch "$WORK/$name.failed"; fi
done &
BUILDER=$!
set +m

survived=0
printf '\n%-28s %-13s %8s  %s\n' mutant class seconds 'caught by'
for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  until [[ -e $WORK/$name.built || -e $WORK/$name.failed ]]; do sleep 0.5; done
  if [[ -e $WORK/$name.failed ]]; then
    printf '%-28s does not apply or build any more\n' "$name"
    survived=1
    continue
  fi
  read -ra plans < <(said plans "$patch")
  begun=$SECONDS
  HOIST_BINARY=$WORK/hoist-$name play "${plans[@]}" >"$WORK/$name.log" || true
  if grep -q 'the suite panicked' "$WORK/$name.log"; then
    # A machine that is too busy to build a stage has noticed nothing.
    HOIST_BINARY=$WORK/hoist-$name play "${plans[@]}" >"$WORK/$name.log" || true
  fi
  caught=$(sed -n 's|^violated: ||p' "$WORK/$name.log" | paste -sd' ')
  # Some take nothing away from the rest: all that may be noticed, and what must be.
  only=$(said only "$patch") shows=$(said shows "$patch")
  if grep -q 'the suite panicked' "$WORK/$name.log"; then caught=''; fi
  if [[ -n $only ]] && grep '^! ' "$WORK/$name.log" | grep -Evq "$only"; then caught=''; fi
  if [[ -n $shows ]] && ! grep -Eq "$shows" "$WORK/$name.log"; then caught=''; fi
  if [[ -z $caught ]]; then
    caught=SURVIVED survived=1
    tail -n 5 "$WORK/$name.log" >&2
  fi
  printf '%-28s %-13s %8d  %s\n' "$name" "$(said class "$patch")" $((SECONDS - begun)) "$caught"
  if [[ -n ${HOIST_MUTANTS_LOGS:-} ]]; then mkdir -p "$HOIST_MUTANTS_LOGS" && cp "$WORK/$name.log" "$HOIST_MUTANTS_LOGS/"; fi
  rm -f -- "$WORK/hoist-$name"
done
exit "$survived"
