// Takes go-elasticsearch through the steps of ../README.md: its typed client, or its low-level one.
//
//	go run . typed
//	go run . low-level
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/elastic/go-elasticsearch/v9"
)

const question = "flesh-eating bad guy"

var (
	url    = os.Getenv("ES_URL")
	index  = os.Getenv("INDEX")
	rerank = os.Getenv("RERANK") != ""
	away   = index + "-missing"
	films  []json.RawMessage
)

type result = map[string]any

// A step has a name and something to do.
type step struct {
	name string
	run  func() result
}

// Makes a panic of an error: a step ends with its first one.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Returns a configuration for a client that keeps to what is tested.
func configured(address string) elasticsearch.Config {
	return elasticsearch.Config{Addresses: []string{address}, DisableRetry: true}
}

func compressed() elasticsearch.Config {
	config := configured(url)
	config.CompressRequestBody = true // Go's transport asks for gzip in answers by itself, and unpacks it
	return config
}

// A transport that remembers where requests went.
type recorder struct {
	lock  sync.Mutex
	hosts map[string]bool
}

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	r.lock.Lock()
	r.hosts["http://"+request.URL.Host] = true
	r.lock.Unlock()
	return http.DefaultTransport.RoundTrip(request)
}

// Returns whether no request went elsewhere since the record was emptied.
func (r *recorder) stayed() bool {
	return len(r.hosts) == 1 && r.hosts[url]
}

// Runs something 100 times at once, and tells how many different answers there were.
func concurrently(search func() []string) result {
	var group sync.WaitGroup
	answers := make([]string, 100)
	failures := make([]error, 100)
	for at := range answers {
		group.Add(1)
		go func() {
			defer group.Done()
			failures[at] = attempt(func() { answers[at] = strings.Join(search(), ",") })
		}()
	}
	group.Wait()
	check(errors.Join(failures...))
	distinct := map[string]bool{}
	for _, answer := range answers {
		distinct[answer] = true
	}
	return result{"answers": len(answers), "distinct": len(distinct)}
}

// Returns the error with which something ends, if any.
func attempt(run func()) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	run()
	return nil
}

func report(each step) {
	line := result{"step": each.name}
	err := attempt(func() { line["result"] = each.run() })
	if err != nil {
		line["error"] = err.Error()
	}
	fmt.Println(string(must(json.Marshal(line))))
}

func main() {
	check(json.Unmarshal(must(os.ReadFile(os.Getenv("FILMS"))), &films))
	for at, film := range films { // on a line each, for bulk requests
		line := &bytes.Buffer{}
		check(json.Compact(line, film))
		films[at] = line.Bytes()
	}
	steps := typed
	if len(os.Args) > 1 && os.Args[1] == "low-level" {
		steps = lowLevel
	}
	plain, reranked, tls := steps()
	for _, each := range plain {
		report(each)
	}
	if rerank {
		for _, each := range reranked {
			report(each)
		}
	}
	if os.Getenv("TLS_URL") != "" {
		report(tls)
	}
}
