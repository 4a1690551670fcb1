package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/elastic/go-elasticsearch/v9"
	"github.com/elastic/go-elasticsearch/v9/typedapi/core/msearch"
	"github.com/elastic/go-elasticsearch/v9/typedapi/core/scroll"
	"github.com/elastic/go-elasticsearch/v9/typedapi/core/search"
	"github.com/elastic/go-elasticsearch/v9/typedapi/types"
	"github.com/elastic/go-elasticsearch/v9/typedapi/types/enums/refresh"
)

var all = context.Background()

func some[T any](value T) *T { return &value }

func crime() *types.Query {
	return &types.Query{MultiMatch: &types.MultiMatchQuery{Query: "crime", Fields: []string{"plot", "genre"}}}
}

// --8<-- [start:reranking]
// Returns the retriever, with an endpoint unless that is empty.
func reranking(endpoint string) *types.RetrieverContainer {
	reranker := &types.TextSimilarityReranker{
		Retriever:      types.RetrieverContainer{Standard: &types.StandardRetriever{Query: crime()}},
		Field:          "plot",
		InferenceText:  question,
		RankWindowSize: some(20),
	}
	if endpoint != "" {
		reranker.InferenceId = &endpoint
	}
	return &types.RetrieverContainer{TextSimilarityReranker: reranker}
}
// --8<-- [end:reranking]

func plainly(size int) *search.Request { return &search.Request{Query: crime(), Size: &size} }

func reranked(size int) *search.Request {
	return &search.Request{Retriever: reranking(""), Size: &size}
}

func best() *search.Request {
	if rerank {
		return reranked(5)
	}
	return plainly(5)
}

func ids(hits []types.Hit) []string {
	found := []string{}
	for _, hit := range hits {
		found = append(found, *hit.Id_)
	}
	return found
}

// Returns status and type of the client's own error.
func refused(err error) []any {
	var failure *types.ElasticsearchError
	if !errors.As(err, &failure) {
		panic(errors.Join(errors.New("no ElasticsearchError was returned"), err))
	}
	return []any{failure.Status, failure.ErrorCause.Type}
}

type typedSteps struct{ client *elasticsearch.TypedClient }

func typed() (plain, better []step, tls step) {
	s := typedSteps{must(elasticsearch.NewTypedClient(configured(url)))}
	plain = []step{
		{"info", s.info}, {"index", s.index}, {"bulk", s.bulk}, {"get", s.get},
		{"search", func() result { return s.search(plainly(5)) }},
		{"msearch", func() result { return s.msearch(plainly(5)) }},
		{"scroll", s.scroll}, {"point in time", s.pointInTime}, {"aggregation", s.aggregation},
		{"errors", func() result { return s.errors(plainly(5), away, plainly(20_000)) }},
		{"compression", func() result { return s.compression(plainly(5)) }},
		{"sniffing", s.sniffing},
		{"concurrency", func() result { return concurrently(func() []string { return s.found(best()) }) }},
	}
	better = []step{
		{"reranked search", func() result { return s.search(reranked(5)) }},
		{"reranked msearch", func() result {
			return s.msearch(reranked(5))
		}},
		{"async search", s.asyncSearch},
		{"inference", s.inference},
		{"reranked errors", func() result {
			return s.errors(&search.Request{Retriever: reranking(away)}, index, reranked(21))
		}},
		{"reranked compression", func() result { return s.compression(reranked(5)) }},
	}
	return plain, better, step{"tls", s.tls}
}

func (s typedSteps) info() result {
	answer := must(s.client.Info().Do(all))
	raw := must(s.client.Info().Perform(all))
	defer raw.Body.Close()
	return result{"version": answer.Version.Int, "product": raw.Header.Get("X-Elastic-Product")}
}

func (s typedSteps) index() result {
	mappings := &types.TypeMapping{Properties: map[string]types.Property{"released": types.NewIntegerNumberProperty()}}
	settings := &types.IndexSettings{NumberOfReplicas: some("0")}
	must(s.client.Indices.Create(index).Mappings(mappings).Settings(settings).Do(all))
	answer := must(s.client.Index(index).Id("0").Document(films[0]).Do(all))
	return result{"result": answer.Result.Name}
}

func (s typedSteps) bulk() result {
	request := must(elasticsearch.NewTypedClient(compressed())).Bulk().Index(index).Refresh(refresh.True)
	for at, film := range films {
		check(request.IndexOp(types.IndexOperation{Id_: some(strconv.Itoa(at))}, film))
	}
	answer := must(request.Do(all))
	return result{"errors": answer.Errors, "items": len(answer.Items)}
}

func (s typedSteps) get() result {
	var film struct{ Title string }
	check(json.Unmarshal(must(s.client.Get(index, "0").Do(all)).Source_, &film))
	return result{"title": film.Title}
}

// --8<-- [start:search]
func (s typedSteps) search(request *search.Request) result {
	answer := must(s.client.Search().Index(index).Request(request).Do(all))
	return result{"ids": ids(answer.Hits.Hits), "total": answer.Hits.Total.Value}
}
// --8<-- [end:search]

func (s typedSteps) found(request *search.Request) []string {
	return ids(must(s.client.Search().Index(index).Request(request).Do(all)).Hits.Hits)
}

func (s typedSteps) msearch(body *search.Request) result {
	here, there := types.MultisearchHeader{Index: []string{index}}, types.MultisearchHeader{Index: []string{away}}
	responses := must(s.client.Msearch().Request(&msearch.Request{here, body, there, body}).Do(all)).Responses
	first, second := responses[0].(*types.MultiSearchItem), responses[1].(*types.ErrorResponseBase)
	return result{"ids": ids(first.Hits.Hits), "status": []int{*first.Status, second.Status}}
}

func (s typedSteps) scroll() result {
	answer := must(s.client.Search().Index(index).Size(5).Scroll("1m").Do(all))
	hits, id, count := answer.Hits.Hits, *answer.ScrollId_, 0
	for len(hits) > 0 {
		count += len(hits)
		next := must(s.client.Scroll().Request(&scroll.Request{ScrollId: id, Scroll: "1m"}).Do(all))
		hits, id = next.Hits.Hits, *next.ScrollId_
	}
	return result{"count": count, "closed": must(s.client.ClearScroll().ScrollId(id).Do(all)).Succeeded}
}

func (s typedSteps) pointInTime() result {
	id := must(s.client.OpenPointInTime(index).KeepAlive("1m").Do(all)).Id
	page := &search.Request{
		Pit:  &types.PointInTimeReference{Id: id},
		Size: some(5),
		Sort: []types.SortCombinations{"released"},
	}
	count := 0
	for {
		hits := must(s.client.Search().Request(page).Do(all)).Hits.Hits
		if len(hits) == 0 {
			break
		}
		count += len(hits)
		page.SearchAfter = hits[len(hits)-1].Sort
	}
	return result{"count": count, "closed": must(s.client.ClosePointInTime().Id(id).Do(all)).Succeeded}
}

func (s typedSteps) aggregation() result {
	field := some("released")
	answer := must(s.client.Search().Index(index).Size(0).Aggregations(map[string]types.Aggregations{
		"min": {Min: &types.MinAggregation{Field: field}},
		"max": {Max: &types.MaxAggregation{Field: field}},
	}).Do(all))
	least := answer.Aggregations["min"].(*types.MinAggregate)
	greatest := answer.Aggregations["max"].(*types.MaxAggregate)
	return result{"min": least.Value, "max": greatest.Value}
}

func (s typedSteps) errors(missing *search.Request, where string, invalid *search.Request) result {
	_, first := s.client.Search().Index(where).Request(missing).Do(all)
	_, second := s.client.Search().Index(index).Request(invalid).Do(all)
	return result{"missing": refused(first), "invalid": refused(second)}
}

func (s typedSteps) compression(request *search.Request) result {
	answer := must(must(elasticsearch.NewTypedClient(compressed())).Search().Index(index).Request(request).Do(all))
	return result{"ids": ids(answer.Hits.Hits)}
}

func (s typedSteps) sniffing() result {
	seen := &recorder{hosts: map[string]bool{}}
	config := configured(url)
	config.Transport = seen
	client := must(elasticsearch.NewTypedClient(config))
	check(client.DiscoverNodes())
	answer := must(client.Search().Index(index).Request(best()).Do(all))
	return result{"stays": seen.stayed(), "ids": ids(answer.Hits.Hits)}
}

// --8<-- [start:async-search]
func (s typedSteps) asyncSearch() result {
	// `submit.Request` has no field for a retriever.
	body := string(must(json.Marshal(reranked(5))))
	answer := must(s.client.AsyncSearch.Submit().Index(index).Raw(strings.NewReader(body)).
		WaitForCompletionTimeout("0ms").KeepOnCompletion(true).Do(all))
	id, running, response := *answer.Id, answer.IsRunning, answer.Response
	for running {
		next := must(s.client.AsyncSearch.Get(id).WaitForCompletionTimeout("30s").Do(all))
		running, response = next.IsRunning, next.Response
	}
	status := must(s.client.AsyncSearch.Status(id).Do(all))
	deleted := must(s.client.AsyncSearch.Delete(id).Do(all))
	_, after := s.client.AsyncSearch.Status(id).Do(all) // `Get` takes a 404 for an answer
	return result{
		"ids":     ids(response.Hits.Hits),
		"status":  *status.CompletionStatus,
		"deleted": deleted.Acknowledged,
		"after":   refused(after)[0],
	}
}
// --8<-- [end:async-search]

// --8<-- [start:inference]
func (s typedSteps) inference() result {
	name, api := index+"-endpoint", s.client.Inference
	made := must(api.Put(name).TaskType("rerank").Service("elasticsearch").ServiceSettings(
		json.RawMessage(`{"model_id": "minilm", "num_allocations": 1, "num_threads": 1}`)).Do(all))
	read := must(api.Get().InferenceId(name).Do(all))
	listed := false
	for _, each := range must(api.Get().Do(all)).Endpoints {
		listed = listed || each.InferenceId == name
	}
	changed := must(api.Update(name).Raw(strings.NewReader(`{"service_settings": {"num_allocations": 2}}`)).Do(all))
	var settings struct {
		Allocations int `json:"num_allocations"`
	}
	check(json.Unmarshal(changed.ServiceSettings, &settings))
	positions := []int{}
	for _, each := range s.ranked(name) {
		positions = append(positions, each.Index)
	}
	deleted := must(api.Delete(name).Do(all))
	_, after := api.Get().InferenceId(name).Do(all)
	return result{
		"put": made.InferenceId, "get": []string{read.Endpoints[0].InferenceId}, "listed": listed,
		"updated": settings.Allocations, "ranked": positions, "deleted": deleted.Acknowledged,
		"after": refused(after)[0],
	}
}

// The client's own `Do` of this call reads an array, where Elasticsearch answers with an object.
func (s typedSteps) ranked(name string) []types.RankedDocument {
	body := `{"query": "` + question + `", "input": ["Two bakers fall in love.", "A cannibal helps to catch a killer."]}`
	raw := must(s.client.Inference.Rerank(name).Raw(strings.NewReader(body)).Perform(all))
	defer raw.Body.Close()
	if raw.StatusCode != http.StatusOK {
		panic(raw.Status)
	}
	var answer struct{ Rerank []types.RankedDocument }
	check(json.NewDecoder(raw.Body).Decode(&answer))
	return answer.Rerank
}
// --8<-- [end:inference]

func (s typedSteps) tls() result {
	// --8<-- [start:tls]
	secure := func(fingerprint string) *elasticsearch.TypedClient {
		config := configured(os.Getenv("TLS_URL"))
		config.CertificateFingerprint = fingerprint
		return must(elasticsearch.NewTypedClient(config))
	}
	// --8<-- [end:tls]
	answer := must(secure(os.Getenv("CA_FINGERPRINT")).Search().Index(index).Request(best()).Do(all))
	_, err := secure(strings.Repeat("00", 32)).Info().Do(all)
	return result{"ids": ids(answer.Hits.Hits), "refused": err != nil}
}
