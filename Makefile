# One environment, .venv, serves every target. Written for GNU make 3.81 (macOS) and any POSIX shell.

# The Python that creates the environment; if empty, the first of CANDIDATES that is suitable.
PYTHON ?=
CANDIDATES = $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11)
# torch's build: cpu, cuda (with 5 GB of GPU libraries), or auto, which checks for an NVIDIA GPU.
TORCH ?= auto
# The package index with its CPU builds.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# More options for JupyterLab, e.g. make lab LAB_FLAGS="--port 9999 --no-browser"
LAB_FLAGS ?=
# More options for the benchmark, e.g. make bench BENCH_FLAGS="--workloads S --rounds 5"
BENCH_FLAGS ?=

NEW_ENOUGH = import sys; print(sys.version.split()[0]); sys.exit(sys.version_info < (3, 11))
RUN = .venv/bin/python
# Let waiting threads go to sleep early: if they spin, they take CPU time from other processes.
ifndef OMP_WAIT_POLICY
GOMP_SPINCOUNT ?= 1000
export GOMP_SPINCOUNT
endif
# Without this, JupyterLab starts by asking whether to fetch news. A user's own settings take precedence.
SETTINGS = .venv/share/jupyter/lab/settings
NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
# Number of test processes.
JOBS ?= 2
# Time limit for a notebook cell in seconds: readers have to wait for slow cells, too.
CELL_TIMEOUT = 120

.PHONY: help lab lint check test lock notebooks figures docs site bench bench-panels clean

ifeq ($(filter auto cpu cuda,$(TORCH)),)
$(error TORCH is "$(TORCH)", but it has to be auto, cpu or cuda)
endif
# The stamp file records the TORCH that .venv was installed with: a different one triggers a new installation.
ifneq ($(filter-out auto $(shell cat .venv/.installed 2>/dev/null),$(TORCH)),)
.PHONY: .venv/.installed
endif

help:
	@echo "make lab          open the notebooks in JupyterLab (the first call installs everything into .venv)"
	@echo "make lint         static checks with ruff and mypy: seconds"
	@echo "make check        lint, and the tests of the core: under a minute"
	@echo "make test         run the tests and every notebook (comparing its outputs with the saved ones), and drive the notebooks in a browser"
	@echo "make notebooks    execute the notebooks and save their outputs"
	@echo "make figures      redraw the figures"
	@echo "make docs         fill the results into README.md and docs/"
	@echo "make site         build the review as a web site in build/site, from the saved outputs"
	@echo "make lock         write the versions of all installed packages to requirements.lock"
	@echo "make bench        compare training speed with other MAML libraries (installs them into .venv-bench)"
	@echo "make bench-panels time the panels in a browser: from key press to new picture, and frames per second"
	@echo "make clean        remove .venv, .venv-bench and caches; data/ and runs/ stay"

# The server's root is the repository, since notebooks show pictures from ../figures.
# JupyterLab refuses to run as root without --allow-root; without a display it would only find a text browser.
lab: .venv/.installed
	@set --; \
	if [ "$$(id -u)" = 0 ]; then set -- "$$@" --allow-root; fi; \
	if [ "$$(uname)" != Darwin ] && [ -z "$$DISPLAY$$WAYLAND_DISPLAY$$BROWSER" ]; then set -- "$$@" --no-browser; fi; \
	exec $(RUN) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
	  --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb "$$@" $(LAB_FLAGS)

# pyproject.toml configures the rules, the formatter, and the files that mypy checks.
lint: .venv/.installed
	$(RUN) -m ruff check --quiet
	$(RUN) -m ruff format --check --quiet
	$(RUN) -m mypy

# Quick tests to run often: those of the files beside maml.py, none of which compiles, trains or needs a browser.
CHECKED = tests/test_maml.py tests/test_episodes.py tests/test_networks.py tests/test_second_order.py \
  tests/test_evaluation.py tests/engine/test_contract.py
check: lint
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n $(JOBS) $(CHECKED)

# JOBS processes with one thread each; each takes one test file at a time, the longest first.
test: .venv/.site
	@start=$$(date +%s); status=0; \
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder \
	  --nbval --nbval-current-env --nbval-cell-timeout=$(CELL_TIMEOUT) tests/browser tests/test_rerun.py notebooks tests || status=$$?; \
	echo "Tests and notebooks took $$(($$(date +%s) - start)) s."; \
	exit $$status

# The tested environment for any build of torch: without the suffix of the build, as in 2.15.0+cpu, and without the GPU
# libraries, whose versions torch's CUDA build pins itself.
lock: .venv/.site
	@{ echo "# Written by make lock. To install the tested versions: pip install -c requirements.lock -r requirements.txt"; \
	  $(RUN) -m pip freeze --exclude-editable | sed 's/+.*//' | grep -Ev '^(nvidia-|cuda-|triton==)'; } > requirements.lock.part
	@mv requirements.lock.part requirements.lock

notebooks: .venv/.installed
	$(RUN) notebooks/execute.py

figures: .venv/.installed
	$(RUN) -m maml_core.figures
	$(RUN) -m maml_core.panels

docs: .venv/.installed
	$(RUN) -m maml_core.docs

site: .venv/.site
	$(RUN) -m tools.site build/site

bench: .venv-bench/.installed
	.venv-bench/bin/python -m bench $(BENCH_FLAGS)

bench-panels: .venv/.installed
	$(RUN) -m tests.browser.latency

clean:
	rm -rf .venv .venv-bench .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info notebooks/.ipynb_checkpoints
	find maml_core tests notebooks tools -name __pycache__ -prune -exec rm -rf {} +

# The stamp is written last, so that a failed or interrupted installation is continued by the next call.
# An environment without a working pip is incomplete and is replaced.
# On Debian, without python3-venv, `import ensurepip` fails and `python -m venv` leaves an incomplete folder.
.venv/.installed: requirements.txt pyproject.toml
	@if $(RUN) -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && $(RUN) -m pip --version >/dev/null 2>&1; then :; else \
	  rm -rf .venv; chosen=; bare=; found=; \
	  for python in $(CANDIDATES); do \
	    if version=$$("$$python" -c '$(NEW_ENOUGH)' 2>/dev/null); then \
	      if "$$python" -c 'import venv, ensurepip' 2>/dev/null; then chosen=$$python; break; fi; \
	      bare=$${bare:-$$python}; \
	    elif [ -n "$$version" ]; then found="$$found $$python is $$version,"; fi; \
	  done; \
	  if [ -n "$$chosen" ]; then \
	    echo "Creating .venv with $$chosen ($$version)"; \
	    "$$chosen" -m venv .venv || { rm -rf .venv; echo "$$chosen could not create .venv: see its message above." >&2; exit 1; }; \
	  elif [ -n "$$bare" ]; then \
	    echo "$$bare cannot create virtual environments: install its venv module (Debian, Ubuntu: apt install $${bare##*/}-venv) and run make again." >&2; exit 1; \
	  else \
	    echo "Python 3.11 or newer is needed, but$${found:- none was found,} so install one (Debian: apt install python3 python3-venv; macOS: brew install python) or name one: make PYTHON=/path/to/python3 lab." >&2; exit 1; \
	  fi; \
	fi
	@rm -f $@
	@options=$$($(RUN) tools/torch_build.py "$(TORCH)" "$(TORCH_INDEX)") || exit 1; \
	$(RUN) -m pip install --quiet --disable-pip-version-check $$options -r requirements.txt || \
	  { echo "The installation failed: see pip's message above. Running make again continues from here." >&2; exit 1; }
	@mkdir -p $(SETTINGS)
	@echo '$(NO_NEWS)' > $(SETTINGS)/overrides.json
	@echo $(TORCH) > $@

# Only the site and its tests need these.
.venv/.site: requirements-site.txt .venv/.installed
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-site.txt || \
	  { echo "Sphinx could not be installed: see pip's message above. Running make again continues from here." >&2; exit 1; }
	@touch $@

# The other libraries are only needed here. While one of them is missing there is no stamp, so the next call tries again.
.venv-bench/.installed: .venv/.installed bench/environment.py
	@$(RUN) bench/environment.py .venv-bench
