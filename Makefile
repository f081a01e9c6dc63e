# The front door. meson does the work; each goal first installs what it needs (tools/bootstrap), so a fresh Debian 12
# machine needs nothing but make.
#
#   make run      start sandmux, run Python in a new sandbox, say what to try next
#   make test     every test           make asan | tsan   the same under sanitizers (tsan: what has threads)
#   make build    programs in build/   make lint          every style and layer check, a clang build
#   make bench    figures and table    make fuzz          FUZZ_SECONDS a target (default 60)
#   make install  PREFIX, DESTDIR      make clean         remove every build directory
#   make wheel    the Python package with the programs, in build/wheels

BUILD ?= build
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
MESON = meson setup
SANITIZED = --buildtype=debug --optimization=1 -Db_lundef=false

.PHONY: all run test build lint asan tsan fuzz bench install wheel clean
all: build

run:
	@tools/bootstrap build
	@test -f $(BUILD)/build.ninja || $(MESON) $(BUILD) --prefix=$(PREFIX)
	@ninja -C $(BUILD) sandmux sandmux-gateway sandmux-engine sandmux-agent
	@exec tools/run-demo $(BUILD)

build:
	@tools/bootstrap build
	@test -f $(BUILD)/build.ninja || $(MESON) $(BUILD) --prefix=$(PREFIX)
	@ninja -C $(BUILD)

test:
	@tools/bootstrap build test
	@$(MAKE) --no-print-directory build
	@tools/run-tests $(BUILD)

asan:
	@tools/bootstrap build test
	@test -f build-asan/build.ninja || $(MESON) build-asan $(SANITIZED) -Db_sanitize=address,undefined
	@ninja -C build-asan
	@tools/run-tests build-asan

tsan:
	@tools/bootstrap build test
	@test -f build-tsan/build.ninja || $(MESON) build-tsan $(SANITIZED) -Db_sanitize=thread
	@ninja -C build-tsan
	@tools/run-tests --suite unit build-tsan

fuzz:
	@tools/bootstrap build lint
	@test -f build-fuzz/build.ninja || CC=clang $(MESON) build-fuzz $(SANITIZED) -Dfuzz=libfuzzer -Db_sanitize=address,undefined
	@ninja -C build-fuzz
	@tools/run-fuzz build-fuzz $(FUZZ_SECONDS)

lint:
	@tools/bootstrap build lint
	@tools/lint

bench:
	@tools/bootstrap build bench
	@$(MAKE) --no-print-directory build
	@bench/run --build $(BUILD)

install: build
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@meson install -C $(BUILD)

wheel: build
	@tools/build-wheel $(BUILD)

clean:
	rm -rf build build-asan build-tsan build-fuzz build-clang build-analyze
