"""The errors of the APIs for trained models, worded as in Elasticsearch's ``ExceptionsHelper``."""

from rerank_proxy.errors import ElasticsearchError, error, status_error


def bad_request(reason: str) -> ElasticsearchError:
    return status_error(400, reason)


def conflict(reason: str) -> ElasticsearchError:
    return status_error(409, reason)


def not_found(reason: str) -> ElasticsearchError:
    return error(404, "resource_not_found_exception", reason)


def already_exists(reason: str) -> ElasticsearchError:
    return error(400, "resource_already_exists_exception", reason)


def missing_model(model_ids: str) -> ElasticsearchError:
    return not_found(f"No known trained model with model_id [{model_ids}]")


def missing_deployment(deployment_id: str) -> ElasticsearchError:
    return not_found(f"No known model deployment with id [{deployment_id}]")
