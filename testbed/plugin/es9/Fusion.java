package testbed;

import static org.elasticsearch.xcontent.ConstructingObjectParser.constructorArg;
import static org.elasticsearch.xcontent.ConstructingObjectParser.optionalConstructorArg;

import java.io.IOException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.lucene.search.Explanation;
import org.apache.lucene.search.ScoreDoc;
import org.elasticsearch.index.query.QueryBuilder;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.rank.RankBuilder;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.search.retriever.CompoundRetrieverBuilder;
import org.elasticsearch.search.retriever.RetrieverBuilder;
import org.elasticsearch.search.retriever.RetrieverParserContext;
import org.elasticsearch.xcontent.ConstructingObjectParser;
import org.elasticsearch.xcontent.ParseField;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentParser;

/**
 * {@code rrf} and {@code linear} on the classes of the server that the licensed ones are built on: the sum of what the
 * children's lists are worth, each by its weight. Of {@code linear}, the normalizers {@code none} and {@code minmax}; of
 * neither, the form with a query and fields.
 */
final class Fusion extends CompoundRetrieverBuilder<Fusion> {

    private static final ParseField CHILDREN = new ParseField("retrievers");

    static final ConstructingObjectParser<Fusion, RetrieverParserContext> RRF = new ConstructingObjectParser<>(
        "rrf",
        given -> of("rrf", given, given[2] == null ? 60 : (int) given[2])
    );
    static final ConstructingObjectParser<Fusion, RetrieverParserContext> LINEAR = new ConstructingObjectParser<>(
        "linear",
        given -> of("linear", given, 0)
    );

    static {
        RRF.declareObjectArray(constructorArg(), Fusion::childOfRrf, CHILDREN);
        LINEAR.declareObjectArray(constructorArg(), (parser, context) -> Child.PARSER.apply(parser, context), CHILDREN);
        RRF.declareInt(optionalConstructorArg(), RANK_WINDOW_SIZE_FIELD);
        LINEAR.declareInt(optionalConstructorArg(), RANK_WINDOW_SIZE_FIELD);
        RRF.declareInt(optionalConstructorArg(), new ParseField("rank_constant"));
        declareBaseParserFields(RRF);
        declareBaseParserFields(LINEAR);
    }

    private final String name;
    private final float[] weights;
    private final boolean[] minmax;
    private final int constant;

    private Fusion(String name, List<RetrieverSource> children, int window, float[] weights, boolean[] minmax, int constant) {
        super(children, window);
        this.name = name;
        this.weights = weights;
        this.minmax = minmax;
        this.constant = constant;
    }

    @SuppressWarnings("unchecked")
    private static Fusion of(String name, Object[] given, int constant) {
        List<Child> children = (List<Child>) given[0];
        float[] weights = new float[children.size()];
        boolean[] minmax = new boolean[children.size()];
        for (int i = 0; i < weights.length; i++) {
            weights[i] = children.get(i).weight;
            minmax[i] = children.get(i).minmax;
        }
        int window = given[1] == null ? RankBuilder.DEFAULT_RANK_WINDOW_SIZE : (int) given[1];
        return new Fusion(name, children.stream().map(each -> each.source).toList(), window, weights, minmax, constant);
    }

    /** A retriever, or one with a weight; native reads it by hand. */
    private static Child childOfRrf(XContentParser parser, RetrieverParserContext context) throws IOException {
        RetrieverBuilder retriever = null;
        float weight = 1;
        while (parser.nextToken() != XContentParser.Token.END_OBJECT) {
            String name = parser.currentName();
            if (name.equals("weight")) {
                parser.nextToken();
                weight = parser.floatValue();
            } else if (name.equals("retriever")) {
                parser.nextToken();
                parser.nextToken();
                retriever = Children.parse(parser, context, parser.currentName());
                parser.nextToken();
            } else {
                retriever = Children.parse(parser, context, name);
            }
        }
        return new Child(retriever, weight, false);
    }

    @Override
    public String getName() {
        return name;
    }

    /** As in the licensed ones, {@code rrf} forgets its {@code min_score} here. */
    @Override
    protected Fusion clone(List<RetrieverSource> children, List<QueryBuilder> filters) {
        Fusion copy = new Fusion(name, children, rankWindowSize, weights, minmax, constant);
        copy.preFilterQueryBuilders = filters;
        copy.retrieverName = retrieverName;
        copy.minScore = isRrf() ? null : minScore;
        return copy;
    }

    private boolean isRrf() {
        return name.equals("rrf");
    }

    @Override
    protected SearchSourceBuilder finalizeSourceBuilder(SearchSourceBuilder source) {
        return isRrf() ? source : source.trackScores(true);
    }

    @Override
    protected RankDoc[] combineInnerRetrieverResults(List<ScoreDoc[]> lists, boolean explains) {
        Map<RankDoc.RankKey, Doc> docs = new HashMap<>();
        for (int i = 0; i < lists.size(); i++) {
            float[] worths = isRrf() ? reciprocals(lists.get(i)) : scores(lists.get(i), minmax[i]);
            for (int at = 0; at < worths.length; at++) {
                ScoreDoc found = lists.get(i)[at];
                RankDoc.RankKey key = new RankDoc.RankKey(found.doc, found.shardIndex);
                Doc doc = docs.computeIfAbsent(key, each -> new Doc(each, lists.size()));
                doc.ranks[i] = at + 1;
                doc.parts[i] = worths[at];
                doc.score += weights[i] * (Float.isNaN(worths[at]) ? 0 : worths[at]);
            }
        }
        Doc[] best = docs.values().stream().sorted().limit(rankWindowSize).toArray(Doc[]::new);
        for (int at = 0; at < best.length; at++) {
            best[at].rank = at + 1;
        }
        return Arrays.stream(best).filter(doc -> minScore == null || doc.score >= minScore).toArray(Doc[]::new);
    }

    private float[] reciprocals(ScoreDoc[] list) {
        float[] worths = new float[list.length];
        for (int at = 0; at < list.length; at++) {
            worths[at] = 1.0f / (constant + at + 1);
        }
        return worths;
    }

    private static float[] scores(ScoreDoc[] list, boolean minmax) {
        float[] scores = new float[list.length];
        float lowest = Float.MAX_VALUE;
        float highest = Float.MIN_VALUE;
        for (int at = 0; at < list.length; at++) {
            scores[at] = list[at].score;
            lowest = Math.min(lowest, scores[at]);
            highest = Math.max(highest, scores[at]);
        }
        for (int at = 0; minmax && at < list.length; at++) {
            scores[at] = highest - lowest < 1e-6f ? 1 : (scores[at] - lowest) / (highest - lowest);
        }
        return scores;
    }

    @Override
    protected void doToXContent(XContentBuilder builder, Params params) {}

    /** A child with what its list counts for. */
    private static final class Child {

        static final ConstructingObjectParser<Child, RetrieverParserContext> PARSER = new ConstructingObjectParser<>(
            "component",
            given -> new Child((RetrieverBuilder) given[0], given[1] == null ? 1 : (float) given[1], "minmax".equals(given[2]))
        );

        static {
            PARSER.declareNamedObject(constructorArg(), Children::parse, new ParseField("retriever"));
            PARSER.declareFloat(optionalConstructorArg(), new ParseField("weight"));
            PARSER.declareString(optionalConstructorArg(), new ParseField("normalizer"));
        }

        private final RetrieverSource source;
        private final float weight;
        private final boolean minmax;

        Child(RetrieverBuilder retriever, float weight, boolean minmax) {
            this.source = RetrieverSource.from(retriever);
            this.weight = weight;
            this.minmax = minmax;
        }
    }

    /** A document of the answer, which can explain itself. */
    private final class Doc extends RankDoc {

        private final int[] ranks;
        private final float[] parts;

        Doc(RankKey key, int lists) {
            super(key.doc(), 0, key.shardIndex());
            ranks = new int[lists];
            parts = new float[lists];
        }

        @Override
        public Explanation explain(Explanation[] sources, String[] names) {
            Explanation[] details = new Explanation[sources.length];
            for (int i = 0; i < sources.length; i++) {
                String query = "at index [" + i + "]" + (names[i] == null ? "" : " [" + names[i] + "]");
                details[i] = isRrf() ? ofRrf(i, query, sources[i]) : ofLinear(i, query, sources[i]);
            }
            String how = isRrf()
                ? "rrf score: [%s] computed for initial ranks %s with rankConstant: [%s] as sum of [1 / (rank + rankConstant)] for each query"
                    .formatted(score, Arrays.toString(ranks), constant)
                : "weighted linear combination score: [%s] computed for normalized scores %s and weights %s as sum of (weight[i] * score[i]) for each query."
                    .formatted(score, Arrays.toString(parts), Arrays.toString(weights));
            return Explanation.match(score, how, details);
        }

        private Explanation ofRrf(int i, String query, Explanation source) {
            if (ranks[i] == 0) {
                return Explanation.noMatch("rrf score: [0], result not found in query " + query);
            }
            String how = "rrf score: [%s], for rank [%s] in query %s computed as [1 / (%s + %s)], for matching query with score";
            return Explanation.match(ranks[i], how.formatted(parts[i], ranks[i], query, ranks[i], constant), source);
        }

        private Explanation ofLinear(int i, String query, Explanation source) {
            if (parts[i] > 0 == false) {
                return Explanation.noMatch("weighted score: [0], result not found in query " + query);
            }
            float weighted = weights[i] * parts[i];
            String how = "weighted score: [%s] in query %s computed as [%s * %s] using score normalizer [%s] for original matching query with score:";
            String normalizer = minmax[i] ? "minmax" : "none";
            return Explanation.match(weighted, how.formatted(weighted, query, weights[i], parts[i], normalizer), source);
        }
    }
}
