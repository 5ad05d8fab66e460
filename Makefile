# make check   format, lint, types, import contracts, core tests: before each commit
# make test    everything, in an environment that it makes itself
# make bench   whence beside the raw floor, and beside those of its peers that are installed
# make bench-peers   installs the peers, each in an environment of its own, and measures whence beside them
# make format  put the code in the house's form

# Without compiled modules every process that a test starts would compile all its imports anew.
unexport PYTHONDONTWRITEBYTECODE

UV := .venv/bin/uv
RUN := $(UV) run --quiet
# One more than the two cores that it is meant for: tests wait for servers and processes much of the time.
WORKERS ?= 3

.PHONY: check test bench bench-peers format lint node

$(UV):
	python3 -m venv .venv || (apt-get update -qq && apt-get install -yqq python3-venv && python3 -m venv .venv)
	.venv/bin/pip install --quiet --disable-pip-version-check uv

lint: $(UV)
	$(RUN) ruff format --check --quiet .
	$(RUN) ruff check --quiet .
	$(RUN) mypy
	$(RUN) lint-imports --no-cache | tail -n 4

# Hundreds of edits, and a corpus of projects, each run in every interpreter that is here; small benchmarks: `make test`
# runs them.
LATER := $(patsubst %,--ignore tests/core/test_%.py,code_pairs executed benchmarks)

check: lint
	$(RUN) pytest -q -n $(WORKERS) tests/core tests/golden tests/test_architecture.py $(LATER)

test: lint node
	$(RUN) pytest -n $(WORKERS) --dist loadfile

# The audits of GraphQL over HTTP are a package of npm.
node:
	@command -v npm >/dev/null || (apt-get update -qq && apt-get install -yqq nodejs npm)

bench: $(UV)
	$(RUN) python -m benchmarks

bench-peers: $(UV)
	$(RUN) python -m benchmarks.environments
	$(RUN) python -m benchmarks --peers

format: $(UV)
	$(RUN) ruff format --quiet .
	$(RUN) ruff check --fix --quiet .
