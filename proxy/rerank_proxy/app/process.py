"""The entry point of the application's process, which takes the supervisor's orders in one JSON line.

Its imports take seconds, so they come after what keeps the process from outliving the supervisor.
"""

from rerank_proxy.processes.startup import orders_of_parent, prepare


def main() -> None:
    prepare()
    orders = orders_of_parent()
    from rerank_proxy.concurrency.collection import no_collection

    with no_collection():
        from rerank_proxy.app.serving import run

    run(orders)


if __name__ == "__main__":
    main()
