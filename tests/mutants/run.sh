#!/usr/bin/env bash
# Takes one line of the engine or the analysis away after the other, and expects a unit test or the simulator to notice.
#
#   run.sh [-o json] [NAME...]      all patches of tests/mutants, or those named
#
# Nothing of the work tree is changed: patches are applied to a copy, and its builds are kept beside the others.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
exec </dev/null
unset UPDATE_EXPECT
export RUST_BACKTRACE=0

ROOT=$PWD
# Tests that compare with a file look for it here, when cargo does not run them.
export CARGO_MANIFEST_DIR=$ROOT
CARGO=${CARGO:-cargo}
HERE=tests/mutants
# Seconds; whoever comes to no end in that hangs. The quick tests of a sound engine take a few of them.
PATIENCE=300
PATIENCE_WHERE_SLOW=1800
# The tests of the heart, which is built without the shell, and those of them that are asked last: they take minutes, and
# the others notice almost everything.
HEART=(analysis:: engine:: sim::)
SLOW=(found:: steps::a_percentage steps::steps_wait crash:: exhaustive:: stories:: leap::)
KILLER='' SUITE=''
WORK=$(mktemp -d "${TMPDIR:-/tmp}/hoist-mutants.XXXXXX")

leave() {
  if [[ -n ${BUILDER:-} ]]; then kill -- "-$BUILDER" 2>/dev/null || true; fi
  if [[ -n $SUITE ]]; then kill "$SUITE" 2>/dev/null || true; fi
  rm -rf -- "$WORK"
}
trap leave EXIT

said() { sed -n "s/^# $1: //p" "$2"; }

target() { "$CARGO" metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'; }

# The test program of a copy of the tree, with one patch or none.
build() { # NAME [PATCH]
  local tree=$WORK/tree program
  mkdir -p "$tree"
  rm -rf -- "$tree/src"
  tar --exclude=./target --exclude=./.git -cf - . | tar -xf - -C "$tree"
  # Files keep their times, by which cargo would take the last mutant's build for this one's.
  touch "$tree/src/lib.rs"
  if (($# > 1)); then
    (cd "$tree" && git apply --unsafe-paths --directory="$tree" -p1 "$ROOT/$2" 2>"$WORK/apply.log") || {
      cat "$WORK/apply.log" >&2
      return 1
    }
  fi
  (cd "$tree" && "$CARGO" test --locked --lib --no-default-features --no-run --target-dir "$TARGET/mutants-engine" \
    --message-format=json >"$WORK/build.json" 2>"$WORK/build.log") || {
    tail -n 30 "$WORK/build.log" >&2
    return 1
  }
  program=$(sed -n 's/.*"name":"hoist".*"executable":"\([^"]*\)".*/\1/p' "$WORK/build.json" | tail -n 1)
  cp "$program" "$WORK/tests-$1"
}

# Runs tests until the first fails, which is kept as KILLER; nothing where all pass.
play() { # NAME SECONDS ARGUMENT...
  local log=$WORK/$1.log end=$((SECONDS + $2)) program=$WORK/tests-$1
  shift 2
  : >"$log"
  "$program" --nocapture "$@" >"$log" 2>&1 &
  SUITE=$!
  while kill -0 "$SUITE" 2>/dev/null && ((SECONDS < end)) && ! grep -q '^test .* FAILED$' "$log"; do sleep 0.2; done
  if kill "$SUITE" 2>/dev/null && ((SECONDS >= end)); then echo 'test time-out ... FAILED' >>"$log"; fi
  if ! wait "$SUITE" 2>/dev/null && ! grep -q '^test .* FAILED$' "$log"; then echo 'test abort ... FAILED' >>"$log"; fi
  SUITE=''
  KILLER=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | head -n 1)
}

# The law that a failing test names, where it names one.
named_law() { # LOG TEST
  sed -n "/^thread '$2'/,\$p" "$1" | sed -n 's/.*Violation { law: \([0-9]*\),.*/\1/p' | head -n 1
}

form=text names=()
while (($#)); do
  case $1 in
    -o) form=${2:-} && shift 2 ;;
    -*) echo "usage: $0 [-o json] [NAME...]" >&2 && exit 2 ;;
    *) names+=("$1") && shift ;;
  esac
done
if [[ $form != text && $form != json ]]; then echo "$0: -o takes json" >&2 && exit 2; fi
patches=()
for name in "${names[@]}"; do patches+=("$HERE/$name.patch"); done
if ((${#patches[@]} == 0)); then patches=("$HERE"/*.patch); fi

TARGET=$(target)
skips=()
for module in "${SLOW[@]}"; do skips+=(--skip "sim::tests::$module"); done

# What earlier runs built of copies elsewhere is of no use to this one and would pile up.
"$CARGO" clean --locked --quiet --package hoist --target-dir "$TARGET/mutants-engine"
build sound
play sound "$PATIENCE" "${HEART[@]}" "${skips[@]}"
if [[ -n $KILLER ]]; then
  echo "the engine as it is fails $KILLER" >&2
  exit 1
fi

# Builds ahead of the tests; in a process group of its own, so that what it has begun ends with it.
set -m
for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  if build "$name" "$patch"; then touch "$WORK/$name.built"; else touch "$WORK/$name.failed"; fi
done &
BUILDER=$!
set +m

if [[ $form == text ]]; then printf '%-32s %3s %7s  %s\n' mutant law seconds 'killed by'; fi
survived=0 objects=()
for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  until [[ -e $WORK/$name.built || -e $WORK/$name.failed ]]; do sleep 0.2; done
  begun=$SECONDS broken=''
  if [[ -e $WORK/$name.failed ]]; then
    KILLER='does not apply or build any more' survived=1
  else
    # Whoever noticed it before is asked first.
    before=$(said 'noticed by' "$patch") KILLER=''
    if [[ -n $before ]]; then play "$name" "$PATIENCE" --exact "$before"; fi
    if [[ -z $KILLER ]]; then play "$name" "$PATIENCE" "${HEART[@]}" "${skips[@]}"; fi
    for module in "${SLOW[@]}"; do
      if [[ -z $KILLER ]]; then play "$name" "$PATIENCE_WHERE_SLOW" "sim::tests::$module"; fi
    done
    broken=$(named_law "$WORK/$name.log" "$KILLER")
    if [[ -z $KILLER ]]; then KILLER=SURVIVED survived=1; fi
  fi
  seconds=$((SECONDS - begun)) law=$(said law "$patch")
  if [[ $form == json ]]; then
    objects+=("$(printf '{"name":"%s","takesAway":"%s","law":%s,"killedBy":"%s","names":%s,"seconds":%d}' \
      "$name" "$(said 'takes away' "$patch")" "$law" "$KILLER" "${broken:-null}" "$seconds")")
  else
    printf '%-32s %3s %7d  %s\n' "$name" "$law" "$seconds" "$KILLER${broken:+ (law $broken)}"
  fi
  if [[ -n ${HOIST_MUTANTS_LOGS:-} && -e $WORK/$name.log ]]; then
    mkdir -p "$HOIST_MUTANTS_LOGS" && cp "$WORK/$name.log" "$HOIST_MUTANTS_LOGS/"
  fi
  rm -f -- "$WORK/tests-$name" "$WORK/$name.log"
done
if [[ $form == json ]]; then (IFS=,; printf '[%s]\n' "${objects[*]}"); fi
exit "$survived"
