# One verb per habit. Every verb sets up what it needs; a second `make setup` is a no-op.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Two shells may say `make build` at once; ninja itself does not lock.
LOCK := $(if $(shell command -v flock),flock build/lock)
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup build loop test test-all test-rest test-long check format perft bench sanitize fuzz loc docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## virtual environment and editable install, from constraints.txt; TRAIN=no: all but training, without torch
	@mkdir -p build
	@$(LOCK) tools/setup $(PYTHON) $(or $(TRAIN),yes)

# The other verbs leave out torch where the set-up did.
.venv/.ready: pyproject.toml constraints.txt
	@mkdir -p build
	@$(LOCK) tools/setup $(PYTHON) $(TRAIN)

build: .venv/.ready ## compile what changed in cpp/
	@mkdir -p build
	@$(LOCK) $(BIN)/cmake --build build/editable/*/

loop: build ## the main job: self-play, training and gating on square8_2p in runs/square8_2p
	$(BIN)/ringrift loop --config square8_2p --run runs/square8_2p

test: build ## the tests that take seconds; under 5 minutes on two cores
	$(PYTEST) -m "not slow and not long"

test-all: build ## everything but the soaks
	$(PYTEST) -m "not long"

test-rest: build ## what `test-all` has beyond `test`
	$(PYTEST) -m "slow and not long"

test-long: build ## soaks and long fuzz runs, by hand
	$(PYTEST) -m long --timeout 0

check: build ## format, lint, types, layers
	@tools/check $(BIN)

format: .venv/.ready ## write the format that `check` asks for
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files -co --exclude-standard 'cpp/*.h' 'cpp/*.cpp')

perft: build ## node counts against the golden tables
	$(BIN)/python -m pytest -q tests/rules -k perft

bench: build ## throughputs and the behaviour signature
	$(BIN)/ringrift bench rules --threads 1 --threads 2
	$(BIN)/ringrift bench search
	$(BIN)/ringrift bench nets

VECTORS := $(or $(RINGRIFT_VECTORS),../shared/rules/vectors)
sanitize: build ## the core's own tests and the recorded games under the address and undefined-behaviour sanitizers
	$(BIN)/cmake -S . -B build/sanitize -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DRR_SANITIZE=address,undefined
	$(BIN)/cmake --build build/sanitize
	build/sanitize/rr_test
	@if [ -d "$(VECTORS)" ]; then $(BIN)/python tools/recorded_moves.py | build/sanitize/rr_test --replay; \
	else echo "no recorded games in $(VECTORS): their replay is skipped; set RINGRIFT_VECTORS"; fi

fuzz: build ## feed every reader with garbage; SECONDS_EACH=30 for ten minutes
	$(BIN)/python tools/fuzz.py

loc: ## lines per layer against the budget
	@$(PYTHON) tools/loc.py

docs: build ## write the generated parts of the documentation
	$(BIN)/ringrift config reference > build/settings.md && mv build/settings.md docs/settings.md
	$(BIN)/ringrift events graph --markdown > build/events.md && mv build/events.md docs/events.md
	$(BIN)/python tools/tree.py

clean: ## remove what was built, not the environment
	rm -rf build src/ringrift/_core*.so src/ringrift/_core.pyi
