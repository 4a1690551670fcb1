"""How a rerank can fail. Every message is one line for people: what was wrong and what to do."""


class EngineError(Exception):
    """A rerank that gave no scores."""


class UnknownModelError(EngineError):
    """No model of that name is configured, or it was removed."""


class ModelFailedError(EngineError):
    """The model could not be loaded. Calls that come later have it tried again."""


class DeadlineExceededError(EngineError):
    """The scores were not there in time. What was still queued has been dropped."""


class QueueFullError(EngineError):
    """Too many tokens wait for the device already. Nothing of the call was queued."""


class InputTooLargeError(EngineError):
    """Query and text have more tokens than the model takes, and its truncation forbids to cut them."""


class InferenceError(EngineError):
    """The model ran and broke, or gave something that is no number."""


class EngineClosedError(EngineError):
    """The engine was closed, or is about to be, before the scores were there."""


class ModelLoadError(Exception):
    """Why a model cannot be loaded, and the remedy. Becomes a status detail and a `ModelFailedError`."""


class OutOfDeviceMemoryError(Exception):
    """A batch did not fit on the device; a smaller one may."""


def advice_for_numbers(dtype: str) -> str:
    """What to do with a model that gives numbers which are not finite in this type."""
    if dtype == "float32":
        return "its weights are probably damaged: copy the model again"
    return "set engine.dtype to float32"
