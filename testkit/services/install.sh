#!/bin/sh
# Installs the servers and browsers that the tests start. Needs root and apt for what is missing; where it
# cannot, it says so, and the tests that need the missing part skip loudly (with CI=true they fail).
set -eu

missing=""
need() { # program package
	PATH="$PATH:/usr/sbin:/usr/local/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need redis-server redis-server
need redis-sentinel redis-sentinel
need nginx nginx
need varnishd varnish
[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] || missing="$missing libnginx-mod-http-lua"
need chromium chromium
need firefox-esr firefox-esr
need WebKitWebDriver webkit2gtk-driver # with it comes MiniBrowser
need Xvfb xvfb
need java default-jre-headless
need mvn maven
need node nodejs
need npm npm
need openssl openssl
need bwrap bubblewrap # a container without an engine: read-only, another user, a seccomp filter
need systemd-analyze systemd
need cc build-essential
need promtool prometheus # with it comes the server
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"

kafka() { # Kafka's jars, from Maven into .cache
	root=$(cd "$(dirname "$0")/../.." && pwd)
	ls "$root"/.cache/kafka/libs/kafka_2.13-*.jar >/dev/null 2>&1 && return 0
	command -v mvn >/dev/null 2>&1 || return 0
	echo "fetching Kafka's jars"
	(cd "$root/deploy/kafka" && mvn -q -B dependency:copy-dependencies) ||
		echo "!!! Kafka's jars could not be fetched" >&2
}

# Renders the Helm chart, with Helm's own modules from the Go module proxy: a minute, once.
chart_renderer() {
	root=$(cd "$(dirname "$0")/../.." && pwd)
	command -v go >/dev/null 2>&1 || return 0
	version=$(cat "$root"/testkit/helm/* | cksum | tr -d ' ')
	[ -x "$root/.cache/helm/render-$version" ] && return 0
	echo "building the chart's renderer"
	(cd "$root/testkit/helm" && GOFLAGS="-mod=readonly -trimpath -buildvcs=false" \
		go build -ldflags="-s -w" -o "$root/.cache/helm/render-$version" .) ||
		echo "!!! the chart's renderer could not be built" >&2
}

if [ -z "$missing" ]; then
	kafka
	chart_renderer
	exit 0
fi
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
	echo "!!! not installed, and not root with apt to install them:$missing" >&2
	kafka
	chart_renderer
	exit 0
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# Debian starts what it installs. The tests start their own, on free ports, so nothing else shall run.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
kafka
chart_renderer
