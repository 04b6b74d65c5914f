# demo: see it work. test: all tests. check: style, types, structure, words. bench: figures (NAME=..., QUICK=1).
# simulate: lives full of faults, from seeds (SECONDS=60, ARGS=--accumulate, ARGS='--seed 17', ARGS=--bugs).
# properties: random views over random data, what is kept against what is right (SEEDS=2000, ARGS=--bugs).
# crash: kill and freeze databases and brique for real (CYCLES=170, BACKENDS=postgresql,sqlite).
# Each of them sets up what it needs first.
.PHONY: demo test check docs bench crash simulate properties lock clean
.DEFAULT_GOAL := demo

demo:
	@scripts/setup.sh run
	@.venv/bin/brique demo

test:
	@scripts/setup.sh dev
	@.venv/bin/pytest -n 2 $(ARGS)

check:
	@scripts/setup.sh dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/pytest tests/test_architecture.py tests/test_words.py tests/test_docs.py

docs: # write the generated pages of the documentation anew
	@scripts/setup.sh dev
	@.venv/bin/python scripts/make_docs.py

bench:
	@scripts/setup.sh bench
	@.venv/bin/python -m bench $(NAME)

crash: # kill, freeze and cut everything for real (CYCLES=170, BACKENDS=mariadb,sqlite)
	@$(MAKE) --no-print-directory bench NAME=crash

properties:
	@scripts/setup.sh dev
	@.venv/bin/python -m tests.views.properties --seeds $(or $(SEEDS),2000) --workers $(shell nproc) $(ARGS)

SECONDS ?= 60
simulate:
	@scripts/setup.sh dev
	@.venv/bin/python -m tests.simulation --seconds $(SECONDS) $(ARGS)

lock: # write the locked versions anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --universal --generate-hashes --no-header -q -o requirements/run.txt
	uv pip compile pyproject.toml --universal --generate-hashes --no-header -q --group dev -o requirements/dev.txt
	uv pip compile pyproject.toml --universal --generate-hashes --no-header -q --group dev --group bench -o requirements/bench.txt

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache brique-data demo-data
