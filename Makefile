# The verbs of this repository. CONTRIBUTING.md says what each is for.

CARGO ?= cargo
CACHE := $(or $(HOIST_TEST_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hoist)

.PHONY: demo test faults mutants bench check crds clean-env

# The main job on real parts: two runs of schedules/demo/schedule.yaml, about four minutes, nothing left behind.
demo:
	tests/env/env.sh prepare
	$(CARGO) build --locked --bin hoist --example conduit --example demo
	@"$$($(CARGO) metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')"/debug/examples/demo

# Every test, on a real control plane and a real Prometheus from plain processes. Most of them wait most of the time, so
# more run at once than there are cores.
test:
	tests/env/env.sh prepare
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} $(CARGO) test --locked

# Every fault plan against the real daemon, some twenty minutes; `make test` plays a choice of them.
# docs/verification.md says how plans are made, read and replayed.
faults:
	tests/env/env.sh prepare
	$(CARGO) build --locked --example conduit
	$(CARGO) test --locked --test kfault -- --all --at-once 10

# Takes one safety line after the other out of the daemon, and expects a fault plan to notice; then out of the engine, where
# the unit tests and the simulator must.
mutants:
	tests/env/env.sh prepare
	tests/kfault/mutants.sh
	tests/mutants/run.sh

# How fast a breach becomes a rollback, and what thousands of schedules cost; docs/benchmarks.md says how to read it.
# SCENARIOS chooses some of the latter, OUTPUT=json prints them for machines.
bench:
	tests/env/env.sh prepare
	$(CARGO) build --locked --release --example conduit
	$(CARGO) bench --locked --bench engine
	$(CARGO) bench --locked --bench reaction
	$(CARGO) bench --locked --bench scale -- $(SCENARIOS) $(if $(OUTPUT),-o $(OUTPUT))

# Formatting and lints, and that the heart builds without the shell.
check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --lib --no-default-features -- -D warnings

# Writes crds/ anew from src/api.
crds:
	UPDATE_EXPECT=1 $(CARGO) test --locked --test it -- generated

# Forgets the programs of the test environment; the next test builds them anew.
clean-env:
	rm -rf -- "$(CACHE)"/bin-*
