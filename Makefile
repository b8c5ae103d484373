# On a fresh machine, `make demo` and `make test` install libtorch and build everything they need.
SHELL := /bin/sh
PREFIX ?= /usr/local
CARGO ?= cargo
EPOCHS ?= 40
export CUDA

.PHONY: demo demo-train demo-weights test test-data setup viewer build bench parity lint install clean

DEMO = configs/demo.json
RUN = target/release/segbundle run --config_file

demo: build  ## create sample data, segment it with weights trained on other sample data, evaluate, write a report
	target/release/segbundle sample-data --output_dir sampledata
	$(RUN) "['configs/inference.json','$(DEMO)']" --output_dir eval/demo --named_labels True --preview True
	$(RUN) "['configs/train.json','configs/evaluate.json','$(DEMO)']" --output_dir eval/demo/evaluation
	target/release/segbundle report eval/demo eval/demo/evaluation
	@echo "labels: eval/demo/*/*_trans.nii.gz, pictures and Dice: eval/demo/report.html (phantoms, not patients)"
	@echo "in the browser: make viewer, then target/release/segbundle view eval/demo"

demo-train: build  ## train the demo's network on the sample data for EPOCHS epochs, evaluate, write a report
	target/release/segbundle sample-data --output_dir sampledata
	$(RUN) "['configs/train.json','$(DEMO)','configs/demo_train.json']" --output_dir eval/demo-train --max_epochs $(EPOCHS)
	$(RUN) "['configs/train.json','configs/evaluate.json','$(DEMO)']" --output_dir eval/demo-train/evaluation \
	  --ckpt_dir models --modelname demo.pt
	target/release/segbundle report eval/demo-train eval/demo-train/evaluation
	@echo "curves and Dice: eval/demo-train/report.html"

demo-weights: build  ## train the demo's network on 160 other phantoms, as its weights were: about an hour
	target/release/segbundle sample-data --output_dir sampledata/weights --cases 200 --seed 1000
	$(RUN) "['configs/train.json','$(DEMO)','configs/demo_train.json']" --output_dir eval/demo-weights \
	  --dataset_dir sampledata/weights
	target/release/segbundle convert-weights models/demo.pt sampledata/demo.safetensors --dtype float16

test: setup  ## run all tests
	$(CARGO) test --release --workspace

test-data: build  ## run the tests that need data from outside of this folder (../shared)
	python3 tests/data_tests.py

setup:  ## download libtorch, once per machine; CUDA=1 for the build with NVIDIA GPU support
	@python3 src/native/libtorch.py

viewer:  ## download NiiVue for `segbundle view`, once per machine; NIIVUE=niivue.tgz without a network
	@python3 src/tools/view/niivue.py

build: setup
	$(CARGO) build --release

bench: build  ## criterion benches, then comparison with MONAI
	$(CARGO) bench
	python3 benches/compare.py
	python3 benches/compare_training.py
	python3 benches/compare_label_maps.py

parity: build  ## compare MONAI and segbundle on the same cases
	python3 tests/parity/parity.py

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

SHARE = $(DESTDIR)$(PREFIX)/share

install: build  ## install a relocatable tree: PREFIX/bin/segbundle, PREFIX/lib/segbundle, manual pages, completions, and NiiVue after `make viewer`
	install -D target/release/segbundle $(DESTDIR)$(PREFIX)/bin/segbundle
	mkdir -p $(DESTDIR)$(PREFIX)/lib/segbundle
	cd "$${LIBTORCH:-.libtorch/torch}/.." && find torch/lib nvidia -name '*.so*' 2>/dev/null | tar -chf - -T - | tar -xf - -C "$(abspath $(DESTDIR)$(PREFIX))/lib/segbundle"
	@python3 src/tools/view/niivue.py --copy "$(DESTDIR)$(PREFIX)/lib/segbundle"
	target/release/segbundle man $(SHARE)/man/man1
	mkdir -p $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	target/release/segbundle completions bash > $(SHARE)/bash-completion/completions/segbundle
	target/release/segbundle completions zsh > $(SHARE)/zsh/site-functions/_segbundle
	target/release/segbundle completions fish > $(SHARE)/fish/vendor_completions.d/segbundle.fish

clean:
	$(CARGO) clean
