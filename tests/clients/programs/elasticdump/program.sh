#!/bin/sh
# Copies an index through a file with elasticdump: program.sh DUMP FROM TO
set -eu
for type in mapping data; do
    rm -f "$1"
    elasticdump --input="$2" --output="$1" --type=$type --quiet
    elasticdump --input="$1" --output="$3" --type=$type --quiet
done
