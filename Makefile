# On a fresh machine, `make demo` and `make test` install libtorch and build everything they need.
SHELL := /bin/sh
PREFIX ?= /usr/local
CARGO ?= cargo
CASES ?= 1
export CUDA

.PHONY: demo test test-data setup build bench parity lint install clean

demo: build  ## create sample data and segment it with untrained weights
	target/release/segbundle sample-data --output_dir sampledata
	target/release/segbundle run --config_file configs/inference.json --load_pretrain False --displayable_configs#highres False \
	  --datalist "\$$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))[:$(CASES)]"
	@echo "labels: eval/*/*_trans.nii.gz (the weights are untrained: the labels are meaningless)"

test: setup  ## run all tests
	$(CARGO) test --release --workspace

test-data: build  ## run the tests that need data from outside of this folder (../shared)
	python3 tests/data_tests.py

setup:  ## download libtorch, once per machine; CUDA=1 for the build with NVIDIA GPU support
	@python3 src/native/libtorch.py

build: setup
	$(CARGO) build --release

bench: build  ## criterion benches, then comparison with MONAI
	$(CARGO) bench
	python3 benches/compare.py
	python3 benches/compare_training.py

parity: build  ## compare MONAI and segbundle on the same cases
	python3 tests/parity/parity.py

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

install: build  ## install a relocatable tree: PREFIX/bin/segbundle and PREFIX/lib/segbundle/{torch,nvidia}
	install -D target/release/segbundle $(DESTDIR)$(PREFIX)/bin/segbundle
	mkdir -p $(DESTDIR)$(PREFIX)/lib/segbundle
	cd "$${LIBTORCH:-.libtorch/torch}/.." && find torch/lib nvidia -name '*.so*' 2>/dev/null | tar -chf - -T - | tar -xf - -C "$(abspath $(DESTDIR)$(PREFIX))/lib/segbundle"

clean:
	$(CARGO) clean
