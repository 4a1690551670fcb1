import co.elastic.clients.json.jackson.JacksonJsonpMapper;
import co.elastic.clients.transport.ElasticsearchTransport;
import co.elastic.clients.transport.rest5_client.Rest5ClientTransport;
import co.elastic.clients.transport.rest5_client.low_level.Request;
import co.elastic.clients.transport.rest5_client.low_level.Rest5Client;
import co.elastic.clients.transport.rest5_client.low_level.sniffer.ElasticsearchNodesSniffer;
import java.net.URI;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import javax.net.ssl.SSLContext;
import org.apache.hc.core5.http.io.entity.EntityUtils;

/** Version 9's own low-level client, and its sniffer. */
record Rest5Connection(Rest5Client client) implements Connection {
    static Connection to(String url, boolean compressed, SSLContext trusted) {
        var builder = Rest5Client.builder(URI.create(url)).setCompressionEnabled(compressed);
        if (trusted != null) {
            builder.setSSLContext(trusted);
        }
        return new Rest5Connection(builder.build());
    }

    @Override
    public ElasticsearchTransport transport() {
        return new Rest5ClientTransport(client, new JacksonJsonpMapper());
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
    public boolean sniffedNodesAreAt(String url) throws Exception {
        // What the Sniffer does at its first interval.
        var nodes = new ElasticsearchNodesSniffer(client).sniff();
        client.setNodes(nodes);
        return !nodes.isEmpty() && nodes.stream().allMatch(node -> node.getHost().toURI().equals(url));
    }

    @Override
    public void close() throws Exception {
        client.close();
    }
}
