package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v9"
	"github.com/elastic/go-elasticsearch/v9/esapi"
)

const (
	crimeJSON = `{"multi_match": {"query": "crime", "fields": ["plot", "genre"]}}`
	plainJSON = `{"size": 5, "query": ` + crimeJSON + `}`
)

// Returns a search with the retriever; more are further members of the retriever.
func rerankedJSON(size int, more string) string {
	return fmt.Sprintf(`{"size": %d, "retriever": {"text_similarity_reranker": {
		"retriever": {"standard": {"query": %s}}, "field": "plot", "inference_text": "%s",
		"rank_window_size": 20%s}}}`, size, crimeJSON, question, more)
}

func bestJSON() string {
	if rerank {
		return rerankedJSON(5, "")
	}
	return plainJSON
}

// The parts of answers that the steps report.
type answer struct {
	Acknowledged bool
	ID           string `json:"id"`
	Result       string
	Errors       bool
	Items        []any
	Succeeded    bool
	Status       int
	Version      struct{ Number string }
	Source       struct{ Title string } `json:"_source"`
	ScrollID     string                 `json:"_scroll_id"`
	Hits         struct {
		Total struct{ Value int }
		Hits  []struct {
			ID   string `json:"_id"`
			Sort []any
		}
	}
	Responses    []answer
	Response     *answer
	IsRunning    bool `json:"is_running"`
	Completion   int  `json:"completion_status"`
	Aggregations map[string]struct{ Value float64 }
	InferenceID  string `json:"inference_id"`
	Endpoints    []struct {
		InferenceID string `json:"inference_id"`
	}
	ServiceSettings struct {
		Allocations int `json:"num_allocations"`
	} `json:"service_settings"`
	Rerank []struct{ Index int }
	Error  struct{ Type string }
}

func (a *answer) ids() []string {
	found := []string{}
	for _, hit := range a.Hits.Hits {
		found = append(found, hit.ID)
	}
	return found
}

// Reads an answer, which has to be none of an error.
func read(response *esapi.Response, err error) *answer {
	check(err)
	defer response.Body.Close()
	if response.IsError() {
		panic(response.String())
	}
	return parse(response)
}

func parse(response *esapi.Response) *answer {
	parsed := &answer{}
	check(json.NewDecoder(response.Body).Decode(parsed))
	return parsed
}

// Reads an answer that has to be an error: its status and type.
func failed(response *esapi.Response, err error) []any {
	check(err)
	defer response.Body.Close()
	if !response.IsError() {
		panic("no error was answered")
	}
	return []any{response.StatusCode, parse(response).Error.Type}
}

type lowLevelSteps struct{ client *elasticsearch.Client }

func lowLevel() (plain, better []step, tls step) {
	s := lowLevelSteps{must(elasticsearch.NewClient(configured(url)))}
	plain = []step{
		{"info", s.info}, {"index", s.index}, {"bulk", s.bulk}, {"get", s.get},
		{"search", func() result { return s.search(plainJSON) }},
		{"msearch", func() result { return s.msearch(plainJSON) }},
		{"scroll", s.scroll}, {"point in time", s.pointInTime}, {"aggregation", s.aggregation},
		{"errors", func() result {
			return s.errors(plainJSON, away, strings.Replace(plainJSON, "5", "20000", 1))
		}},
		{"compression", func() result { return s.compression(plainJSON) }},
		{"sniffing", s.sniffing},
		{"concurrency", func() result {
			return concurrently(func() []string { return find(s.client, index, bestJSON()).ids() })
		}},
	}
	better = []step{
		{"reranked search", func() result { return s.search(rerankedJSON(5, "")) }},
		{"reranked msearch", func() result { return s.msearch(rerankedJSON(5, "")) }},
		{"async search", s.asyncSearch},
		{"inference", s.inference},
		{"reranked errors", func() result {
			return s.errors(rerankedJSON(5, `, "inference_id": "`+away+`"`), index, rerankedJSON(21, ""))
		}},
		{"reranked compression", func() result { return s.compression(rerankedJSON(5, "")) }},
	}
	return plain, better, step{"tls", s.tls}
}

func (s lowLevelSteps) info() result {
	response := must(s.client.Info())
	product := response.Header.Get("X-Elastic-Product")
	return result{"version": read(response, nil).Version.Number, "product": product}
}

func (s lowLevelSteps) index() result {
	create := s.client.Indices.Create
	read(create(index, create.WithBody(strings.NewReader(
		`{"settings": {"number_of_replicas": 0}, "mappings": {"properties": {"released": {"type": "integer"}}}}`))))
	put := s.client.Index
	return result{"result": read(put(index, bytes.NewReader(films[0]), put.WithDocumentID("0"))).Result}
}

func (s lowLevelSteps) bulk() result {
	client, lines := must(elasticsearch.NewClient(compressed())), &strings.Builder{}
	for at, film := range films {
		fmt.Fprintf(lines, "{\"index\": {\"_id\": \"%d\"}}\n%s\n", at, film)
	}
	bulk := client.Bulk
	done := read(bulk(strings.NewReader(lines.String()), bulk.WithIndex(index), bulk.WithRefresh("true")))
	return result{"errors": done.Errors, "items": len(done.Items)}
}

func (s lowLevelSteps) get() result {
	return result{"title": read(s.client.Get(index, "0")).Source.Title}
}

func request(client *elasticsearch.Client, where, body string) (*esapi.Response, error) {
	search := client.Search
	return search(search.WithIndex(where), search.WithBody(strings.NewReader(body)))
}

func find(client *elasticsearch.Client, where, body string) *answer {
	return read(request(client, where, body))
}

func (s lowLevelSteps) search(body string) result {
	found := find(s.client, index, body)
	return result{"ids": found.ids(), "total": found.Hits.Total.Value}
}

func (s lowLevelSteps) msearch(body string) result {
	line := strings.ReplaceAll(body, "\n", " ")
	lines := fmt.Sprintf("{\"index\": \"%s\"}\n%s\n{\"index\": \"%s\"}\n%s\n", index, line, away, line)
	answers := read(s.client.Msearch(strings.NewReader(lines))).Responses
	return result{"ids": answers[0].ids(), "status": []int{answers[0].Status, answers[1].Status}}
}

func (s lowLevelSteps) scroll() result {
	search, scroll, clear := s.client.Search, s.client.Scroll, s.client.ClearScroll
	page := read(search(search.WithIndex(index), search.WithSize(5), search.WithScroll(time.Minute)))
	count := 0
	for len(page.Hits.Hits) > 0 {
		count += len(page.Hits.Hits)
		page = read(scroll(scroll.WithScrollID(page.ScrollID), scroll.WithScroll(time.Minute)))
	}
	return result{"count": count, "closed": read(clear(clear.WithScrollID(page.ScrollID))).Succeeded}
}

// Sends what the client's own methods take other arguments for in version 8 than in version 9.
func (s lowLevelSteps) perform(method, path, body string) *answer {
	request := must(http.NewRequest(method, path, strings.NewReader(body)))
	request.Header.Set("Content-Type", "application/json")
	response := must(s.client.Perform(request))
	return read(&esapi.Response{StatusCode: response.StatusCode, Body: response.Body}, nil)
}

func (s lowLevelSteps) pointInTime() result {
	id := s.perform(http.MethodPost, "/"+index+"/_pit?keep_alive=1m", "").ID
	search, after, count := s.client.Search, "", 0
	for {
		body := fmt.Sprintf(`{"size": 5, "pit": {"id": "%s"}, "sort": ["released"]%s}`, id, after)
		hits := read(search(search.WithBody(strings.NewReader(body)))).Hits.Hits
		if len(hits) == 0 {
			break
		}
		count += len(hits)
		after = `, "search_after": ` + string(must(json.Marshal(hits[len(hits)-1].Sort)))
	}
	closed := s.perform(http.MethodDelete, "/_pit", `{"id": "`+id+`"}`)
	return result{"count": count, "closed": closed.Succeeded}
}

func (s lowLevelSteps) aggregation() result {
	values := find(s.client, index, `{"size": 0, "aggs": {
		"min": {"min": {"field": "released"}}, "max": {"max": {"field": "released"}}}}`).Aggregations
	return result{"min": values["min"].Value, "max": values["max"].Value}
}

func (s lowLevelSteps) errors(missing, where, invalid string) result {
	return result{
		"missing": failed(request(s.client, where, missing)),
		"invalid": failed(request(s.client, index, invalid)),
	}
}

func (s lowLevelSteps) compression(body string) result {
	return result{"ids": find(must(elasticsearch.NewClient(compressed())), index, body).ids()}
}

func (s lowLevelSteps) sniffing() result {
	seen := &recorder{hosts: map[string]bool{}}
	config := configured(url)
	config.Transport = seen
	client := must(elasticsearch.NewClient(config))
	check(client.DiscoverNodes())
	found := find(client, index, bestJSON()).ids()
	return result{"stays": seen.stayed(), "ids": found}
}

func (s lowLevelSteps) asyncSearch() result {
	submit, get := s.client.AsyncSearch.Submit, s.client.AsyncSearch.Get
	got := read(submit(submit.WithIndex(index), submit.WithBody(strings.NewReader(rerankedJSON(5, ""))),
		submit.WithWaitForCompletionTimeout(0), submit.WithKeepOnCompletion(true)))
	id := got.ID
	for got.IsRunning {
		got = read(get(id, get.WithWaitForCompletionTimeout(30*time.Second)))
	}
	status := read(s.client.AsyncSearch.Status(id)).Completion
	deleted := read(s.client.AsyncSearch.Delete(id)).Acknowledged
	return result{"ids": got.Response.ids(), "status": status, "deleted": deleted, "after": failed(get(id))[0]}
}

func (s lowLevelSteps) inference() result {
	name, get := index+"-endpoint", s.client.InferenceGet
	// By requests: the methods take other arguments in version 8 than in version 9.
	made := read(esapi.InferencePutRequest{InferenceID: name, TaskType: "rerank", Body: strings.NewReader(
		`{"service": "elasticsearch",
		"service_settings": {"model_id": "minilm", "num_allocations": 1, "num_threads": 1}}`)}.Do(all, s.client))
	one, listed := read(get(get.WithInferenceID(name))), false
	for _, each := range read(get()).Endpoints {
		listed = listed || each.InferenceID == name
	}
	changed := read(esapi.InferenceUpdateRequest{InferenceID: name, Body: strings.NewReader(
		`{"service_settings": {"num_allocations": 2}}`)}.Do(all, s.client))
	ranked := read(esapi.InferenceRerankRequest{InferenceID: name, Body: strings.NewReader(
		`{"query": "` + question + `",
		"input": ["Two bakers fall in love.", "A cannibal helps to catch a killer."]}`)}.Do(all, s.client))
	positions := []int{}
	for _, each := range ranked.Rerank {
		positions = append(positions, each.Index)
	}
	return result{
		"put": made.InferenceID, "get": []string{one.Endpoints[0].InferenceID}, "listed": listed,
		"updated": changed.ServiceSettings.Allocations, "ranked": positions,
		"deleted": read(s.client.InferenceDelete(name)).Acknowledged,
		"after":   failed(get(get.WithInferenceID(name)))[0],
	}
}

func (s lowLevelSteps) tls() result {
	secure := func(fingerprint string) *elasticsearch.Client {
		config := configured(os.Getenv("TLS_URL"))
		config.CertificateFingerprint = fingerprint
		return must(elasticsearch.NewClient(config))
	}
	found := find(secure(os.Getenv("CA_FINGERPRINT")), index, bestJSON()).ids()
	_, err := secure(strings.Repeat("00", 32)).Info()
	return result{"ids": found, "refused": err != nil}
}
