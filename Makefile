# The README's two commands are `make demo` and `make test`; each builds .venv from the lock when it must.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test conformance proof mutants check format bench lock definitions profiles terminology docs clean

demo: .venv/ready
	@$(BIN)/koord demo

test: .venv/ready
	@$(BIN)/python -m pytest

# What other people's validators say; needs Java 17, Maven and npm. WRITE=1 writes the numbers, FULL=1 takes more. See docs/conformance.md.
conformance: .venv/ready
	@$(BIN)/python conformance/run.py

# The long form of the consent decisions' differential tests: up to an hour. See docs/proof.md.
proof: .venv/ready
	@$(BIN)/python tests/proof.py

# One small fault at a time in the modules of the gate and the validator: somewhat more than an hour on two cores. See docs/mutants.md.
mutants: .venv/ready
	@$(BIN)/python tests/mutants.py

check: .venv/ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/deptry adapter

format: .venv/ready
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/ready
	@for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

docs: .venv/ready
	@$(BIN)/koord tables --out docs/mapping

# Pins and hashes only; needs uv (https://docs.astral.sh/uv/) and npm.
lock:
	uv pip compile --quiet --no-header --universal --python-version 3.11 --group dev --generate-hashes --no-emit-index-url --no-emit-find-links pyproject.toml --output-file requirements.lock
	cd profiles && npm install --silent --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund && \
	node -e 'const fs = require("fs"), file = "package-lock.json", lock = JSON.parse(fs.readFileSync(file)); Object.values(lock.packages).forEach(p => delete p.funding); fs.writeFileSync(file, JSON.stringify(lock, null, 1) + "\n")'

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "koord needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 3; }
	@echo "Building .venv from the lock file: a minute or two, once."
	@$(PYTHON) -m venv .venv || { echo "Python has no venv here. On Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf .venv; exit 3; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

# Build time only, needs npm: the facts of FHIR R4 and R5 under profiles/definitions/, committed. See docs/decisions/0010 and 0118.
definitions: .venv/ready
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$$folder" hl7.fhir.r4.examples@4.0.1 hl7.fhir.r4.expansions@4.0.1 hl7.fhir.r5.core@5.0.0 hl7.fhir.r5.expansions@5.0.0 && \
	cd "$$folder/node_modules" && \
	$(CURDIR)/$(BIN)/python $(CURDIR)/profiles/make_definitions.py hl7.fhir.r4.examples hl7.fhir.r4.expansions $(CURDIR)/profiles/definitions/r4 && \
	$(CURDIR)/$(BIN)/python $(CURDIR)/profiles/make_definitions.py hl7.fhir.r5.core hl7.fhir.r5.expansions $(CURDIR)/profiles/definitions/r5 --narrative hl7.fhir.r4.examples

# Build time only, needs npm: profiles/fsh and the code tables compiled to profiles/generated/, committed. Ends with 1 if that
# is not what lay there before; the new files are then in place. See docs/profiles.md.
profiles: .venv/ready
	@$(BIN)/python profiles/make_profiles.py

# The part of it that comes from code tables, messages and the server: after a change to these, and without npm.
terminology: .venv/ready
	@$(BIN)/python profiles/make_profiles.py --tables
