#!/usr/bin/env bash
# Hash locks for every set-up.  They hold names, versions and hashes, and no address.
# usage: requirements/compile.sh UV [FOLDER]   (FOLDER: where the locks are written)
set -euo pipefail
uv=$1
out=${2:-requirements}
cd "$(dirname "$0")/.."
compile() { "$uv" pip compile -q --generate-hashes --universal --no-header --no-annotate \
    --no-emit-index-url --python-version 3.11 "$@"; }
compile pyproject.toml requirements/build.in --extra test -o "$out/test.txt"
compile pyproject.toml -c "$out/test.txt" -o "$out/run.txt"
compile requirements/build.in -c "$out/test.txt" -o "$out/build.txt"
compile pyproject.toml requirements/build.in --extra book -c "$out/test.txt" -o "$out/book.txt"
compile pyproject.toml --extra io -c "$out/test.txt" -o "$out/io.txt"
compile pyproject.toml --extra lmfit -c "$out/test.txt" -o "$out/lmfit.txt"
compile pyproject.toml --extra arviz -c "$out/test.txt" -o "$out/arviz.txt"
compile pyproject.toml --extra cluster -c "$out/test.txt" -o "$out/cluster.txt"
compile pyproject.toml --extra gpu -c "$out/test.txt" -o "$out/gpu.txt"
compile pyproject.toml requirements/build.in requirements/peers.in -c "$out/test.txt" -o "$out/peers.txt"
