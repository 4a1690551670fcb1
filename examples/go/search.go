// Search for films about crime, plain and reranked by a question.
//
//	go run . [URL [INDEX]]
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/elastic/go-elasticsearch/v9"
)

const (
	plain = `{"standard": {"query": {"multi_match": {"query": "crime", "fields": ["plot", "genre"]}}}}`

	reranked = `{
		"text_similarity_reranker": {
			"retriever": ` + plain + `,
			"field": "plot",
			"inference_text": "flesh-eating bad guy"
		}
	}`
)

type answer struct {
	Hits struct {
		Hits []struct {
			Score  float64 `json:"_score"`
			Source struct {
				Title string `json:"title"`
			} `json:"_source"`
		} `json:"hits"`
	} `json:"hits"`
}

func main() {
	url, index := "http://localhost:9201", "rerank-proxy-demo-films"
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	if len(os.Args) > 2 {
		index = os.Args[2]
	}
	client, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{url}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("Plain")
	show(client, index, plain)
	fmt.Println("Reranked")
	show(client, index, reranked)
}

func show(client *elasticsearch.Client, index, retriever string) {
	body := strings.NewReader(`{"size": 5, "retriever": ` + retriever + `}`)
	response, err := client.Search(client.Search.WithIndex(index), client.Search.WithBody(body))
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	if response.IsError() {
		log.Fatal(response)
	}
	var found answer
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		log.Fatal(err)
	}
	for _, hit := range found.Hits.Hits {
		fmt.Printf("  %.4f  %s\n", hit.Score, hit.Source.Title)
	}
}
