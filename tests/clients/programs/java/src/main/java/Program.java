import co.elastic.clients.elasticsearch.ElasticsearchClient;
import co.elastic.clients.elasticsearch._types.ElasticsearchException;
import co.elastic.clients.elasticsearch._types.Refresh;
import co.elastic.clients.elasticsearch._types.SortOptions;
import co.elastic.clients.elasticsearch._types.Time;
import co.elastic.clients.elasticsearch._types.query_dsl.Query;
import co.elastic.clients.elasticsearch.core.SearchRequest;
import co.elastic.clients.elasticsearch.core.bulk.BulkOperation;
import co.elastic.clients.elasticsearch.core.search.Hit;
import co.elastic.clients.elasticsearch.core.search.HitsMetadata;
import co.elastic.clients.elasticsearch.inference.TaskType;
import co.elastic.clients.json.JsonData;
import co.elastic.clients.transport.TransportUtils;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;

/** Takes elasticsearch-java through the steps of ../README.md, over Rest5Client or RestClient. */
public class Program {
    private static final String QUESTION = "flesh-eating bad guy";
    private static final String URL = System.getenv("ES_URL");
    private static final String INDEX = System.getenv("INDEX");
    private static final String AWAY = INDEX + "-missing";
    private static final String TLS_URL = System.getenv("TLS_URL");
    private static final boolean RERANK = "1".equals(System.getenv("RERANK"));
    private static final Time MINUTE = Time.of(time -> time.time("1m"));
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Query CRIME =
            Query.of(query -> query.multiMatch(match -> match.query("crime").fields("plot", "genre")));

    private final Connection.Factory connections;
    private final Connection connection;
    private final ElasticsearchClient client;
    private final List<?> films;

    private Program(Connection.Factory connections) throws Exception {
        this.connections = connections;
        connection = connections.to(URL, false, null);
        client = new ElasticsearchClient(connection.transport());
        films = JSON.readValue(Path.of(System.getenv("FILMS")).toFile(), List.class);
    }

    public static void main(String[] args) throws Exception {
        var factory = args[0].equals("rest5")
                ? (Connection.Factory) Rest5Connection::to
                : (Connection.Factory) RestConnection::to;
        var program = new Program(factory);
        var steps = program.plain(args[0].equals("rest5"));
        if (RERANK) {
            steps.putAll(program.reranked());
        }
        if (TLS_URL != null) {
            steps.put("tls", program::tls);
        }
        for (var step : steps.entrySet()) {
            report(step.getKey(), step.getValue());
        }
        program.connection.close();
    }

    private static void report(String step, Callable<Map<String, ?>> run) throws Exception {
        var line = new LinkedHashMap<String, Object>(Map.of("step", step));
        try {
            line.put("result", run.call());
        } catch (Exception failure) {
            line.put("error", failure.toString());
        }
        System.out.println(JSON.writeValueAsString(line));
    }

    private Map<String, Callable<Map<String, ?>>> plain(boolean sniffs) {
        var steps = new LinkedHashMap<String, Callable<Map<String, ?>>>();
        steps.put("info", this::info);
        steps.put("index", this::index);
        steps.put("bulk", this::bulk);
        steps.put("get", () -> Map.of("title", client.get(get -> get.index(INDEX).id("0"), Map.class).source().get("title")));
        steps.put("search", () -> search(plainly(5)));
        steps.put("msearch", () -> msearch(plainly(5)));
        steps.put("scroll", this::scroll);
        steps.put("point in time", this::pointInTime);
        steps.put("aggregation", this::aggregation);
        steps.put("errors", () -> errors(plainly(5).index(AWAY), plainly(20_000)));
        steps.put("compression", () -> compression(plainly(5)));
        if (sniffs) {
            steps.put("sniffing", this::sniffing);
        }
        steps.put("concurrency", this::concurrency);
        return steps;
    }

    private Map<String, Callable<Map<String, ?>>> reranked() {
        var steps = new LinkedHashMap<String, Callable<Map<String, ?>>>();
        steps.put("reranked search", () -> search(reranked(5, null)));
        steps.put("reranked msearch", () -> msearch(reranked(5, null)));
        steps.put("async search", this::asyncSearch);
        steps.put("inference", this::inference);
        steps.put("reranked errors", () -> errors(reranked(5, AWAY), reranked(21, null)));
        steps.put("reranked compression", () -> compression(reranked(5, null)));
        return steps;
    }

    private static SearchRequest.Builder plainly(int size) {
        return new SearchRequest.Builder().index(INDEX).size(size).query(CRIME);
    }

    // --8<-- [start:reranked]
    private static SearchRequest.Builder reranked(int size, String endpoint) {
        return new SearchRequest.Builder().index(INDEX).size(size).retriever(retriever -> retriever
                .textSimilarityReranker(reranker -> reranker
                        .retriever(inner -> inner.standard(standard -> standard.query(CRIME)))
                        .field("plot")
                        .inferenceText(QUESTION)
                        .inferenceId(endpoint)
                        .rankWindowSize(20)));
    }
    // --8<-- [end:reranked]

    private static SearchRequest.Builder best() {
        return RERANK ? reranked(5, null) : plainly(5);
    }

    private static List<String> ids(HitsMetadata<?> hits) {
        return hits.hits().stream().map(Hit::id).toList();
    }

    private static List<Object> refused(Callable<?> call) throws Exception {
        try {
            call.call();
        } catch (ElasticsearchException failure) {
            return List.of(failure.status(), failure.error().type());
        }
        throw new IllegalStateException("no ElasticsearchException was thrown");
    }

    private Map<String, ?> info() throws Exception {
        var product = connection.headers("GET", "/").get("x-elastic-product");
        return Map.of("version", client.info().version().number(), "product", product);
    }

    private Map<String, ?> index() throws Exception {
        client.indices().create(create -> create
                .index(INDEX)
                .settings(settings -> settings.numberOfReplicas("0"))
                .mappings(mappings -> mappings.properties("released", property -> property.integer(all -> all))));
        var answer = client.index(index -> index.index(INDEX).id("0").document(films.get(0)));
        return Map.of("result", answer.result().jsonValue());
    }

    private Map<String, ?> bulk() throws Exception {
        var operations = IntStream.range(0, films.size())
                .mapToObj(at -> BulkOperation.of(operation -> operation
                        .index(index -> index.id(String.valueOf(at)).document(films.get(at)))))
                .toList();
        try (var compressing = connections.to(URL, true, null)) {
            var answer = new ElasticsearchClient(compressing.transport())
                    .bulk(bulk -> bulk.index(INDEX).refresh(Refresh.True).operations(operations));
            return Map.of("errors", answer.errors(), "items", answer.items().size());
        }
    }

    private Map<String, ?> search(SearchRequest.Builder search) throws Exception {
        var hits = client.search(search.build(), Map.class).hits();
        return Map.of("ids", ids(hits), "total", hits.total().value());
    }

    private Map<String, ?> msearch(SearchRequest.Builder search) throws Exception {
        var body = search.index(List.of()).build();
        var items = client.msearch(msearch -> msearch
                .searches(item -> item.header(header -> header.index(INDEX)).body(body))
                .searches(item -> item.header(header -> header.index(AWAY)).body(body)), Map.class).responses();
        var first = items.get(0).result();
        return Map.of("ids", ids(first.hits()), "status", List.of(first.status(), items.get(1).failure().status()));
    }

    private Map<String, ?> scroll() throws Exception {
        var first = client.search(search -> search.index(INDEX).size(5).scroll(MINUTE), Map.class);
        var hits = first.hits().hits();
        var id = first.scrollId();
        int count = 0;
        while (!hits.isEmpty()) {
            count += hits.size();
            var current = id;
            var next = client.scroll(scroll -> scroll.scrollId(current).scroll(MINUTE), Map.class);
            hits = next.hits().hits();
            id = next.scrollId();
        }
        var last = id;
        return Map.of("count", count, "closed", client.clearScroll(clear -> clear.scrollId(last)).succeeded());
    }

    private Map<String, ?> pointInTime() throws Exception {
        var id = client.openPointInTime(open -> open.index(INDEX).keepAlive(MINUTE)).id();
        var order = SortOptions.of(sort -> sort.field(field -> field.field("released")));
        var page = new SearchRequest.Builder().pit(pit -> pit.id(id)).size(5).sort(order).build();
        int count = 0;
        for (var hits = client.search(page, Map.class).hits().hits(); !hits.isEmpty(); ) {
            count += hits.size();
            var last = hits.get(hits.size() - 1).sort();
            hits = client.search(search -> search.pit(pit -> pit.id(id)).size(5).sort(order).searchAfter(last), Map.class)
                    .hits()
                    .hits();
        }
        return Map.of("count", count, "closed", client.closePointInTime(close -> close.id(id)).succeeded());
    }

    private Map<String, ?> aggregation() throws Exception {
        var answer = client.search(search -> search
                .index(INDEX)
                .size(0)
                .aggregations("min", all -> all.min(min -> min.field("released")))
                .aggregations("max", all -> all.max(max -> max.field("released"))), Map.class);
        return Map.of(
                "min", answer.aggregations().get("min").min().value(),
                "max", answer.aggregations().get("max").max().value());
    }

    private Map<String, ?> errors(SearchRequest.Builder missing, SearchRequest.Builder invalid) throws Exception {
        return Map.of(
                "missing", refused(() -> client.search(missing.build(), Map.class)),
                "invalid", refused(() -> client.search(invalid.build(), Map.class)));
    }

    private Map<String, ?> compression(SearchRequest.Builder search) throws Exception {
        try (var compressing = connections.to(URL, true, null)) {
            var answer = new ElasticsearchClient(compressing.transport()).search(search.build(), Map.class);
            return Map.of("ids", ids(answer.hits()));
        }
    }

    private Map<String, ?> sniffing() throws Exception {
        try (var sniffing = connections.to(URL, false, null)) {
            var stays = sniffing.sniffedNodesAreAt(URL);
            var answer = new ElasticsearchClient(sniffing.transport()).search(best().build(), Map.class);
            return Map.of("stays", stays, "ids", ids(answer.hits()));
        }
    }

    private Map<String, ?> concurrency() throws Exception {
        var threads = Executors.newFixedThreadPool(100);
        try {
            var search = best().build();
            Callable<List<String>> call = () -> ids(client.search(search, Map.class).hits());
            var answers = new ArrayList<List<String>>();
            for (var answer : threads.invokeAll(Collections.nCopies(100, call))) {
                answers.add(answer.get());
            }
            return Map.of("answers", answers.size(), "distinct", new HashSet<>(answers).size());
        } finally {
            threads.shutdown();
        }
    }

    // --8<-- [start:async-search]
    private Map<String, ?> asyncSearch() throws Exception {
        // The typed request has no retriever, and reading one from JSON knows it no better.
        var body = new StringWriter();
        var mapper = client._jsonpMapper();
        try (var generator = mapper.jsonProvider().createGenerator(body)) {
            reranked(5, null).build().serialize(generator, mapper);
        }
        var started = JSON.readTree(connection.answer(
                "POST",
                "/" + INDEX + "/_async_search?wait_for_completion_timeout=0ms&keep_on_completion=true",
                body.toString()));
        var id = started.get("id").asText();
        var api = client.asyncSearch();
        var wait = Time.of(time -> time.time("30s"));
        var answer = api.get(get -> get.id(id).waitForCompletionTimeout(wait), Map.class);
        while (answer.isRunning()) {
            answer = api.get(get -> get.id(id).waitForCompletionTimeout(wait), Map.class);
        }
        var status = api.status(ask -> ask.id(id)).completionStatus();
        var deleted = api.delete(delete -> delete.id(id)).acknowledged();
        var after = refused(() -> api.get(get -> get.id(id), Map.class));
        return Map.of(
                "ids", ids(answer.response().hits()), "status", status, "deleted", deleted, "after", after.get(0));
    }
    // --8<-- [end:async-search]

    // --8<-- [start:inference]
    private Map<String, ?> inference() throws Exception {
        var name = INDEX + "-endpoint";
        var api = client.inference();
        var settings = Map.of("model_id", "minilm", "num_allocations", 1, "num_threads", 1);
        var made = api.put(put -> put.inferenceId(name).taskType(TaskType.Rerank).inferenceConfig(config -> config
                .service("elasticsearch")
                .serviceSettings(JsonData.of(settings))));
        var read = api.get(get -> get.inferenceId(name)).endpoints();
        var listed = api.get().endpoints().stream().anyMatch(each -> each.inferenceId().equals(name));
        var changed = api.update(update -> update.inferenceId(name).inferenceConfig(config -> config
                .service("elasticsearch")
                .serviceSettings(JsonData.of(Map.of("num_allocations", 2)))));
        var ranked = api.rerank(rerank -> rerank
                .inferenceId(name)
                .query(query -> query.string(QUESTION))
                .input(input -> input.string(List.of("Two bakers fall in love.", "A cannibal helps to catch a killer."))));
        var deleted = api.delete(delete -> delete.inferenceId(name)).acknowledged();
        var after = refused(() -> api.get(get -> get.inferenceId(name)));
        return Map.of(
                "put", made.inferenceId(),
                "get", read.stream().map(each -> each.inferenceId()).toList(),
                "listed", listed,
                "updated", changed.serviceSettings().to(Map.class).get("num_allocations"),
                "ranked", ranked.rerank().stream().map(each -> each.index()).toList(),
                "deleted", deleted,
                "after", after.get(0));
    }
    // --8<-- [end:inference]

    private Map<String, ?> tls() throws Exception {
        var trusted = TransportUtils.sslContextFromCaFingerprint(System.getenv("CA_FINGERPRINT"));
        List<String> found;
        try (var secure = connections.to(TLS_URL, false, trusted)) {
            found = ids(new ElasticsearchClient(secure.transport()).search(best().build(), Map.class).hits());
        }
        var other = TransportUtils.sslContextFromCaFingerprint("00".repeat(32));
        try (var secure = connections.to(TLS_URL, false, other)) {
            new ElasticsearchClient(secure.transport()).info();
            return Map.of("ids", found, "refused", false);
        } catch (IOException failure) {
            return Map.of("ids", found, "refused", true);
        }
    }
}
