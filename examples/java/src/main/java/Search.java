import co.elastic.clients.elasticsearch.ElasticsearchClient;
import co.elastic.clients.elasticsearch.core.SearchRequest;
import java.io.IOException;
import java.io.StringReader;
import java.util.Locale;
import java.util.Map;

/**
 * Searches for films about crime, plain and reranked by a question.
 *
 * <pre>mvn -q compile exec:java -Dexec.args="[URL [INDEX]]"</pre>
 */
public class Search {
    private static final String PLAIN = """
            {"standard": {"query": {"multi_match": {"query": "crime", "fields": ["plot", "genre"]}}}}
            """;
    private static final String RERANKED = """
            {
              "text_similarity_reranker": {
                "retriever": %s,
                "field": "plot",
                "inference_text": "flesh-eating bad guy"
              }
            }
            """.formatted(PLAIN);

    public static void main(String[] args) throws IOException {
        String url = args.length > 0 ? args[0] : "http://localhost:9201";
        String index = args.length > 1 ? args[1] : "rerank-proxy-demo-films";
        try (ElasticsearchClient client = ElasticsearchClient.of(builder -> builder.host(url))) {
            System.out.println("Plain");
            show(client, index, PLAIN);
            System.out.println("Reranked");
            show(client, index, RERANKED);
        }
    }

    private static void show(ElasticsearchClient client, String index, String retriever) throws IOException {
        var body = new StringReader("{\"size\": 5, \"retriever\": " + retriever + "}");
        var answer = client.search(SearchRequest.of(search -> search.index(index).withJson(body)), Map.class);
        for (var hit : answer.hits().hits()) {
            System.out.println(String.format(Locale.ROOT, "  %.4f  %s", hit.score(), hit.source().get("title")));
        }
    }
}
