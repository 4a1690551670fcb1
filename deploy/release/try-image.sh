#!/bin/sh
# Tries an image: that it says its version, and serves under the hardest settings that it is meant for. Needs Docker.
#
#   deploy/release/try-image.sh IMAGE
set -eu
image=$1

hardened() {
    # A user that /etc/passwd does not know, as OpenShift chooses one; volumes belong to its group.
    docker run --read-only --tmpfs /tmp --user 1234567890:0 --cap-drop ALL --security-opt no-new-privileges "$@"
}

hardened --rm "$image" --version
hardened --rm --entrypoint python "$image" -c '
import importlib.util, pathlib, sys
import rerank_proxy
assert importlib.util.find_spec("pip") is None, "pip is in the image"
cached = pathlib.Path(importlib.util.cache_from_source(rerank_proxy.__file__)).read_bytes()
source = pathlib.Path(rerank_proxy.__file__).stat()
assert int.from_bytes(cached[8:12], "little") == int(source.st_mtime), "the byte code is of another file"
assert pathlib.Path("/usr/share/doc/rerank-proxy/THIRD-PARTY.txt").stat().st_size > 100_000
'
container=$(hardened --detach --volume /var/lib/rerank-proxy "$image" serve --upstream http://127.0.0.1:9)
trap 'docker rm --force "$container" >/dev/null' EXIT
tries=0
until [ "$(docker inspect --format '{{.State.Health.Status}}' "$container")" = healthy ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 90 ] || [ "$(docker inspect --format '{{.State.Running}}' "$container")" != true ]; then
        docker logs "$container"
        exit 1
    fi
    sleep 1
done
docker stop --time 30 "$container" >/dev/null
status=$(docker inspect --format '{{.State.ExitCode}}' "$container")
[ "$status" -eq 0 ] || { echo "SIGTERM ended it with status $status"; exit 1; }
echo "$image works"
