"""The application's process, started by the supervisor, which tells it everything in one JSON line.

What this process imports takes seconds, so that comes after what keeps it from outliving the supervisor.
"""

from rerank_proxy.processes.startup import orders_of_parent, prepare


def main() -> None:
    prepare()
    orders = orders_of_parent()
    from rerank_proxy.app.serving import run

    run(orders)


if __name__ == "__main__":
    main()
