# The whole interface for a newcomer: up, test, check, bench; setup makes only the environment.
# Every target makes its own environment in .venv from uv.lock; nothing is installed outside this folder.

PYTHON ?= python3.11
export UV_PYTHON_DOWNLOADS = never
export UV_PROJECT_ENVIRONMENT = .venv
BIN = .venv/bin
PACKAGES = $(wildcard libs/*/src) $(wildcard services/*/src)
ARGS ?=

.PHONY: help setup up test check bench simulate format clean compose-test faults kill-run fuzz topology-test

help:
	@echo "make up            start a whole cluster on this machine (ARGS='--nodes 3' passes options on)"
	@echo "make test          run the tests (ARGS='libs/bus -k kafka' narrows them)"
	@echo "make kubernetes-test  give the Helm chart's objects to a real Kubernetes API server (builds it once: minutes)"
	@echo "make check         format, lint, types, import rules, sizes"
	@echo "make bench         run the benchmarks and print their table (ARGS='smtp-in' for some groups)"
	@echo "make takeover      measure how long a role has no holder after kill -9 and after a clean stop"
	@echo "make idle          what an idle TLS connection of the imap service costs (ARGS='--connections 10000')"
	@echo "make users         one node with 10,000 users connected, and the mail of a busy hour (ARGS='--minutes 5')"
	@echo "make simulate      run the ownership code in a thousand simulated clusters of a thousand nodes (two minutes)"
	@echo "make compose-test  bring compose.yaml up on Docker, run the demo against it, tear it down"
	@echo "make swarm-test    deploy a topology's stack on a swarm of this machine, run the demo, replace containers under load"
	@echo "make faults        make a cluster of many processes suffer, and judge what it lost (ARGS='--minutes 10')"
	@echo "make queue-run     20,000 messages to 500 sites while senders are killed and stopped, and what came twice"
	@echo "make imap-run      ten IMAP clients at three nodes against a model for ten minutes (ARGS='--kill --seed 7')"
	@echo "make kill-run      10,000 messages while smtp-in, Kafka and PostgreSQL are killed, and what was lost"
	@echo "make fuzz          look for input that breaks a reader, guided by coverage (ARGS='--seconds 60 dialogue')"
	@echo "make topology-test starts each topology of deploy/topologies as processes (ARGS='paired' for one)"
	@echo "make setup         only make the environment; the program is then .venv/bin/posthorn"

setup: .venv/.ready

# uv is a locked dependency of the workspace itself; the first pip only bootstraps it.
.venv/.ready: uv.lock pyproject.toml $(wildcard libs/*/pyproject.toml) $(wildcard services/*/pyproject.toml)
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found: install Python 3.11 or later, or say PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "make: no venv module: apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==0.13.9"
	$(BIN)/uv sync --quiet --locked --all-packages --all-extras --compile-bytecode --python $(BIN)/python
	@touch $@

up: setup
	exec $(BIN)/posthorn up $(ARGS)

test: setup
	$(BIN)/python -m pytest $(ARGS)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy $(PACKAGES)
	$(BIN)/python tools/sizes.py

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/uv sync --quiet --locked --all-packages --all-extras --group bench --python $(BIN)/python
	$(BIN)/python -m bench $(ARGS)

.PHONY: takeover
takeover: setup
	$(BIN)/python -m bench.takeover $(ARGS)

.PHONY: idle
idle: setup
	$(BIN)/python -m bench.idle $(ARGS)

.PHONY: users
users: setup
	$(BIN)/python -m bench.users $(ARGS)

simulate: setup
	$(BIN)/python -m tests.simulation.simulate $(ARGS)

compose-test: setup
	$(BIN)/python tests/compose/run.py $(ARGS)

.PHONY: swarm-test
swarm-test: setup
	$(BIN)/python -m tests.compose.swarm $(ARGS)

faults: setup
	$(BIN)/python -m tests.faults $(ARGS)

kill-run: setup
	$(BIN)/python -m tests.faults.kill_run $(ARGS)

.PHONY: queue-run
queue-run: setup
	$(BIN)/python -m tests.faults.queue_run $(ARGS)

.PHONY: imap-run
imap-run: setup
	$(BIN)/python -m tests.workload $(ARGS)

fuzz: setup
	$(BIN)/uv sync --quiet --locked --all-packages --all-extras --group fuzz --python $(BIN)/python
	$(BIN)/python -m tests.fuzz $(ARGS)

topology-test: setup
	$(BIN)/python tests/topology/run.py $(ARGS)

.PHONY: kubernetes-test
kubernetes-test: setup
	POSTHORN_TEST_KUBERNETES=1 $(BIN)/python -m pytest tests/kubernetes $(ARGS)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
