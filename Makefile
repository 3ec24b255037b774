PYTHON ?= python
TORCH = 2.13.0+cpu

.PHONY: test coverage lint types imports docs examples notebooks check lock

test:                    ## the tests, docstring examples included
	$(PYTHON) -m pytest -n 2 tests --pyargs tlkit

coverage:                ## the same, with coverage and its floor
	$(PYTHON) -m pytest -n 2 --cov --cov-report=term:skip-covered tests --pyargs tlkit

lint:                    ## format and lint
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types:                   ## mypy, strict
	$(PYTHON) -m mypy

imports:                 ## the import contract
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

docs:                    ## the site, strictly
	$(PYTHON) tools/copy_changelog.py
	$(PYTHON) -m zensical build --strict

examples:                ## the example, shortened
	rm -rf runs/check
	$(PYTHON) examples/mnist_mobilenetv2.py --epochs 1 1 --limit 200 --out runs/check

notebooks:               ## the notebooks of the docs, and what changed in them; CHECK=--check writes nothing
	$(PYTHON) tools/run_notebooks.py $(CHECK) docs/notebooks/*.ipynb

check: lint types imports docs examples test  ## everything CI runs
	$(MAKE) notebooks CHECK=--check

lock:                    ## add what is missing to the lock, with hashes and without hosts; UPGRADE=--upgrade renews all; needs uv
	uv pip compile --quiet $(UPGRADE) --universal --generate-hashes --no-header --no-annotate \
		--extra test --extra docs --extra hub --extra onnx --extra openvino --extra audit --extra card \
		--extra datasets --extra parquet --extra tensorboard --extra yaml --extra pandas --extra litert --extra demo --extra serve --extra optuna --group lint --group browser --group notebook \
		pyproject.toml --output-file requirements.lock
	echo uv | uv pip compile --quiet $(UPGRADE) --universal --generate-hashes --no-header --no-annotate \
		- --output-file .ci/installer.lock
	uv pip compile --quiet $(UPGRADE) --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--generate-hashes --no-header --no-annotate --extra jax --extra test --extra torch \
		--override .ci/backends.override pyproject.toml .ci/backends.in --output-file .ci/backends.lock
	rm -rf .venv-torch && $(PYTHON) -m pip download --quiet --no-deps --dest .venv-torch torch==$(TORCH)
	(echo 'torch==$(TORCH) \' && $(PYTHON) -m pip hash .venv-torch/torch-*.whl | sed -n 's/^--hash/    --hash/p') > .ci/torch.lock
