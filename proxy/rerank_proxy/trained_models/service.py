"""Uploaded models and their deployments, as the APIs and the inference endpoints use them."""

import time
from collections.abc import Callable, Mapping

from rerank_proxy.inference import local_models
from rerank_proxy.settings import TrainedModelsSettings
from rerank_proxy.trained_models.catalogue import Catalogue
from rerank_proxy.trained_models.deployments import Deployments
from rerank_proxy.trained_models.directory import ModelDirectory
from rerank_proxy.trained_models.engine_port import ModelEngine
from rerank_proxy.trained_models.failures import conflict


class TrainedModels:
    """The uploaded models of this proxy. Belongs to the event loop that starts it.

    Args:
        clock: In seconds.

    Attributes:
        catalogue: Models by id, complete or being uploaded.
        serving: Started deployments by id.
    """

    def __init__(
        self,
        directory: ModelDirectory,
        engine: ModelEngine,
        settings: TrainedModelsSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.catalogue = Catalogue(directory, engine, settings, clock)
        self.serving = Deployments(self.catalogue, directory, engine)

    async def start(self) -> None:
        """Serve the models and deployments that the last process left."""
        await self.catalogue.start()
        await self.serving.restore()

    async def close(self) -> None:
        await self.catalogue.close()
        await self.serving.close()

    def has_model(self, model_id: str) -> bool:
        """Implement `rerank_proxy.inference.local_models.UploadedModels`."""
        return self.catalogue.is_complete(model_id)

    def deployments(self) -> Mapping[str, local_models.StartedDeployment]:
        """Implement `rerank_proxy.inference.local_models.UploadedModels`."""
        return {
            deployment_id: local_models.StartedDeployment(
                deployment_id,
                deployment.model_id,
                deployment.number_of_allocations,
                deployment.threads_per_allocation,
            )
            for deployment_id, deployment in self.serving.items()
        }

    async def delete(self, model_id: str, *, in_use: bool, force: bool) -> None:
        """Delete a model, and with `force` stop its deployments.

        Args:
            in_use: Whether something other than a deployment needs the model.

        Raises:
            ElasticsearchError: 404; or 409 for a model that is deployed or in use, unless `force`.
        """
        self.catalogue.get(model_id)
        if in_use or self.serving.of_model(model_id):
            if not force:
                raise conflict(
                    f"Cannot delete model [{model_id}] as it is currently deployed; use force to delete the "
                    "model"
                )
            await self.serving.stop_model(model_id)
        await self.catalogue.delete(model_id)
