# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright (c) 2026 homelab.backup contributors
#
# The commands of the README. `make demo` and `make test` start from a bare machine.

SHELL := /bin/sh
.DEFAULT_GOAL := help
PY := .venv/bin/python
VERSION := 0.1.0

# Tools call each other by name (molecule runs ansible-config), so the environment's own
# come first; pyenv's shims would win otherwise.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.cache/collections
export PYTHONPATH := $(CURDIR):$(CURDIR)/.cache/collections

.PHONY: help setup lint test test-lint test-unit test-storage demo soak bench clean changelog \
	lab-up lab-ssh lab-reset lab-down

help:  ## Show these lines
	@grep -hE '^[a-z -]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

setup:  ## Make .venv with pinned tools (installs python3-venv, git on Debian if missing)
	@tools/setup.sh

test: setup  ## Everything: lint, unit tests, storage tier
	@$(PY) tests/run.py lint unit storage

lint test-lint: setup  ## The gates (ruff, mypy, ansible-lint, ansible-test sanity, ...)
	@$(PY) tests/run.py lint

test-unit: setup  ## Unit and property tests, no lab
	@$(PY) tests/run.py unit

test-storage: setup  ## Real ZFS and SFTP: pytest tests/integration, molecule scenarios
	@$(PY) tests/run.py storage

demo: setup  ## Build the lab, back up, change data, back up again, restore a file
	@$(PY) -m tests.demo

soak: setup  ## Random histories against the offsite copy until interrupted
	@$(PY) -m tests.integration.soak

bench: setup  ## Table of ratios: detection strategies, transports, memory
	@$(PY) -m tests.bench

lab-up: setup  ## Build (first time) and start the storage lab
	@$(PY) -m tests.lab up

lab-ssh: setup  ## A shell on the lab's storage host
	@$(PY) -m tests.lab ssh

lab-reset: setup  ## Put the lab back to its pristine state
	@$(PY) -m tests.lab reset

lab-down: setup  ## Stop the lab; what was built stays cached
	@$(PY) -m tests.lab down

changelog: setup  ## Fragments and new modules into CHANGELOG.md (VERSION=0.1.0)
	@.venv/bin/antsibull-changelog release --version $(VERSION) --update-existing --reload-plugins

clean:  ## Delete .venv and caches; the lab is stopped first
	@if [ -x $(PY) ] && [ -d tests/lab ]; then $(PY) -m tests.lab down; fi
	rm -rf .venv .cache .ansible
