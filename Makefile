# The README's two commands are `make demo` and `make test`. Both install what
# they need: Debian packages (as root), npm packages, Go modules and tools.

BIN      := bin/fettle
WEB_SRC  := $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null) api/openapi.yaml
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TEST_PACKAGES := oathtool swupdate cpio openssl mosquitto mosquitto-clients python3-paho-mqtt libpaho-mqtt-dev postgresql chromium exim4-daemon-light curl zstd python3-tuspy python3-dkim influxdb-client mender-client mender-artifact rauc squashfs-tools poppler-utils
UNITS    ?= 1000

export CGO_ENABLED := 1
# What is compiled does not depend on where the clone stands.
export GOFLAGS += -trimpath
# Dozens of programs hold DuckDB; gold (of gcc's binutils) links each in a third of the time, or less.
GOLD := $(if $(shell command -v ld.gold),-extldflags=-fuse-ld=gold)
TEST_LINK := -ldflags='-w $(GOLD)'
# What must be there first is made side by side: much of it is one compiler waiting for another.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j3
endif

.PHONY: cxx test-e2e test-rooms agent bench-campaign bench-detect bench-gates bench-history bench-query demo build web deps test check lint soak fuzz bench bench-deps bench-mail bench-ingest bench-growth bench-delta bench-download bench-connections bench-connections-spread clean generate

demo: build ## run the 2014 story: 1,000 simulated wall chargers, from telemetry to verified remedy
	@if [ -t 1 ]; then $(BIN) demo --units $(UNITS); else $(BIN) demo --units $(UNITS) --exit; fi

build: web agent cxx ## leave bin/fettle and bin/fettle-agent
	go build -ldflags "-X main.version=$(VERSION) $(GOLD)" -o $(BIN) ./cmd/fettle

cxx: # DuckDB links with the C++ library, which gcc alone does not bring
	@echo 'int main(void) { return 0; }' | $${CC:-gcc} -x c - -lstdc++ -o "$${TMPDIR:-/tmp}/fettle-cxx" 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] || { echo "as root: apt-get install --no-install-recommends g++"; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ >/dev/null; }

agent: ## leave bin/fettle-agent, a static binary for units; GOARCH=arm64 or GOARCH=arm GOARM=7 for others
	CGO_ENABLED=0 go build -ldflags "-s -w -X main.programVersion=$(VERSION)" -o bin/fettle-agent ./cmd/fettle-agent

web: web/dist/console/index.html ## build the console and the portal

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

web/dist/console/index.html: web/node_modules/.package-lock.json $(WEB_SRC)
	cd web && npm run --silent build
	@touch $@

deps: cxx ## the real peers that the tests run against
	@missing=""; for p in $(TEST_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" != 0 ]; then echo "as root: apt-get install --no-install-recommends$$missing"; exit 1; fi; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

.tools/golangci-lint: tools.mod tools.sum
	go build -modfile=tools.mod -ldflags "-s -w" -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# Telegraf with the plugins that tests and benchmarks use; nothing of it is changed.
TELEGRAF_TAGS := custom,inputs.mqtt_consumer,inputs.file,outputs.influxdb,outputs.influxdb_v2,outputs.http,parsers.json,parsers.influx,serializers.influx

.tools/telegraf: telegraf.mod telegraf.sum
	CGO_ENABLED=0 go build -modfile=telegraf.mod -tags $(TELEGRAF_TAGS) -ldflags "-s -w -X github.com/influxdata/telegraf/internal.Version=$$(awk '/influxdata\/telegraf v/{print substr($$3,2)}' telegraf.mod)" -o $@ github.com/influxdata/telegraf/cmd/telegraf

# A cache of this checkout: one that others fill makes golangci-lint name their files.
lint: export GOLANGCI_LINT_CACHE := $(CURDIR)/.tools/lint
# What cgo made of a file is found in Go's cache by -trimpath, whichever checkout made
# it, and golangci-lint opens the file there: that package is linted without.
lint: .tools/golangci-lint web ## format, vet, lint (types are checked where the web is built)
	nice .tools/golangci-lint run $$(go list -f '{{if not .CgoFiles}}{{.Dir}}{{end}}' ./...)
	GOFLAGS="$(filter-out -trimpath,$(GOFLAGS))" nice .tools/golangci-lint run $$(go list -f '{{if .CgoFiles}}{{.Dir}}{{end}}' ./...)
	cd web && npm run --silent lint

RECORDED := FETTLE_RECORDINGS_LOG=$(CURDIR)/.tools/recordings

# Property tests begin at one seed and try a share; make soak draws its own and tries more.
# The scenarios wait more than they work: the rest runs behind them, with what they leave of the machine.
test: export RAPID_SEED ?= 1
test: export RAPID_CHECKS ?= 40
test: deps build .tools/telegraf .tools/golangci-lint ## everything: lint, house law, unit tests with -race, real peers, browser
	@rm -f .tools/recordings
	@$(MAKE) --no-print-directory test-e2e test-rooms
	@echo "recordings used: $$(sort -u .tools/recordings 2>/dev/null | wc -l)"

test-e2e:
	$(RECORDED) FETTLE_BIN=$(CURDIR)/$(BIN) go test -timeout 40m ./e2e

# Without -race: those that start themselves a hundred times, and long sums of one goroutine.
PLAIN := /cmd/fettle$$ /internal/detect/ /internal/condition/backtest$$ /internal/api/wear$$
# With -race SQLite is compiled once more: a third of the time at -O1. All three run, whichever fails.
test-rooms: lint
	@failed=; \
	$(RECORDED) CGO_CFLAGS='-O1 -g0' nice go test -race -vet=off $(TEST_LINK) -timeout 40m $$(go list ./... | grep -v -e /e2e$$ $(PLAIN:%=-e %)) ./internal/detect/rul || failed=1; \
	$(RECORDED) nice go test -vet=off $(TEST_LINK) -timeout 40m $$(go list ./... | grep $(PLAIN:%=-e %)) || failed=1; \
	(cd web && FETTLE_BIN=$(CURDIR)/$(BIN) nice npm test --silent) || failed=1; \
	test -z "$$failed"

check: test

soak: deps build .tools/telegraf ## the long versions: random seeds, full counts (hours); their last result stands in docs/benchmarks.md
	go test -vet=off -count=1 -rapid.checks=2000 ./internal/detect/anomaly ./internal/detect/multivariate ./internal/telemetry ./internal/condition/expression
	FETTLE_SOAK=1 FETTLE_BIN=$(CURDIR)/$(BIN) go test -timeout 6h -count=1 -v -run 'Soak|DeathsAreFound|RollupsAreWhat|HolesInTheLog' ./...

fuzz: ## each fuzz test for 30 s
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	  echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime 30s -fuzzminimizetime 5s $$p || exit 1; done; done

bench-history: ## one unit's month and a cohort out of a billion values; ARGS="-values 10000000" for a short look
	go run ./bench/history $(ARGS)

bench-query: bench-deps ## what trucks report, asked of Fettle and of InfluxDB (Debian package influxdb); ARGS="-units 100 -hours 2" for a short look
	go run ./bench/query $(ARGS)

bench-detect: build ## public benchmarks of detection and prognosis that are present (FETTLE_DATA, default ../shared/data), beside published figures; ARGS="-only nab,skab" for some
	go run ./bench/detect -fettle $(BIN) $(ARGS)

bench-gates: ## rollouts of good and bad releases: how many units suffer before each is stopped, beside fixed thresholds (docs/gates.md); ARGS="-times 100" for a short look
	go run ./bench/gates $(ARGS)

bench-campaign: ## plan, pause and cancel a campaign over a million units; ARGS="-units 100000" for a short look
	go run ./bench/campaign $(ARGS)

bench-mail: ## queue 100,000 mails and send them to Postfix's smtp-sink, and some to Exim, beside Postfix's smtp-source; ARGS="-mails 10000" for a short look
	@$(MAKE) --no-print-directory deps TEST_PACKAGES=exim4-daemon-light
	@mkdir -p .tools/postfix && cd .tools/postfix && { test -d usr || { apt-get download -qq postfix 2>/dev/null && dpkg -x postfix_*.deb .; }; } # it would replace exim if it were installed
	go run ./bench/mail -sink .tools/postfix/usr/sbin/smtp-sink -source .tools/postfix/usr/sbin/smtp-source -libraries .tools/postfix/usr/lib/postfix $(ARGS)

bench-portal: build ## how long the owners' portal waits for its server with 1,000,000 units registered; ARGS="-units 20000" for a short look
	go run ./bench/portal -fettle $(BIN) $(ARGS)

lighthouse: build ## Lighthouse, mobile profile, on the portal's pages in every language
	@$(MAKE) --no-print-directory deps TEST_PACKAGES=chromium
	cd web/lighthouse && npm ci --silent && node run.mjs $(CURDIR)/$(BIN)

bench: ## Go benchmarks; compare two runs with benchstat
	go test -run '^$$' -bench . -benchmem ./...

bench-deps: # the peers that benchmarks compare with
	@$(MAKE) --no-print-directory deps TEST_PACKAGES="mosquitto influxdb"

bench-ingest: build bench-deps .tools/telegraf ## the same messages through Fettle and through Mosquitto -> Telegraf -> InfluxDB (about 10 minutes; ARGS="-connections 100 -burst 300000" for less)
	ulimit -n 20000; go run ./bench/ingest -fettle $(BIN) -telegraf .tools/telegraf $(ARGS)

bench-growth: build ## a message's cost with ten times the units, and with ten times the history, at the same rate (about 6 minutes)
	ulimit -n 20000; go run ./bench/ingest -fettle $(BIN) -growth 10 -paced 10s $(ARGS)

bench-poll: build ## idle polls of update clients with 1,000,000 units registered, beside a bare net/http handler (Debian package wrk; about 3 minutes)
	@$(MAKE) --no-print-directory deps TEST_PACKAGES=wrk
	mkdir -p .tools && go build -o .tools/bench-poll ./bench/poll # it starts itself for the bare handler
	.tools/bench-poll -fettle $(BIN) $(ARGS)

bench-delta: ## deltas beside zstd --patch-from, xdelta3 and bsdiff, over versions of Debian packages (about 5 minutes; ARGS="-bsdiff=false" for less)
	@$(MAKE) --no-print-directory deps TEST_PACKAGES="zstd xdelta3 bsdiff"
	go run ./bench/delta $(ARGS)

bench-download: ## one artifact fetched by 1,000 units at once, beside a bare file server; ARGS="-size 67108864" for a larger one
	ulimit -n 20000; go run ./bench/download $(ARGS)

bench-connections: build ## memory of idle connections, and 10,000 units back at once after an outage
	ulimit -n 20000; go run ./bench/connections -fettle $(BIN) $(ARGS)

bench-connections-spread: build deps ## 100,000 idle connections in 7 processes of role ingest at one address (about 5 minutes)
	mkdir -p .tools && go build -o .tools/bench-connections ./bench/connections # it starts itself for the clients
	ulimit -n 20000; .tools/bench-connections -fettle $(BIN) -processes 7 -idle 100000 $(ARGS)

generate: ## rewrite the golden files: API, schemas
	go test ./internal/api ./internal/api/declare -run 'Golden|OpenAPI|Schema' -update

clean:
	rm -rf bin web/dist/console web/dist/portal web/node_modules .tools
