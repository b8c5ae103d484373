# Two commands do everything on a fresh machine: `make demo` and `make test`.
SHELL := /bin/sh
PREFIX ?= /usr/local
CARGO ?= cargo
CASES ?= 1
export CUDA

.PHONY: demo test setup build bench parity lint install clean

demo: build  ## make sample data and segment it (untrained weights: the labels mean nothing yet)
	target/release/segbundle sample-data --output_dir sampledata
	target/release/segbundle run --config_file configs/inference.json --load_pretrain False --displayable_configs#highres False \
	  --datalist "\$$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))[:$(CASES)]"
	@echo "labels: eval/*/*_trans.nii.gz (made with untrained weights: they show that it runs, not anatomy)"

test: setup  ## all tests
	$(CARGO) test --release --workspace

setup:  ## libtorch, once per machine; CUDA=1 for the build that uses NVIDIA GPUs
	@python3 src/native/libtorch.py

build: setup
	$(CARGO) build --release

bench: build  ## criterion benches, then MONAI against segbundle
	$(CARGO) bench
	python3 benches/compare.py
	python3 benches/compare_training.py

parity: build  ## the same cases through MONAI and segbundle
	python3 tests/parity/parity.py

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

install: build  ## a relocatable tree: PREFIX/bin/segbundle and PREFIX/lib/segbundle/{torch,nvidia}
	install -D target/release/segbundle $(DESTDIR)$(PREFIX)/bin/segbundle
	mkdir -p $(DESTDIR)$(PREFIX)/lib/segbundle
	cd "$${LIBTORCH:-.libtorch/torch}/.." && find torch/lib nvidia -name '*.so*' 2>/dev/null | tar -chf - -T - | tar -xf - -C "$(abspath $(DESTDIR)$(PREFIX))/lib/segbundle"

clean:
	$(CARGO) clean
