# One environment, .venv, serves every target. Written for GNU make 3.81 (macOS) and any POSIX shell.

# The Python that makes the environment; empty: the first of CANDIDATES that will do.
PYTHON ?=
CANDIDATES = $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11)
# torch's build: cpu, cuda (with 5 GB of GPU libraries), or auto, which looks whether there is an NVIDIA GPU.
TORCH ?= auto
# Where its CPU builds are.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# More options for JupyterLab, e.g. make lab LAB_FLAGS="--port 9999 --no-browser"
LAB_FLAGS ?=
# More options for the benchmark, e.g. make bench BENCH_FLAGS="--workloads S --rounds 5"
BENCH_FLAGS ?=

NEW_ENOUGH = import sys; print(sys.version.split()[0]); sys.exit(sys.version_info < (3, 11))
RUN = .venv/bin/python
# Threads that wait for one another soon sleep: spinning, they would take the cores from whatever else runs.
ifndef OMP_WAIT_POLICY
GOMP_SPINCOUNT ?= 1000
export GOMP_SPINCOUNT
endif
# Without this JupyterLab opens with the question whether to fetch its news. A user's own settings come before it.
SETTINGS = .venv/share/jupyter/lab/settings
NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
# Processes that share the tests.
JOBS ?= 2
# Slow cells are an error: a reader waits for them too. Seconds.
CELL_TIMEOUT = 120

.PHONY: help lab lint check test lock notebooks figures docs bench bench-panels clean

ifeq ($(filter auto cpu cuda,$(TORCH)),)
$(error TORCH is "$(TORCH)", but it can be auto, cpu or cuda)
endif
# The stamp holds the choice that .venv was installed with: another one installs again.
ifneq ($(filter-out auto $(shell cat .venv/.installed 2>/dev/null),$(TORCH)),)
.PHONY: .venv/.installed
endif

help:
	@echo "make lab          open the notebooks in JupyterLab (the first call installs everything into .venv)"
	@echo "make lint         look for mistakes without running anything (ruff and mypy): seconds"
	@echo "make check        lint, and the tests of the core: under a minute"
	@echo "make test         run the tests, every notebook (comparing its outputs with the saved ones), and a browser through them"
	@echo "make notebooks    execute the notebooks and save their outputs"
	@echo "make figures      draw the figures anew"
	@echo "make docs         fill the results into README.md and docs/"
	@echo "make lock         note the version of every installed package in requirements.lock"
	@echo "make bench        time the training beside other MAML libraries (installs them into .venv-bench)"
	@echo "make bench-panels time the panels in a browser, from key press to new picture"
	@echo "make clean        remove .venv, .venv-bench and caches; data/ and runs/ stay"

# The server's root is the repository: notebooks show pictures from ../figures.
# JupyterLab refuses to run as root unless told, and without a screen it could only find a text browser.
lab: .venv/.installed
	@set --; \
	if [ "$$(id -u)" = 0 ]; then set -- "$$@" --allow-root; fi; \
	if [ "$$(uname)" != Darwin ] && [ -z "$$DISPLAY$$WAYLAND_DISPLAY$$BROWSER" ]; then set -- "$$@" --no-browser; fi; \
	exec $(RUN) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
	  --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb "$$@" $(LAB_FLAGS)

# Rules, layout and the files that mypy reads are in pyproject.toml.
lint: .venv/.installed
	$(RUN) -m ruff check --quiet
	$(RUN) -m ruff format --check --quiet
	$(RUN) -m mypy

# What one wants every minute: the tests of the files beside maml.py, none of which compiles, trains or needs a browser.
CHECKED = tests/test_maml.py tests/test_episodes.py tests/test_networks.py tests/test_second_order.py \
  tests/test_evaluation.py tests/engine/test_contract.py
check: lint
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n $(JOBS) $(CHECKED)

# Two processes take one file of tests after the other, the longest first, with a thread each.
test: .venv/.installed
	@start=$$(date +%s); status=0; \
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder \
	  --nbval --nbval-current-env --nbval-cell-timeout=$(CELL_TIMEOUT) tests/browser tests/test_rerun.py notebooks tests || status=$$?; \
	echo "Tests and notebooks took $$(($$(date +%s) - start)) s."; \
	exit $$status

# The tested environment, whichever build of torch is in it: without the build's suffix, as in 2.15.0+cpu, and without the GPU
# libraries, whose versions torch's CUDA build fixes itself.
lock: .venv/.installed
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

bench: .venv-bench/.installed
	.venv-bench/bin/python -m bench $(BENCH_FLAGS)

bench-panels: .venv/.installed
	$(RUN) -m tests.browser.latency

clean:
	rm -rf .venv .venv-bench .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info notebooks/.ipynb_checkpoints
	find maml_core tests notebooks -name __pycache__ -prune -exec rm -rf {} +

# The stamp is written last, so that a failed or interrupted installation is taken up again.
# An environment without a working pip is half made: it is replaced.
# Debian splits `venv` off: without python3-venv, `import ensurepip` fails and `python -m venv` leaves a half-made folder.
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
	    echo "Making .venv with $$chosen ($$version)"; \
	    "$$chosen" -m venv .venv || { rm -rf .venv; echo "$$chosen could not make .venv: its message is above." >&2; exit 1; }; \
	  elif [ -n "$$bare" ]; then \
	    echo "$$bare cannot make virtual environments: install its venv module (Debian, Ubuntu: apt install $${bare##*/}-venv) and call make again." >&2; exit 1; \
	  else \
	    echo "Python 3.11 or newer is needed, but$${found:- none was found,} so install one (Debian: apt install python3 python3-venv; macOS: brew install python) or name one: make PYTHON=/path/to/python3 lab." >&2; exit 1; \
	  fi; \
	fi
	@rm -f $@
	@options=$$($(RUN) tools/torch_build.py "$(TORCH)" "$(TORCH_INDEX)") || exit 1; \
	$(RUN) -m pip install --quiet --disable-pip-version-check $$options -r requirements.txt || \
	  { echo "The installation failed: pip's message is above, and the next call of make goes on from here." >&2; exit 1; }
	@mkdir -p $(SETTINGS)
	@echo '$(NO_NEWS)' > $(SETTINGS)/overrides.json
	@echo $(TORCH) > $@

# The peers are needed here only. The stamp is left out while one of them is missing: the next call tries again.
.venv-bench/.installed: .venv/.installed bench/environment.py
	@$(RUN) bench/environment.py .venv-bench
