"""All that clients may do with trained models, in one place."""

from proxy.settings import TrainedModelsSettings
from proxy.trained_models.catalogue import Catalogue
from proxy.trained_models.directory import ModelDirectory
from proxy.trained_models.engine import ModelEngine
from proxy.trained_models.failures import conflict
from proxy.trained_models.serving import Deployments


class TrainedModels:
    """The uploaded models of this proxy. Belongs to the event loop that starts it.

    Attributes:
        catalogue: Models by id, whole or on their way.
        deployments: Started ones by id, each with its model and what it may use.
    """

    def __init__(
        self, directory: ModelDirectory, engine: ModelEngine, settings: TrainedModelsSettings
    ) -> None:
        self.catalogue = Catalogue(directory, engine, settings)
        self.deployments = Deployments(self.catalogue, directory, engine)

    async def start(self) -> None:
        """Take up what the last process left.

        Raises:
            OSError: The directory cannot be made or read.
        """
        await self.catalogue.start()
        await self.deployments.restore()

    async def close(self) -> None:
        await self.catalogue.close()

    async def delete(self, model_id: str, *, force: bool) -> None:
        """Raises:
        ElasticsearchError: 404; or 409 for a model that is deployed, unless `force`, which stops it.
        """
        self.catalogue.get(model_id)
        if self.deployments.of_model(model_id):
            if not force:
                raise conflict(
                    f"Cannot delete model [{model_id}] as it is currently deployed; use force to delete the "
                    "model"
                )
            await self.deployments.stop_model(model_id)
        await self.catalogue.delete(model_id)
