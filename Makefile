# Everything a fresh machine needs: `make demo` and `make test`; only python3 >= 3.11 and make are presumed.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.PHONY: help install demo latent text notebook docs test test-all test-page lint format lock release-check licences \
  links data-cifar10 clean

help:  ## what there is
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/\t/' | expand -t 16

install: $(INSTALLED)  ## the environment in .venv, every package pinned by requirements-dev.lock

$(INSTALLED): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("python >= 3.11 is needed, found " + sys.version.split()[0] \
	  if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED)  ## train on real digits, sample, evaluate: about ten minutes on two cores
	$(RUN) main.py --mode=train --config=configs/vp/digits.py --workdir=runs/digits
	$(RUN) main.py --mode=evaluate --config=configs/vp/digits.py --workdir=runs/digits
	@echo "samples: runs/digits/evaluation/*/*.png   report: runs/digits/report.md"

latent: $(INSTALLED)  ## train an autoencoder of photographs and a model of its latents, sample, evaluate: half an hour on two cores
	$(RUN) main.py --mode=train --config=configs/autoencoders/photos.py --workdir=runs/photos_autoencoder
	$(RUN) main.py --mode=evaluate --workdir=runs/photos_autoencoder
	$(RUN) main.py --mode=train --config=configs/latent/photos.py --workdir=runs/photos_latent
	$(RUN) main.py --mode=sample --workdir=runs/photos_latent
	$(RUN) main.py --mode=evaluate --workdir=runs/photos_latent
	@echo "pictures: runs/photos_latent/samples/*.png   reports: runs/photos_autoencoder/report.md runs/photos_latent/report.md"

text: $(INSTALLED)  ## train text to image on scenes of digits, draw captions never shown, judge them: half an hour on two cores
	$(RUN) main.py --mode=train --config=configs/text/scenes.py --workdir=runs/scenes
	$(RUN) main.py --mode=sample --workdir=runs/scenes
	$(RUN) main.py --mode=evaluate --workdir=runs/scenes
	@echo "pictures: runs/scenes/samples/*.png   report: runs/scenes/report.md"

notebook: $(INSTALLED)  ## open the notebooks in JupyterLab
	$(VENV)/bin/jupyter lab --notebook-dir=notebooks

docs: $(INSTALLED)  ## a site of the pages in docs/ and of the docstrings, in build/site; every link is checked
	$(RUN) docs/publish.py pages
	$(VENV)/bin/zensical build --clean --strict
	$(RUN) docs/publish.py check
	@echo "open build/site/index.html"

test: $(INSTALLED)  ## the tests, without those marked slow
	$(RUN) -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(INSTALLED)  ## all tests
	$(RUN) -m pytest -n 2 --dist worksteal

test-page: $(INSTALLED)  ## the page of --mode=visualize in Chromium, where there is one
	$(RUN) -m pytest -n 2 -rs tests/visualize

lint: $(INSTALLED)  ## ruff and the type checker
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(INSTALLED)  ## let ruff mend what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lock: $(INSTALLED)  ## resolve pyproject.toml anew into the lock files
	$(RUN) -m pip install --quiet uv
	$(VENV)/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --fork-strategy fewest \
	  --generate-hashes --no-emit-index-url --no-header --quiet --upgrade -o requirements.lock
	$(VENV)/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --fork-strategy fewest \
	  --generate-hashes --no-emit-index-url --no-header --quiet --upgrade -c requirements.lock -o requirements-dev.lock

release-check: $(INSTALLED)  ## build the commit, install it into a fresh environment, and use it there
	$(RUN) -m release.check

licences: $(INSTALLED)  ## write docs/licences.md from the lock files and the extras
	$(RUN) -m release.licences

links: $(INSTALLED)  ## write the repository's address of pyproject.toml into the notebooks
	$(RUN) -m release.address

data-cifar10: $(INSTALLED)  ## download CIFAR-10 and write it as array_record (needs internet; installs TensorFlow)
	$(RUN) -m pip install --quiet -e '.[prepare]'
	$(RUN) -c "import tensorflow_datasets as tfds; tfds.builder('cifar10', file_format='array_record').download_and_prepare()"

clean:  ## remove the environment and the caches, not the runs
	rm -rf $(VENV) build .cache .pytest_cache .ruff_cache .mypy_cache .jax_cache *.egg-info
