#!/bin/sh
# Search for films about crime, plain and reranked by a question.
#
#   sh search.sh [URL [INDEX]]
set -eu

url=${1:-http://localhost:9201}
index=${2:-rerank-proxy-demo-films}

plain='{"standard": {"query": {"multi_match": {"query": "crime", "fields": ["plot", "genre"]}}}}'
reranked="{
  \"text_similarity_reranker\": {
    \"retriever\": $plain,
    \"field\": \"plot\",
    \"inference_text\": \"flesh-eating bad guy\"
  }
}"

show() {
    curl --silent --show-error --fail-with-body --header 'Content-Type: application/json' \
        "$url/$index/_search?pretty&filter_path=hits.hits._score,hits.hits._source.title" \
        --data "{\"size\": 5, \"retriever\": $1}"
}

echo Plain
show "$plain"
echo Reranked
show "$reranked"
