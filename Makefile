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
CFLAGS   += -std=gnu11 $(CFLAGS_$(MODE)) $(WARN)
LDFLAGS_asan   := -fsanitize=address,undefined
LDFLAGS_tsan   := -fsanitize=thread
LDFLAGS_cover  := --coverage
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
FILES_C   := $(wildcard adapters/files/*.c)
IMPORT_C  := $(wildcard adapters/import/*.c)
DEMO_C    := $(wildcard deploy/demo/*.c)
TEST_C    := $(wildcard tests/unit/*/*.c tests/contract/*.c)
BENCH_C   := $(wildcard tests/bench/*.c)
CRASH_C   := $(wildcard tests/crash/*.c)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
GEN_O    := $(GEN_C:$(BUILD)/gen/%.c=$(BUILD)/obj/gen/%.o)
LIBPROTO := $(BUILD)/libtruc-proto.a
LIBCORE  := $(BUILD)/libhub-core.a
LIBSTORE := $(BUILD)/libhub-store.a
LIBNET   := $(BUILD)/libhub-net.a
LIBTRUC  := $(BUILD)/libtruc.a
LIBIMPORT := $(BUILD)/libtruc-import.a
TESTS    := $(TEST_C:%.c=$(BUILD)/%)
BENCHES  := $(BENCH_C:%.c=$(BUILD)/%)
CRASHES  := $(CRASH_C:%.c=$(BUILD)/%)
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
$(LIBIMPORT): $(call obj,$(filter-out adapters/import/main.c,$(IMPORT_C)))
%.a:
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/truc-hub: $(call obj,$(HUB_C)) $(LIBNET) $(LIBSTORE) $(LIBCORE) $(LIBPROTO)
$(BUILD)/truc: $(call obj,$(ADMIN_C)) $(LIBTRUC) $(LIBSTORE) $(LIBCORE) $(LIBPROTO)
$(BUILD)/truc-files: $(call obj,$(FILES_C)) $(LIBTRUC) $(LIBPROTO)
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
$(BUILD)/tests/unit/files/%: $(BUILD)/obj/tests/unit/files/%.o $(filter-out %/main.o,$(call obj,$(FILES_C))) $(LIBTRUC) $(LIBPROTO)
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
$(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o $(LIBTRUC) $(LIBSTORE) $(LIBCORE) $(LIBPROTO)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

# --- what people run -----------------------------------------------------------------------------------------------
deps: ## install the Debian packages of deploy/deps that are missing
	@deploy/install-deps

demo: deps ## run four agencies over a hub that is killed in between (DATA=../shared/data: on real files)
	@$(MAKE) --no-print-directory all
	@deploy/demo/run --build $(BUILD) $(if $(DATA),--data $(DATA))

check: deps check-layers ## build and run every test; the last line counts them
	@$(MAKE) --no-print-directory -j2 all tests
	@tests/run --build $(BUILD)

check-asan: deps ## the suites under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory -j2 MODE=asan all tests
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

bench: deps ## receipted and delivered events a second, beside this machine's own limits
	@$(MAKE) --no-print-directory -j2 all benches
	@tests/bench/run --build $(BUILD)

tests: $(TESTS) $(CRASHES)
benches: $(BENCHES)
FORMATTED = $(wildcard include/truc/*.h proto/*.[ch] hub/*.[ch] hub/*/*.[ch] adapters/*/*.[ch] tests/*/*.[ch] tests/*/*/*.[ch] deploy/demo/*.[ch])

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

clean: ## remove everything that was built
	rm -rf build

.PHONY: all help clean deps demo check check-asan check-tsan check-layers check-format check-clang format bench tests benches
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
