# billcycle: `make demo` shows it, `make test` tests it. Neither needs anything
# but Go; PostgreSQL is installed if it is missing (setup.sh).

# Nothing in the house needs a C compiler, and a fresh machine has none.
export CGO_ENABLED = 0
export PATH := $(PATH):/usr/local/go/bin

# Go stamps the commit into the program, but git refuses to read a checkout
# that belongs to someone else; then there is no stamp.
VCS = $(shell git rev-parse --git-dir >/dev/null 2>&1 && echo auto || echo false)

.PHONY: help setup build test torture demo bench clean

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile

setup: ## install PostgreSQL from the system's packages if it is missing
	@./setup.sh

build: setup ## bin/billcycle
	go build -trimpath -buildvcs=$(VCS) -o bin/billcycle ./cmd/billcycle

test: ## gofmt, go vet and all tests, on a throwaway PostgreSQL
	@./setup.sh tests
	@unformatted=$$("$$(go env GOROOT)/bin/gofmt" -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):" $$unformatted; exit 1; fi
	go vet ./...
	go run ./postgres/throwaway go test -timeout 30m ./...

# Of the torture: see docs/torture.md.
WORKERS = 2 4
KILLS = 500
RESTARTS = 50
OTHERS = 30
FILLS = $(if $(filter 0,$(shell id -u)),10,0)
SEED := $(shell date +%s)

torture: ## months of nights, killed and disturbed at every statement; and that faulty programs are caught
	@./setup.sh tests
	BILLCYCLE_TORTURE=1 go test ./rehearsal -run '^(TestTorture|TestMutantsCaught|TestWorkersKilledAndFrozen)$$' -count=1 -timeout 0 -v -args -torture.workers "$(WORKERS)" -torture.kills $(KILLS) \
	 -torture.restarts $(RESTARTS) -torture.others $(OTHERS) -torture.fills $(FILLS) -torture.seed $(SEED)

demo: build ## a synthetic biller lived through night by night, into demo-out/
	rm -rf demo-out
	bin/billcycle demo --out demo-out
	@echo
	@echo "  demo-out/outbox/print/  the members' statements, bundled for a print vendor; demo-out/statements/ the paperless ones"
	@echo "  demo-out/outbox/ach/    the debits, as Nacha files"
	@echo "  demo-out/outbox/journal/  what the general ledger is to know, as CSV"
	@echo "  demo-out/archive/       what came in and was taken; what holds account numbers is encrypted"
	@[ -n "$$BILLCYCLE_DATABASE" ] || \
	 echo "  bin/billcycle account $$(cat demo-out/archive/members/*/* | sed -n '2s/,.*//p') --data demo-out    a member's account, every cent explained"

bench: build ## size this machine: every stage of a night beside its floor
	bin/billcycle bench

clean: ## remove what the other targets made
	rm -rf bin demo-out
