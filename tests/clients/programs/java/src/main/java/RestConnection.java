import co.elastic.clients.json.jackson.JacksonJsonpMapper;
import co.elastic.clients.transport.ElasticsearchTransport;
import co.elastic.clients.transport.rest_client.RestClientTransport;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import javax.net.ssl.SSLContext;
import org.apache.http.HttpHost;
import org.apache.http.util.EntityUtils;
import org.elasticsearch.client.Request;
import org.elasticsearch.client.RestClient;

/** The low-level client of version 8, which version 9 still takes. */
record RestConnection(RestClient client) implements Connection {
    static Connection to(String url, boolean compressed, SSLContext trusted) {
        var builder = RestClient.builder(HttpHost.create(url)).setCompressionEnabled(compressed);
        if (trusted != null) {
            builder.setHttpClientConfigCallback(http -> http.setSSLContext(trusted));
        }
        return new RestConnection(builder.build());
    }

    @Override
    public ElasticsearchTransport transport() {
        return new RestClientTransport(client, new JacksonJsonpMapper());
    }

    @Override
    public Map<String, String> headers(String method, String path) throws Exception {
        var headers = new HashMap<String, String>();
        for (var header : client.performRequest(new Request(method, path)).getHeaders()) {
            headers.put(header.getName().toLowerCase(Locale.ROOT), header.getValue());
        }
        return headers;
    }

    @Override
    public String answer(String method, String path, String body) throws Exception {
        var request = new Request(method, path);
        request.setJsonEntity(body);
        return EntityUtils.toString(client.performRequest(request).getEntity());
    }

    @Override
    public boolean sniffedNodesAreAt(String url) {
        throw new UnsupportedOperationException("its sniffer is a package of its own");
    }

    @Override
    public void close() throws Exception {
        client.close();
    }
}
