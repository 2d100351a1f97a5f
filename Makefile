# demo     the whole job on the shipped photos, small    quick    the tests that train no network
# recipes  four recipes on small drawn photos            test     lint, and all tests but the longest
# bench    building and training, both sides measured    nightly  lint, and all tests
PYTHON ?= python3
BIN := .venv/bin

.DELETE_ON_ERROR:
.PHONY: demo recipes quick test nightly lint bench clean

demo: .venv/.run
	$(BIN)/python -m segtf.train --config segtf/recipes/demo.yaml
	@echo
	@echo "Open artifacts/runs/demo/report.html: data, curves, scores, confusion matrices and every test photo."
	@echo "The network is artifacts/runs/demo/model.onnx; try it:"
	@echo "  $(BIN)/python -m segtf.predict artifacts/runs/demo/model.onnx fishki_labelme --out artifacts/predictions"

# whether every recipe still runs, from its photos to its pages; the networks learn little so small
DRAWN := artifacts/drawn
SMALL := --encoder-weights none --overwrite
recipes: .venv/.run
	$(BIN)/python -m scripts.make_pets $(DRAWN)/person --layout splits --count 60 --size 160 --overwrite
	$(BIN)/python -m scripts.make_aerial $(DRAWN)/aerial --count 20 --size 128 --overwrite
	$(BIN)/python -m scripts.make_pipes $(DRAWN)/pipes --count 80 --size 96x128 --overwrite
	$(BIN)/python -m scripts.make_pets $(DRAWN)/pets --count 60 --size 160 --overwrite
	$(BIN)/python -m segtf.train --config segtf/recipes/person.yaml --data $(DRAWN)/person --size 160x120 --epochs 3 --run small-person $(SMALL)
	$(BIN)/python -m segtf.report artifacts/runs/small-person
	$(BIN)/python -m segtf.train --config segtf/recipes/aerial.yaml --data $(DRAWN)/aerial --size 96 --epochs 3 --run small-aerial $(SMALL)
	$(BIN)/python -m segtf.train --config segtf/recipes/pipes.yaml --data $(DRAWN)/pipes/boxes --size 96x128 --epochs 3 --run small-boxes $(SMALL)
	$(BIN)/python -m segtf.train --config segtf/recipes/pipes.yaml --data $(DRAWN)/pipes/masks --source masks --size 96x128 --epochs 3 --run small-pipes --init-from artifacts/runs/small-boxes --overwrite
	$(BIN)/python -m segtf.train --config segtf/recipes/pets.yaml --data $(DRAWN)/pets --size 96 --epochs 3 --run small-pets --overwrite

# two processes; tests that share a fixture stay together; a process that dies ends the run
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0

quick: .venv/.dev
	$(PYTEST) -m "not slow and not nightly"

test: lint
	$(PYTEST) -m "not nightly"

nightly: lint
	$(PYTEST)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy voc_builder segtf

bench: .venv/.run
	$(BIN)/python -m scripts.bench.build
	$(BIN)/python -m scripts.bench.train

.venv/bin/python:
	"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "segtf needs Python 3.11 to 3.13 (TensorFlow), this is " + sys.version.split()[0] + ": run make PYTHON=python3.13")'
	"$(PYTHON)" -m venv .venv || { rm -rf .venv; echo "no venv: on Debian and Ubuntu apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/.run: .venv/bin/python setup.cfg constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/.dev: .venv/.run
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
