//! Takes the crate `elasticsearch` through the steps of ../README.md.

use elasticsearch::{
    async_search::{
        AsyncSearchDeleteParts, AsyncSearchGetParts, AsyncSearchStatusParts, AsyncSearchSubmitParts,
    },
    http::{
        request::JsonBody,
        response::Response,
        transport::{SingleNodeConnectionPool, Transport, TransportBuilder},
        Url,
    },
    indices::IndicesCreateParts,
    inference::{
        InferenceDeleteParts, InferenceGetParts, InferencePutParts, InferenceRerankParts,
        InferenceUpdateParts,
    },
    params::Refresh,
    BulkParts, ClearScrollParts, Elasticsearch, GetParts, IndexParts, MsearchParts, OpenPointInTimeParts,
    ScrollParts, SearchParts,
};
use serde_json::{json, Value};
use std::{collections::HashSet, env, error::Error, fs, future::Future, time::Duration};

const QUESTION: &str = "flesh-eating bad guy";

type Outcome = Result<Value, Box<dyn Error + Send + Sync>>;

/// What the steps share.
struct Program {
    client: Elasticsearch,
    url: String,
    index: String,
    away: String,
    films: Vec<Value>,
    reranks: bool,
}

fn plain(size: u32) -> Value {
    json!({"size": size, "query": {"multi_match": {"query": "crime", "fields": ["plot", "genre"]}}})
}

// --8<-- [start:reranked]
fn reranked(size: u32, endpoint: Option<&str>) -> Value {
    let mut reranker = json!({
        "retriever": {"standard": {"query": plain(0)["query"]}},
        "field": "plot",
        "inference_text": QUESTION,
        "rank_window_size": 20,
    });
    if let Some(name) = endpoint {
        reranker["inference_id"] = json!(name);
    }
    json!({"size": size, "retriever": {"text_similarity_reranker": reranker}})
}
// --8<-- [end:reranked]

/// Reads an answer, which may not be an error.
async fn read(response: Response) -> Outcome {
    Ok(response.error_for_status_code()?.json().await?)
}

/// Reads an answer as the client's own exception: its status and type.
async fn refused(response: Response) -> Outcome {
    let exception = response.exception().await?.ok_or("no exception was answered")?;
    Ok(json!([exception.status(), exception.error().ty()]))
}

fn ids(answer: &Value) -> Vec<&str> {
    let hits = answer["hits"]["hits"].as_array();
    hits.map_or(vec![], |all| all.iter().filter_map(|hit| hit["_id"].as_str()).collect())
}

impl Program {
    fn new() -> Result<Self, Box<dyn Error + Send + Sync>> {
        let (url, index) = (env::var("ES_URL")?, env::var("INDEX")?);
        Ok(Program {
            client: Elasticsearch::new(Transport::single_node(&url)?),
            away: format!("{index}-missing"),
            films: serde_json::from_str(&fs::read_to_string(env::var("FILMS")?)?)?,
            reranks: env::var("RERANK").is_ok_and(|value| !value.is_empty()),
            url,
            index,
        })
    }

    fn compressing(&self) -> Result<Elasticsearch, Box<dyn Error + Send + Sync>> {
        // Answers: the crate always asks for gzip.
        let pool = SingleNodeConnectionPool::new(Url::parse(&self.url)?);
        Ok(Elasticsearch::new(TransportBuilder::new(pool).request_body_compression(true).build()?))
    }

    fn best(&self) -> Value {
        if self.reranks { reranked(5, None) } else { plain(5) }
    }

    async fn request(
        &self, client: &Elasticsearch, index: &str, body: Value,
    ) -> Result<Response, elasticsearch::Error> {
        client.search(SearchParts::Index(&[index])).body(body).send().await
    }

    async fn info(&self) -> Outcome {
        let response = self.client.info().send().await?;
        let product = response.headers()["x-elastic-product"].to_str()?.to_owned();
        Ok(json!({"version": read(response).await?["version"]["number"], "product": product}))
    }

    async fn index(&self) -> Outcome {
        let create = self.client.indices();
        let created = create.create(IndicesCreateParts::Index(&self.index)).body(json!({
            "settings": {"number_of_replicas": 0},
            "mappings": {"properties": {"released": {"type": "integer"}}},
        }));
        read(created.send().await?).await?;
        let put = self.client.index(IndexParts::IndexId(&self.index, "0")).body(&self.films[0]);
        Ok(json!({"result": read(put.send().await?).await?["result"]}))
    }

    async fn bulk(&self) -> Outcome {
        let mut lines: Vec<JsonBody<Value>> = vec![];
        for (at, film) in self.films.iter().enumerate() {
            lines.push(json!({"index": {"_id": at.to_string()}}).into());
            lines.push(film.clone().into());
        }
        let client = self.compressing()?;
        let bulk = client.bulk(BulkParts::Index(&self.index)).body(lines).refresh(Refresh::True);
        let answer = read(bulk.send().await?).await?;
        Ok(json!({"errors": answer["errors"], "items": answer["items"].as_array().map(Vec::len)}))
    }

    async fn get(&self) -> Outcome {
        let answer = read(self.client.get(GetParts::IndexId(&self.index, "0")).send().await?).await?;
        Ok(json!({"title": answer["_source"]["title"]}))
    }

    // --8<-- [start:search]
    async fn search(&self, body: Value) -> Outcome {
        let answer = read(self.request(&self.client, &self.index, body).await?).await?;
        Ok(json!({"ids": ids(&answer), "total": answer["hits"]["total"]["value"]}))
    }
    // --8<-- [end:search]

    async fn msearch(&self, body: Value) -> Outcome {
        let headers = [json!({"index": self.index}), json!({"index": self.away})];
        let lines: Vec<JsonBody<Value>> =
            headers.into_iter().flat_map(|header| [header.into(), body.clone().into()]).collect();
        let answer = read(self.client.msearch(MsearchParts::None).body(lines).send().await?).await?;
        let (first, second) = (&answer["responses"][0], &answer["responses"][1]);
        Ok(json!({"ids": ids(first), "status": [first["status"], second["status"]]}))
    }

    async fn scroll(&self) -> Outcome {
        let indices = [self.index.as_str()];
        let first = self.client.search(SearchParts::Index(&indices)).size(5).scroll("1m");
        let (mut page, mut count) = (read(first.send().await?).await?, 0);
        while !ids(&page).is_empty() {
            count += ids(&page).len();
            let body = json!({"scroll_id": page["_scroll_id"], "scroll": "1m"});
            page = read(self.client.scroll(ScrollParts::None).body(body).send().await?).await?;
        }
        let body = json!({"scroll_id": page["_scroll_id"]});
        let cleared = self.client.clear_scroll(ClearScrollParts::None).body(body);
        Ok(json!({"count": count, "closed": read(cleared.send().await?).await?["succeeded"]}))
    }

    async fn point_in_time(&self) -> Outcome {
        let indices = [self.index.as_str()];
        let open = self.client.open_point_in_time(OpenPointInTimeParts::Index(&indices));
        let id = read(open.keep_alive("1m").send().await?).await?["id"].clone();
        let mut body = json!({"pit": {"id": id}, "size": 5, "sort": ["released"]});
        let mut count = 0;
        loop {
            let search = self.client.search(SearchParts::None).body(body.clone());
            let page = read(search.send().await?).await?;
            let Some(last) = page["hits"]["hits"].as_array().and_then(|hits| hits.last()) else { break };
            count += ids(&page).len();
            body["search_after"] = last["sort"].clone();
        }
        let closing = self.client.close_point_in_time().body(json!({"id": id}));
        Ok(json!({"count": count, "closed": read(closing.send().await?).await?["succeeded"]}))
    }

    async fn aggregation(&self) -> Outcome {
        let field = json!({"field": "released"});
        let body = json!({"size": 0, "aggs": {"min": {"min": field}, "max": {"max": field}}});
        let values = &read(self.request(&self.client, &self.index, body).await?).await?["aggregations"];
        Ok(json!({"min": values["min"]["value"], "max": values["max"]["value"]}))
    }

    async fn errors(&self, missing: Value, place: &str, invalid: Value) -> Outcome {
        Ok(json!({
            "missing": refused(self.request(&self.client, place, missing).await?).await?,
            "invalid": refused(self.request(&self.client, &self.index, invalid).await?).await?,
        }))
    }

    async fn compression(&self, body: Value) -> Outcome {
        let answer = read(self.request(&self.compressing()?, &self.index, body).await?).await?;
        Ok(json!({"ids": ids(&answer)}))
    }

    /// Searches for as long as a sniff in the background needs to replace the nodes, and longer.
    async fn sniffing(&self) -> Outcome {
        let sniffing = Transport::sniffing_node_list(vec![&self.url], Duration::from_millis(1))?;
        let client = Elasticsearch::new(sniffing);
        let (mut stays, mut answer) = (true, Value::Null);
        for _ in 0..100 {
            let response = self.request(&client, &self.index, self.best()).await?;
            stays = stays && response.url().origin() == Url::parse(&self.url)?.origin();
            answer = read(response).await?;
        }
        Ok(json!({"stays": stays, "ids": ids(&answer)}))
    }

    async fn concurrency(&self) -> Outcome {
        let calls = (0..100).map(|_| self.search(self.best()));
        let answers = futures::future::try_join_all(calls).await?;
        let distinct: HashSet<String> = answers.iter().map(|answer| answer["ids"].to_string()).collect();
        Ok(json!({"answers": answers.len(), "distinct": distinct.len()}))
    }

    async fn async_search(&self) -> Outcome {
        let api = self.client.async_search();
        let indices = [self.index.as_str()];
        let submit = api.submit(AsyncSearchSubmitParts::Index(&indices)).body(reranked(5, None));
        let submit = submit.wait_for_completion_timeout("0ms").keep_on_completion(true);
        let mut answer = read(submit.send().await?).await?;
        let id = answer["id"].as_str().ok_or("no id")?.to_owned();
        while answer["is_running"] == true {
            let get = api.get(AsyncSearchGetParts::Id(&id)).wait_for_completion_timeout("30s");
            answer = read(get.send().await?).await?;
        }
        let status = read(api.status(AsyncSearchStatusParts::Id(&id)).send().await?).await?;
        let deleted = read(api.delete(AsyncSearchDeleteParts::Id(&id)).send().await?).await?;
        let after = refused(api.get(AsyncSearchGetParts::Id(&id)).send().await?).await?;
        Ok(json!({
            "ids": ids(&answer["response"]), "status": status["completion_status"],
            "deleted": deleted["acknowledged"], "after": after[0],
        }))
    }

    // --8<-- [start:inference]
    async fn inference(&self) -> Outcome {
        let (api, name) = (self.client.inference(), format!("{}-endpoint", self.index));
        let put = api.put(InferencePutParts::TaskTypeInferenceId("rerank", &name)).body(json!({
            "service": "elasticsearch",
            "service_settings": {"model_id": "minilm", "num_allocations": 1, "num_threads": 1},
        }));
        let made = read(put.send().await?).await?;
        let one = read(api.get(InferenceGetParts::InferenceId(&name)).send().await?).await?;
        let all = read(api.get(InferenceGetParts::None).send().await?).await?;
        let change = json!({"service_settings": {"num_allocations": 2}});
        let update = api.update(InferenceUpdateParts::InferenceId(&name)).body(change);
        let changed = read(update.send().await?).await?;
        let texts = ["Two bakers fall in love.", "A cannibal helps to catch a killer."];
        let rerank = api.rerank(InferenceRerankParts::InferenceId(&name));
        let ranked = read(rerank.body(json!({"query": QUESTION, "input": texts})).send().await?).await?;
        let deleted = read(api.delete(InferenceDeleteParts::InferenceId(&name)).send().await?).await?;
        let after = refused(api.get(InferenceGetParts::InferenceId(&name)).send().await?).await?;
        let names = |answer: &Value| -> Vec<Value> {
            let endpoints = answer["endpoints"].as_array();
            endpoints.map_or(vec![], |all| all.iter().map(|each| each["inference_id"].clone()).collect())
        };
        let positions = ranked["rerank"].as_array().map(|all| {
            all.iter().map(|each| each["index"].clone()).collect::<Vec<_>>()
        });
        Ok(json!({
            "put": made["inference_id"], "get": names(&one), "listed": names(&all).contains(&json!(name)),
            "updated": changed["service_settings"]["num_allocations"], "ranked": positions,
            "deleted": deleted["acknowledged"], "after": after[0],
        }))
    }
    // --8<-- [end:inference]
}

async fn report(step: &str, run: impl Future<Output = Outcome>) {
    let line = match run.await {
        Ok(result) => json!({"step": step, "result": result}),
        Err(failure) => json!({"step": step, "error": failure.to_string()}),
    };
    println!("{line}");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let program = &Program::new()?;
    report("info", program.info()).await;
    report("index", program.index()).await;
    report("bulk", program.bulk()).await;
    report("get", program.get()).await;
    report("search", program.search(plain(5))).await;
    report("msearch", program.msearch(plain(5))).await;
    report("scroll", program.scroll()).await;
    report("point in time", program.point_in_time()).await;
    report("aggregation", program.aggregation()).await;
    report("errors", program.errors(plain(5), &program.away, plain(20_000))).await;
    report("compression", program.compression(plain(5))).await;
    report("sniffing", program.sniffing()).await;
    report("concurrency", program.concurrency()).await;
    if program.reranks {
        let wrong = reranked(5, Some(&program.away));
        report("reranked search", program.search(reranked(5, None))).await;
        report("reranked msearch", program.msearch(reranked(5, None))).await;
        report("async search", program.async_search()).await;
        report("inference", program.inference()).await;
        report("reranked errors", program.errors(wrong, &program.index, reranked(21, None))).await;
        report("reranked compression", program.compression(reranked(5, None))).await;
    }
    Ok(())
}
