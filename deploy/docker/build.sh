#!/bin/sh
# The steps of the image, one word each, so that they also run where there is no container engine
# (tests/deploy/test_image.py runs them in a clean directory). Run from the root of the source tree.
#
#   build.sh tools TOOLS                 a virtual environment with what builds
#   build.sh dependencies TOOLS TARGET   a virtual environment with what runs, but for Touchline itself
#   build.sh wheel TOOLS OUT             the widget, and the wheel with the widget in it
#   build.sh application TARGET TOOLS OUT  Touchline, from that wheel, into TARGET
#
# Everything that is fetched has its hash in requirements-build.lock, requirements-runtime.lock or
# widget/package-lock.json. No lock file names a registry: the clients ask the one that they are configured for.
set -eu

usage() {
	sed -n '5,8p' "$0" >&2
	exit 64
}

tools() { # TOOLS
	python3 -m venv "$1"
	"$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
		--require-hashes -r requirements-build.lock
}

dependencies() { # TOOLS TARGET
	# Without pip: nothing in the image installs anything later.
	python3 -m venv --without-pip "$2"
	"$1/bin/uv" pip sync --quiet --require-hashes --compile-bytecode --python "$2/bin/python" \
		requirements-runtime.lock
}

wheel() { # TOOLS OUT
	PATH="$1/bin:$PATH" "$1/bin/python" -m widget.build
	"$1/bin/uv" build --quiet --wheel --no-build-isolation --python "$1/bin/python" --out-dir "$2"
}

application() { # TARGET TOOLS OUT
	"$2/bin/uv" pip install --quiet --no-deps --offline --compile-bytecode --python "$1/bin/python" \
		"$3"/touchline-*.whl
	cp deploy/docker/healthcheck.py "$1/healthcheck.py"
}

step=${1:-}
[ $# -gt 0 ] && shift
case "$step:$#" in
tools:1) tools "$1" ;;
dependencies:2) dependencies "$1" "$2" ;;
wheel:2) wheel "$1" "$2" ;;
application:3) application "$1" "$2" "$3" ;;
*) usage ;;
esac
