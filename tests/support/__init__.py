"""What tests share: real parts, and doubles of what cannot run here.

Servers and clients
    raw_http            servers and clients of bytes, for what goes over the wire
    fidelity            what a client sees of a request, directly and through the proxy
    permitted           what of that may differ, and why
    rest_api_spec       requests for every API of Elasticsearch, from its own descriptions
    memory_transport    a transport without a network: the test cuts the bytes and slows a side down
    tls                 certificates, and servers whose TLS a client has to refuse
    relay               a relay in front of a real Elasticsearch that answers what the test's one lacks
    fault_hop           a hop that does to one exchange what a fault says, and counts what it passes on
    bulk_upstream       an upstream for large bodies, which costs nothing itself
    templates           such a relay that renders search templates
    basic_licence       such a relay that refuses what a Basic licence does not allow
    recording           such a relay that notes what passes, and with which headers
    accounts            users and roles of an Elasticsearch with security
    client_headers      the headers by which the official clients negotiate formats
    vendors             the vendors' servers, strict about their wire; bytes of any kind instead
    remote              endpoints of remote services in front of them
    model_hub           a model hub with one repository
    connections         where processes connect to, and which names they look up
    model_repository    a repository of model packages, with what can go wrong on the way

The proxy, in parts
    search_app          the application on a socket in front of an Elasticsearch; its scores are in the texts
    proxied             edge and application in front of an Elasticsearch, in the test's process
    app_control         the application's control socket, without the rest of its process
    admin_pages         the admin listener with its pages, over an edge in the test's process
    app_double          a process in the application's place
    supervised          a supervisor, with that process
    edge_process        an edge in a process of its own, and what it takes
    traces              a tracer whose spans stay in memory, and the trees that they form
    online              clicks and trials: their parts, and what is counted of them
    endpoints           inference endpoints over a given engine, without a store
    valkey              a real Valkey, and a server that misbehaves in its place
    stores              stores of endpoints, and waiting for what other processes do to them
    example_plugin      the package that docs/plug-ins.md shows
    example_retriever   the retriever that docs/architecture.md shows

Models
    tiny_models         complete models of transformers' own classes, tiny and random
    tiny_generating     generating rerankers, likewise, as they are published
    tiny_late           late-interaction models, likewise, in the layouts of three libraries
    tiny_sparse         sparse encoders (SPLADE), likewise, in the layouts of old and new versions
    layerwise_model     the Python file of a layer-wise reranker
    packages            model packages of Elastic's and Eland's form, from those
    trained_models      uploads without a model in them
    trainings           material for trainings in miniature, in which there is something to learn
    engines             an engine for the length of a block
    hanging             models that never return
    attacks             what can be done to a model's directory to do harm
    eland               Eland, in an environment of its own

Searches
    searches            requests that rerank, and the parts of answers
    random_searches     any tree of retrievers under any options, and an index that has it all
    crime_indices       indices of texts about crime, and searches of them
    retrievers          retrievers as JSON, and what reading them gives
    inference           requests of the `_inference` API, and the form of its refusals
    chunks              the words of a text, read in one go
    snappy              bodies in Snappy's framing

Kubernetes
    kubernetes_tools    Helm, kubectl and the definitions of custom resources
    manifests           what every manifest of deploy/ has to hold
    chart               the Helm chart, rendered with sets of values that use all of it

Of the suite itself
    kept_indices        indices that tests take in turn
    left_behind         what the proxy's parts hold, before and after
    obtained            what becomes of a test whose program cannot be had
    promql              what expressions of Prometheus name, and promtool
    metrics             metrics as scrapers read them, and the table that documents them
    examples            how many examples a property draws
    waiting             waiting for what has no event
    processes           whether other processes run
    processor_time      processor time, in seconds of an ordinary machine
    loop_time           how long an event loop is held, in that time
    evaluations         evaluations whose answers are drawn at random
    judged_index        a server that answers the searches of an evaluation, and fails as a test says
    pages               the project's pages of Markdown
    quiet               progress of long work, where a test does not look at it
    browser             Chromium, and what no page may do in it
    judgings            directories of judgments, and the page of a person at work there
    schemas             JSON schemas of files that other programs read
    wheels              the project's wheel, built as `pip` builds it
    project             the project's files
"""
