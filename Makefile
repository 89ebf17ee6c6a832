# make fit PHOTO=path   fit the rig to a photograph (default: the example), results in OUT
# make test             everything that CI checks
# Both make .venv on first use; a later run starts in seconds. Another Python: make fit PYTHON=python3.12
# Tests of what is not installed are skipped; make test EXTRAS=dev,raytrace,cluster,parquet,usd has all of it.

PYTHON ?= python3
PHOTO ?= assets/example.png
OUT ?=
EXTRAS ?= dev,raytrace
export PYTHON PHOTO OUT

python := .venv/bin/python

fit: .venv/fit.installed
	@out="$$OUT"; if [ -z "$$out" ]; then name=$$(basename -- "$$PHOTO"); out="out/$${name%.*}"; fi; \
	exec $(python) -m pipeline fit --out "$$out" -- "$$PHOTO"

test: .venv/test.installed
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m pyright --pythonpath $(python)
	$(python) -m pytest -q -n 2 --dist loadfile

.venv/fit.installed: pyproject.toml constraints.txt scripts/bootstrap.sh
	@sh scripts/bootstrap.sh .
	@touch $@

.venv/test.installed: pyproject.toml constraints.txt scripts/bootstrap.sh
	@sh scripts/bootstrap.sh '.[$(EXTRAS)]'
	@touch .venv/fit.installed $@

clean:
	rm -rf .venv

.PHONY: fit test clean
