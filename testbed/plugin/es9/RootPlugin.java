package testbed;

import java.util.Collection;
import java.util.List;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.common.settings.Setting;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.plugins.ActionPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.plugins.SearchPlugin;
import org.elasticsearch.rest.RestHandler;

/**
 * Registers {@link RootHandler} by the signature that Elasticsearch 9 asks for and, where a node is told to, the retrievers
 * that take a licence.
 */
public final class RootPlugin extends Plugin implements ActionPlugin, SearchPlugin {

    private static final Setting<Boolean> RANKS = Setting.boolSetting("testbed.ranks", false, Setting.Property.NodeScope);

    private final boolean ranks;
    private ClusterService clusterService;

    public RootPlugin(Settings settings) {
        ranks = RANKS.get(settings);
    }

    @Override
    public List<Setting<?>> getSettings() {
        return List.of(RANKS);
    }

    @Override
    public Collection<?> createComponents(PluginServices services) {
        clusterService = services.clusterService();
        return List.of();
    }

    @Override
    public Collection<RestHandler> getRestHandlers(
        RestHandlersServices services,
        Supplier<DiscoveryNodes> nodesInCluster,
        Predicate<NodeFeature> clusterSupportsFeature
    ) {
        return List.of(new RootHandler(clusterService));
    }

    @Override
    public List<RetrieverSpec<?>> getRetrievers() {
        if (ranks == false) {
            return List.of();
        }
        return List.of(
            new RetrieverSpec<>("text_similarity_reranker", Reranker.PARSER::apply),
            new RetrieverSpec<>("rrf", Fusion.RRF::apply),
            new RetrieverSpec<>("linear", Fusion.LINEAR::apply)
        );
    }
}
