# Two commands on a fresh Linux x86-64 machine with Rust, Python 3 (pip) and a C++ compiler:
#   make demo   sets up, builds, runs the main job on the shipped miniature world
#   make test   sets up, checks (fmt, clippy, rustdoc) and runs all tests
#
# TORCH=cuda takes the CUDA wheels of libtorch (5 GB) and builds with the `cuda` feature.
# An exported LIBTORCH (folder with lib/ and include/) is used as it is.

TORCH ?= cpu
TORCH_VERSION := 2.13.0
CARGO ?= cargo
PYTHON ?= python3

ifeq ($(strip $(LIBTORCH)),)
LIBTORCH := $(CURDIR)/.libtorch/$(TORCH)/torch
LIBTORCH_STAMP := .libtorch/$(TORCH)/.complete-$(TORCH_VERSION)
endif
export LIBTORCH

ifeq ($(TORCH),cuda)
FEATURES := --features cuda
endif

BINARY := target/release/radio-eval

.PHONY: build demo test lint doc unit libtorch check-cuda fuzz bench wheel clean

build: libtorch
	$(CARGO) build --release --locked $(FEATURES)

demo: build
	./scripts/demo.sh $(BINARY)

test: lint doc unit

lint: libtorch
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

doc: libtorch
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# Last, so that a log ends with the test runner's own summary.
unit: libtorch
	$(CARGO) test --locked

libtorch: $(LIBTORCH_STAMP)

# The wheel alone links to two CUDA libraries even on the CPU: cupti and cudart, a few MB each.
.libtorch/cpu/.complete-$(TORCH_VERSION):
	./scripts/fetch-libtorch.sh $(PYTHON) .libtorch/cpu --no-deps torch==$(TORCH_VERSION) \
		nvidia-cuda-cupti==13.0.85 nvidia-cuda-runtime==13.0.96
	touch $@

.libtorch/cuda/.complete-$(TORCH_VERSION):
	./scripts/fetch-libtorch.sh $(PYTHON) .libtorch/cuda torch==$(TORCH_VERSION)
	touch $@

# Builds with the `cuda` feature against the CUDA wheels and proves that the linker kept libtorch_cuda.
check-cuda:
	$(MAKE) libtorch TORCH=cuda LIBTORCH=
	LIBTORCH=$(CURDIR)/.libtorch/cuda/torch $(CARGO) build --locked --features cuda --target-dir target/cuda
	readelf -d target/cuda/debug/radio-eval | grep -E 'NEEDED.*libtorch_cuda'

# Damaged files for every parser: INPUTS of them each, from number FROM on (tests/fuzz).
INPUTS ?= 1000000
FROM ?= 0
fuzz: libtorch
	RADIO_EVAL_FUZZ_INPUTS=$(INPUTS) RADIO_EVAL_FUZZ_FROM=$(FROM) $(CARGO) test --locked --test fuzz -- --nocapture

# What `pip install radio-eval` installs, in target/wheels.
wheel: libtorch
	$(PYTHON) scripts/build-wheel.py

bench: libtorch
	$(CARGO) bench --locked

clean:
	$(CARGO) clean
