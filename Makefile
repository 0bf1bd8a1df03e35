# Truc: build, test and run. `make help` lists the targets.
#
# Everything that is made lands under $(BUILD); MODE picks the flavour: release (default), asan, tsan, cover.
V     ?= 0
MODE  ?= release
BUILD ?= build/$(MODE)
CC    ?= gcc
DATA  ?=

ifeq ($(origin CC),default)
CC := gcc
endif

Q := $(if $(filter 1,$(V)),,@)
say = @printf '  %-5s %s\n' $(1) $(2)

PKGS     := libzmq libuv libcrypto libprotobuf-c jansson yaml-0.1
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -llmdb -lxxhash -lcsv -lpthread -lm

WARN     := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Werror
CPPFLAGS += -D_GNU_SOURCE -Iinclude -I. -I$(BUILD)/gen $(PKG_CFLAGS) -include proto/banned.h
CFLAGS_release := -O2 -g
CFLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_tsan    := -O1 -g -fsanitize=thread
CFLAGS_cover   := -O0 -g --coverage
CFLAGS_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS   += -std=gnu11 $(CFLAGS_$(MODE)) $(WARN)
LDFLAGS_asan   := -fsanitize=address,undefined
LDFLAGS_tsan   := -fsanitize=thread
LDFLAGS_cover  := --coverage
LDFLAGS_fuzz   := -fsanitize=fuzzer-no-link,address,undefined
LDFLAGS  += $(LDFLAGS_$(MODE))

# --- sources: a folder is a module, a module is a wildcard ---------------------------------------------------------
SCHEMAS   := $(wildcard proto/*.proto)
# CloudEvents are read and written by proto/event.c without unpacking; the schema is for other languages.
GEN_C     := $(patsubst proto/%.proto,$(BUILD)/gen/%.pb-c.c,$(filter-out proto/cloudevents.proto,$(SCHEMAS)))
GEN_H     := $(GEN_C:.c=.h)
PROTO_C   := $(wildcard proto/*.c)
CORE_C    := $(wildcard hub/core/*.c)
STORE_C   := $(wildcard hub/store/*.c)
NET_C     := $(wildcard hub/net/*.c)
HUB_C     := $(wildcard hub/*.c)
ADMIN_C   := $(wildcard hub/admin/*.c)
CLIENT_C  := $(wildcard adapters/client/*.c)
DRAFT_C   := $(wildcard adapters/draft/*.c)
FILES_C   := $(wildcard adapters/files/*.c)
IMPORT_C  := $(wildcard adapters/import/*.c)
DEMO_C    := $(wildcard deploy/demo/*.c)
TEST_C    := $(wildcard tests/unit/*/*.c tests/contract/*.c)
BENCH_C   := $(wildcard tests/bench/*.c)
CRASH_C   := $(wildcard tests/crash/*.c)
SIM_C     := $(wildcard tests/sim/*.c)
FUZZ_C    := $(wildcard tests/fuzz/fuzz_*.c)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
GEN_O    := $(GEN_C:$(BUILD)/gen/%.c=$(BUILD)/obj/gen/%.o)
LIBPROTO := $(BUILD)/libtruc-proto.a
LIBCORE  := $(BUILD)/libhub-core.a
LIBSTORE := $(BUILD)/libhub-store.a
LIBNET   := $(BUILD)/libhub-net.a
LIBTRUC  := $(BUILD)/libtruc.a
LIBIMPORT := $(BUILD)/libtruc-import.a
TESTS    := $(TEST_C:%.c=$(BUILD)/%)
BENCHES  := $(patsubst %.c,$(BUILD)/%,$(filter-out tests/bench/inside.c,$(BENCH_C)))
CRASHES  := $(CRASH_C:%.c=$(BUILD)/%)
FUZZES   := $(FUZZ_C:%.c=$(BUILD)/%)
POWERLOSS := $(BUILD)/tests/powerloss/record.so $(BUILD)/tests/powerloss/rows
PROGRAMS := $(BUILD)/truc-hub $(BUILD)/truc $(BUILD)/truc-files $(BUILD)/truc-import $(BUILD)/demo-agency

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

all: $(PROGRAMS) ## build the programs

$(BUILD)/gen/%.pb-c.c $(BUILD)/gen/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	$(call say,PB,$<)
	$(Q)protoc-c -Iproto --c_out=$(BUILD)/gen $<

# Generated code is not ours to lint.
$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 $(CFLAGS_$(MODE)) -I$(BUILD)/gen $(PKG_CFLAGS) -c -o $@ $<

$(BUILD)/obj/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(LIBPROTO): $(call obj,$(PROTO_C)) $(GEN_O)
$(LIBCORE): $(call obj,$(CORE_C))
$(LIBSTORE): $(call obj,$(STORE_C))
$(LIBNET): $(call obj,$(NET_C))
$(LIBTRUC): $(call obj,$(CLIENT_C))
$(LIBIMPORT): $(call obj,$(filter-out adapters/import/main.c,$(IMPORT_C)) $(DRAFT_C))
%.a:
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/truc-hub: $(call obj,$(HUB_C)) $(LIBNET) $(LIBSTORE) $(LIBCORE) $(LIBPROTO)
$(BUILD)/truc: $(call obj,$(ADMIN_C)) $(LIBTRUC) $(LIBSTORE) $(LIBCORE) $(LIBPROTO)
$(BUILD)/truc-files: $(call obj,$(FILES_C) $(DRAFT_C)) $(LIBTRUC) $(LIBPROTO)
$(BUILD)/truc-import: $(call obj,adapters/import/main.c) $(LIBIMPORT) $(LIBTRUC) $(LIBPROTO)
$(BUILD)/demo-agency: $(call obj,$(DEMO_C)) $(LIBIMPORT) $(LIBTRUC) $(LIBPROTO)
$(PROGRAMS):
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

# A test links the libraries of its own layer and those below; cmocka prints the counts.
$(BUILD)/tests/unit/proto/%: $(BUILD)/obj/tests/unit/proto/%.o $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -lcmocka
$(BUILD)/tests/unit/core/%: $(BUILD)/obj/tests/unit/core/%.o $(LIBCORE) $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -lcmocka
$(BUILD)/tests/unit/import/%: $(BUILD)/obj/tests/unit/import/%.o $(LIBIMPORT) $(LIBTRUC) $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -lcmocka
$(BUILD)/tests/unit/client/%: $(BUILD)/obj/tests/unit/client/%.o $(LIBTRUC) $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -lcmocka
# The command's own objects are no library: all but main go into its tests.
$(BUILD)/tests/unit/admin/%: $(BUILD)/obj/tests/unit/admin/%.o $(filter-out %/main.o,$(call obj,$(ADMIN_C))) $(LIBTRUC) $(LIBSTORE) $(LIBCORE) $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -lcmocka
# The same for the folder adapter.
$(BUILD)/tests/unit/files/%: $(BUILD)/obj/tests/unit/files/%.o $(filter-out %/main.o,$(call obj,$(FILES_C) $(DRAFT_C))) $(LIBTRUC) $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -lcmocka
$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(LIBNET) $(LIBSTORE) $(LIBCORE) $(LIBTRUC) $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -lcmocka
$(BUILD)/tests/contract/%: $(BUILD)/obj/tests/contract/%.o $(LIBSTORE) $(LIBCORE) $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -lcmocka
$(BUILD)/tests/crash/%: $(BUILD)/obj/tests/crash/%.o $(LIBTRUC) $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)
# Preloaded into programs of any flavour: no sanitizer in it.
$(BUILD)/tests/powerloss/record.so: tests/powerloss/record.c
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -D_GNU_SOURCE -include proto/banned.h -std=gnu11 -O2 -g $(WARN) -fPIC -shared -o $@ $<
$(BUILD)/tests/powerloss/%: $(BUILD)/obj/tests/powerloss/%.o $(LIBSTORE) $(LIBCORE) $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)
# Some of them hold the hub itself, without its sockets; stages.c also takes the place of its threads.
STAGES_WRAP := hub_verify_start hub_writer_submit hub_writer_finished hub_core_begin_row hub_core_end_row \
               truc_checkpoint_sign hub_send_receipts hub_send_settled
$(BUILD)/tests/bench/stages: LDFLAGS += $(STAGES_WRAP:%=-Wl,--wrap=%)
$(BUILD)/tests/bench/stages $(BUILD)/tests/bench/fill: $(BUILD)/obj/tests/bench/inside.o $(filter-out %/main.o,$(call obj,$(HUB_C)))
# The simulator: the real objects, with the calls to threads, clocks, files and keys led to tests/sim (--wrap), and LMDB,
# libuv and the sockets not linked at all: tests/sim has them.
SIM_WRAP := pthread_create pthread_join pthread_mutex_init pthread_mutex_destroy pthread_mutex_lock pthread_mutex_unlock \
  pthread_cond_init pthread_cond_destroy pthread_cond_wait pthread_cond_timedwait pthread_cond_signal \
  pthread_cond_broadcast pthread_setname_np clock_gettime usleep open close fsync pwrite fallocate statvfs fstatvfs flock \
  eventfd eventfd_write epoll_create1 printf zmq_ctx_new zmq_ctx_term truc_log truc_random truc_key_sign \
  truc_key_verify truc_key_from_spki truc_key_from_ed25519 truc_key_load
SIM_LINK := $(SIM_WRAP:%=-Wl,--wrap=%) $(filter-out -llmdb -luv,$(PKG_LIBS))
SIM_OBJECTS := $(call obj,$(SIM_C)) $(filter-out %/hub/main.o,$(call obj,$(HUB_C))) $(LIBSTORE) $(LIBCORE) $(LIBTRUC) $(LIBPROTO)
SIMULATE := $(BUILD)/tests/sim/simulate
$(SIMULATE): $(SIM_OBJECTS)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(SIM_LINK)
$(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o $(LIBTRUC) $(LIBSTORE) $(LIBCORE) $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS)

# A fuzz target: libFuzzer's main in MODE=fuzz (clang), otherwise our driver, which runs the corpus and plain mutations.
FUZZ_MAIN = $(if $(filter fuzz,$(MODE)),,$(BUILD)/obj/tests/fuzz/driver.o)
$(BUILD)/tests/fuzz/fuzz_verify: $(filter-out %/main.o,$(call obj,$(HUB_C))) $(LIBNET)
$(BUILD)/tests/fuzz/fuzz_files: $(filter-out %/main.o,$(call obj,$(FILES_C)))
$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/obj/tests/fuzz/seed.o $(FUZZ_MAIN) $(LIBIMPORT) $(LIBTRUC) $(LIBSTORE) $(LIBCORE) $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $(if $(filter fuzz,$(MODE)),-fsanitize=fuzzer) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(PKG_LIBS) -lcmocka

# --- what people run -----------------------------------------------------------------------------------------------
deps: ## install the Debian packages of deploy/deps that are missing
	@deploy/install-deps

demo: deps ## run four agencies over a hub that is killed in between (DATA=../shared/data: on real files)
	@$(MAKE) --no-print-directory all
	@deploy/demo/run --build $(BUILD) $(if $(DATA),--data $(DATA))

check: deps check-layers ## build and run every test; the last line counts them
	@$(MAKE) --no-print-directory -j2 all tests $(if $(LIBFUZZER),,fuzzes)
	$(if $(LIBFUZZER),@$(MAKE) --no-print-directory -j2 $(FUZZING) fuzzes)
	@tests/run --build $(BUILD) $(if $(LIBFUZZER),--fuzz $(FUZZ_BUILD))

check-asan: deps ## the suites under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory -j2 MODE=asan all tests fuzzes
	@tests/run --build build/asan --sanitizer asan

check-tsan: deps ## the suites under ThreadSanitizer
	@$(MAKE) --no-print-directory -j2 MODE=tsan all tests
	@tests/run --build build/tsan --sanitizer tsan

check-layers: ## fail where an include breaks the layers
	@tests/check-layers

check-format: ## fail where a file is not formatted (needs clang-format)
	@clang-format --dry-run -Werror $(FORMATTED)

format: ## format the sources (needs clang-format)
	@clang-format -i $(FORMATTED)

check-clang: ## build everything with clang: no warnings there either
	@$(MAKE) --no-print-directory -j2 CC=clang BUILD=build/clang all tests

# What is too long for `check`; a target of another suite joins with LONG += target.
LONG_ENV = TRUC_LONG=1 TRUC_FAULT_ROUNDS=500 TRUC_POWERLOSS_POINTS=$(POINTS) TRUC_MODULE_TIMEOUT=7200
check-long: deps ## the long suites: power losses, faults, bad links, and the targets of LONG (tests/README.md)
	@$(MAKE) --no-print-directory -j2 all $(POWERLOSS) $(CRASHES)
	@$(LONG_ENV) tests/run --build $(BUILD) --only powerloss/ --only faults/
	$(Q)set -e; for target in $(LONG); do $(MAKE) --no-print-directory $$target; done

POINTS ?= 2000
powerloss: deps ## power losses of a recorded hub: POINTS=n states of its disk (2000)
	@$(MAKE) --no-print-directory -j2 all $(POWERLOSS) $(CRASHES)
	@TRUC_POWERLOSS_POINTS=$(POINTS) TRUC_MODULE_TIMEOUT=7200 tests/run --build $(BUILD) --only powerloss

# --- the simulator: tests/sim ---
sim: deps ## SEEDS=n simulated worlds (2000) of SECONDS=t virtual seconds of trouble each (10); SEED=s: one, with its trace
	@$(MAKE) --no-print-directory -j2 $(SIMULATE)
	@$(SIMULATE) $(if $(filter command% environment%,$(origin SECONDS)),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000))

sim-mutants: deps ## the simulator finds each of the bugs that tests/sim/mutants plants, within SEEDS=n (2000)
	@$(MAKE) --no-print-directory -j2 $(SIMULATE)
	@CC='$(CC)' COMPILE='$(CPPFLAGS) $(CFLAGS)' LINK='$(LDFLAGS) $(SIM_LINK)' \
	  tests/sim/mutate $(BUILD) $(or $(SEEDS),2000) $(SIM_OBJECTS)
LONG += sim-mutants

# --- fuzzing: tests/fuzz, one file a target ---
FUZZ_BUILD ?= build/fuzz
FUZZING    = MODE=fuzz CC=clang BUILD=$(FUZZ_BUILD)
LIBFUZZER  = $(wildcard $(shell clang -print-resource-dir 2>/dev/null)/lib/linux/libclang_rt.fuzzer-x86_64.a \
               $(shell clang -print-resource-dir 2>/dev/null)/lib/linux/libclang_rt.fuzzer-aarch64.a)
SECONDS    ?= 60
FUZZ_NAMES := $(FUZZ_C:tests/fuzz/fuzz_%.c=%)

fuzz: deps ## fuzz one parser: TARGET=name SECONDS=n (60); goes on where the last run stopped
	@$(if $(filter $(TARGET),$(FUZZ_NAMES)),,echo "TARGET is one of: $(FUZZ_NAMES)" >&2; exit 2)
	@$(MAKE) --no-print-directory -j2 $(FUZZING) $(FUZZ_BUILD)/tests/fuzz/fuzz_$(TARGET)
	@tests/fuzz/run --build $(FUZZ_BUILD) --seconds $(SECONDS) $(TARGET)

fuzz-all: deps ## a campaign: every target for SECONDS=n, one after the other
	@$(MAKE) --no-print-directory -j2 $(FUZZING) fuzzes
	@tests/fuzz/run --build $(FUZZ_BUILD) --seconds $(SECONDS) $(FUZZ_NAMES)

fuzz-campaign: deps ## until every target has had CPU=n seconds (900) in all, JOBS=n at a time; may be stopped and goes on
	@$(MAKE) --no-print-directory -j2 $(FUZZING) fuzzes
	@tests/fuzz/run --build $(FUZZ_BUILD) --campaign $(or $(CPU),900) --jobs $(or $(JOBS),2) $(FUZZ_NAMES)

fuzz-smoke: deps ## every fuzz target over its seeds and a few thousand mutations, as `check` runs them
	@$(MAKE) --no-print-directory -j2 $(if $(LIBFUZZER),$(FUZZING)) fuzzes
	@tests/run --build $(BUILD) $(if $(LIBFUZZER),--fuzz $(FUZZ_BUILD)) --only fuzz/

fuzz-seeds: ## write the seeds of tests/fuzz/corpus again with the project's own encoders; findings kept there stay
	@$(MAKE) --no-print-directory -j2 fuzzes
	$(Q)for t in $(FUZZ_NAMES); do mkdir -p tests/fuzz/corpus/$$t && $(BUILD)/tests/fuzz/fuzz_$$t --seeds tests/fuzz/corpus/$$t || exit 1; done

fuzzes: $(FUZZES)

cover: deps ## line coverage of parsers and of the whole, from the suites of `check` (ONLY=pattern: some of them)
	@find build/cover -name '*.gcda' -delete 2>/dev/null || true
	@$(MAKE) --no-print-directory -j2 MODE=cover all tests fuzzes
	@tests/run --build build/cover $(if $(ONLY),--only $(ONLY)) || echo "cover: some tests failed: the table is of what ran"
	@tests/cover --build build/cover

bench: deps ## events a second, latencies, memory, beside this machine's limits (FULL=1: an hour, with the peers and 10 million events)
	@$(MAKE) --no-print-directory -j2 all benches
	@tests/bench/run --build $(BUILD)

bench-stages: deps ## instructions an event of each stage, the hottest functions (RENEW=1: keep them as the guard's figures)
	@$(MAKE) --no-print-directory -j2 all $(BUILD)/tests/bench/stages
	@tests/bench/instructions --build $(BUILD) $(if $(filter 1,$(RENEW)),--renew)

bench-guard: deps ## fail where the submit path costs over 5 % more instructions than committed
	@$(MAKE) --no-print-directory -j2 all $(BUILD)/tests/bench/stages
	@tests/bench/instructions --build $(BUILD) --guard

tests: $(TESTS) $(CRASHES) $(POWERLOSS) $(SIMULATE)
benches: $(BENCHES)
FORMATTED = $(wildcard include/truc/*.h proto/*.[ch] hub/*.[ch] hub/*/*.[ch] adapters/*/*.[ch] tests/*/*.[ch] tests/*/*/*.[ch] deploy/demo/*.[ch])

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

clean: ## remove everything that was built
	rm -rf build

.PHONY: sim sim-mutants fuzz fuzz-all fuzz-campaign fuzz-smoke fuzz-seeds fuzzes cover powerloss check-long all help clean deps demo check check-asan check-tsan check-layers check-format check-clang format bench bench-stages bench-guard tests benches
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
