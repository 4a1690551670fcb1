import co.elastic.clients.transport.ElasticsearchTransport;
import java.util.Map;
import javax.net.ssl.SSLContext;

/** A low-level client, and what the typed one needs of it. */
interface Connection extends AutoCloseable {
    /** The transport for the typed client. */
    ElasticsearchTransport transport();

    /** Sends a request without a body; returns the headers of the answer, by lower-case name. */
    Map<String, String> headers(String method, String path) throws Exception;

    /** Sends a request with a JSON body; returns the body of the answer. */
    String answer(String method, String path, String body) throws Exception;

    /** Lets the client's sniffer look for nodes; returns whether all are at the URL. */
    boolean sniffedNodesAreAt(String url) throws Exception;

    @Override
    void close() throws Exception;

    /** Makes connections of one kind. */
    interface Factory {
        /** @param trusted for https; null for http. */
        Connection to(String url, boolean compressed, SSLContext trusted);
    }
}
