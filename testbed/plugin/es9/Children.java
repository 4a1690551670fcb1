package testbed;

import java.io.IOException;
import org.elasticsearch.search.retriever.RetrieverBuilder;
import org.elasticsearch.search.retriever.RetrieverParserContext;
import org.elasticsearch.xcontent.XContentParser;

/** How compound retrievers read those in them. */
final class Children {

    private Children() {}

    /** For a parser whose name has been read. */
    static RetrieverBuilder parse(XContentParser parser, RetrieverParserContext context, String name) throws IOException {
        RetrieverBuilder child = parser.namedObject(RetrieverBuilder.class, name, context);
        context.trackRetrieverUsage(child);
        return child;
    }
}
