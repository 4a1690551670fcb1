package testbed;

import static org.elasticsearch.xcontent.ConstructingObjectParser.constructorArg;
import static org.elasticsearch.xcontent.ConstructingObjectParser.optionalConstructorArg;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import org.apache.lucene.search.Explanation;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreDoc;
import org.elasticsearch.ResourceNotFoundException;
import org.elasticsearch.TransportVersion;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.index.query.QueryBuilder;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.rank.RankBuilder;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.search.rank.context.QueryPhaseRankCoordinatorContext;
import org.elasticsearch.search.rank.context.QueryPhaseRankShardContext;
import org.elasticsearch.search.rank.context.RankFeaturePhaseRankCoordinatorContext;
import org.elasticsearch.search.rank.context.RankFeaturePhaseRankShardContext;
import org.elasticsearch.search.rank.feature.RankFeatureDoc;
import org.elasticsearch.search.rank.rerank.RerankingRankFeaturePhaseRankShardContext;
import org.elasticsearch.search.retriever.CompoundRetrieverBuilder;
import org.elasticsearch.search.retriever.RetrieverBuilder;
import org.elasticsearch.search.retriever.RetrieverParserContext;
import org.elasticsearch.xcontent.ConstructingObjectParser;
import org.elasticsearch.xcontent.ParseField;
import org.elasticsearch.xcontent.XContentBuilder;

/**
 * {@code text_similarity_reranker} on the classes of the server that the licensed one is built on. The score of a text is
 * the number that it ends with, and there is one endpoint, the default one.
 */
final class Reranker extends CompoundRetrieverBuilder<Reranker> {

    static final String NAME = "text_similarity_reranker";
    private static final String ENDPOINT = ".rerank-v1-elasticsearch";

    static final ConstructingObjectParser<Reranker, RetrieverParserContext> PARSER = new ConstructingObjectParser<>(
        NAME,
        given -> new Reranker(
            List.of(RetrieverSource.from((RetrieverBuilder) given[0])),
            given[1] == null ? ENDPOINT : (String) given[1],
            (String) given[3],
            given[4] == null ? RankBuilder.DEFAULT_RANK_WINDOW_SIZE : (int) given[4],
            given[5] != null && (boolean) given[5]
        )
    );

    static {
        PARSER.declareNamedObject(constructorArg(), Children::parse, new ParseField("retriever"));
        PARSER.declareString(optionalConstructorArg(), new ParseField("inference_id"));
        PARSER.declareString(constructorArg(), new ParseField("inference_text"));
        PARSER.declareString(constructorArg(), new ParseField("field"));
        PARSER.declareInt(optionalConstructorArg(), RANK_WINDOW_SIZE_FIELD);
        PARSER.declareBoolean(optionalConstructorArg(), new ParseField("allow_rerank_failures"));
        declareBaseParserFields(PARSER);
    }

    private final String endpoint;
    private final String field;
    private final boolean mayFail;

    private Reranker(List<RetrieverSource> child, String endpoint, String field, int window, boolean mayFail) {
        super(child, window);
        this.endpoint = endpoint;
        this.field = field;
        this.mayFail = mayFail;
    }

    @Override
    public String getName() {
        return NAME;
    }

    @Override
    protected Reranker clone(List<RetrieverSource> child, List<QueryBuilder> filters) {
        Reranker copy = new Reranker(child, endpoint, field, rankWindowSize, mayFail);
        copy.preFilterQueryBuilders = filters;
        copy.retrieverName = retrieverName;
        copy.minScore = minScore;
        return copy;
    }

    /** Nothing to rank is no mistake since 9.5.0. */
    @Override
    protected SearchSourceBuilder finalizeSourceBuilder(SearchSourceBuilder source) {
        return source.size() == 0 && rankWindowSize > 0 ? source : source.rankBuilder(new Phase(rankWindowSize, endpoint, field, mayFail, minScore));
    }

    @Override
    protected RankDoc[] combineInnerRetrieverResults(List<ScoreDoc[]> found, boolean explains) {
        return Arrays.stream(found.get(0))
            .filter(each -> minScore == null || each.score >= minScore)
            .map(each -> new Doc(each, explains ? endpoint : null, explains ? field : null))
            .toArray(RankDoc[]::new);
    }

    @Override
    protected void doToXContent(XContentBuilder builder, Params params) {}

    /** A document of the answer, which can explain itself. */
    static final class Doc extends RankDoc {

        private final String endpoint;
        private final String field;

        Doc(ScoreDoc scored, String endpoint, String field) {
            super(scored.doc, scored.score, scored.shardIndex);
            this.endpoint = endpoint;
            this.field = field;
        }

        @Override
        public Explanation explain(Explanation[] sources, String[] names) {
            String of = " match using inference endpoint: [" + endpoint + "] on document field: [" + field + "]";
            String child = names[0] == null ? "" : "[" + names[0] + "]";
            return Explanation.match(score, Reranker.NAME + of + " matching on source query " + child, sources);
        }

        @Override
        protected void doToXContent(XContentBuilder builder, Params params) throws IOException {
            if (endpoint != null) {
                builder.field("inferenceId", endpoint).field("field", field);
            }
        }

        @Override
        public String toString() {
            return "TextSimilarityRankDoc{doc=%d, shardIndex=%d, score=%s, inferenceId=%s, field=%s, chunkScorerConfig=null}"
                .formatted(doc, shardIndex, score, endpoint, field);
        }
    }

    /** The phase between query and fetch that scores the window. */
    private static final class Phase extends RankBuilder {

        private final String endpoint;
        private final String field;
        private final boolean mayFail;
        private final Float minScore;

        Phase(int window, String endpoint, String field, boolean mayFail, Float minScore) {
            super(window);
            this.endpoint = endpoint;
            this.field = field;
            this.mayFail = mayFail;
            this.minScore = minScore;
        }

        @Override
        public RankFeaturePhaseRankShardContext buildRankFeaturePhaseShardContext() {
            return new RerankingRankFeaturePhaseRankShardContext(field);
        }

        @Override
        public RankFeaturePhaseRankCoordinatorContext buildRankFeaturePhaseCoordinatorContext(
            int size,
            int from,
            Client client
        ) {
            return new RankFeaturePhaseRankCoordinatorContext(size, from, rankWindowSize(), mayFail) {
                @Override
                protected void computeScores(RankFeatureDoc[] docs, ActionListener<float[]> listener) {
                    ActionListener.completeWith(listener, () -> scores(docs));
                }

                @Override
                protected RankFeatureDoc[] preprocess(RankFeatureDoc[] docs, boolean scored) {
                    return scored ? normalized(docs) : docs;
                }
            };
        }

        private float[] scores(RankFeatureDoc[] docs) {
            if (endpoint.equals(ENDPOINT) == false) {
                throw new ResourceNotFoundException("Inference endpoint not found [" + endpoint + "]");
            }
            float[] scores = new float[docs.length];
            for (int i = 0; i < docs.length; i++) {
                String text = docs[i].featureData.get(0).trim();
                scores[i] = Float.parseFloat(text.substring(text.lastIndexOf(' ') + 1));
            }
            return scores;
        }

        private RankFeatureDoc[] normalized(RankFeatureDoc[] docs) {
            List<RankFeatureDoc> kept = new ArrayList<>();
            for (RankFeatureDoc doc : docs) {
                if (minScore == null || doc.score >= minScore) {
                    doc.score = Math.max(doc.score, 0) + Math.min((float) Math.exp(doc.score), 1);
                    kept.add(doc);
                }
            }
            kept.sort(Comparator.naturalOrder());
            return kept.toArray(RankFeatureDoc[]::new);
        }

        @Override
        public boolean isCompoundBuilder() {
            return false;
        }

        @Override
        public Explanation explainHit(Explanation of, RankDoc doc, List<String> names) {
            return of;
        }

        @Override
        public QueryPhaseRankShardContext buildQueryPhaseShardContext(List<Query> queries, int from) {
            return null;
        }

        @Override
        public QueryPhaseRankCoordinatorContext buildQueryPhaseCoordinatorContext(int size, int from) {
            return null;
        }

        @Override
        public String getWriteableName() {
            return NAME;
        }

        @Override
        public TransportVersion getMinimalSupportedVersion() {
            return TransportVersion.current();
        }

        @Override
        protected void doWriteTo(StreamOutput out) {
            throw new UnsupportedOperationException("one node sends itself nothing");
        }

        @Override
        protected void doXContent(XContentBuilder builder, Params params) {}

        @Override
        protected boolean doEquals(RankBuilder other) {
            return this == other;
        }

        @Override
        protected int doHashCode() {
            return System.identityHashCode(this);
        }
    }
}
