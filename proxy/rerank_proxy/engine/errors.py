"""How scoring can fail. Every message is one line for people: what was wrong and what to do."""


class EngineError(Exception):
    """A call that gave no scores."""


class UnknownModelError(EngineError):
    """No model of that name is configured, or it was removed."""


class ModelFailedError(EngineError):
    """The model could not be loaded. A later call has it tried again."""


class DeadlineExceededError(EngineError):
    """The scores were not there in time. Texts that were still queued have been dropped."""


class QueueFullError(EngineError):
    """Too many tokens already wait for the device. Nothing of the call was queued.

    Attributes:
        retry_after_s: Seconds after which there is probably room; None if waiting does not help, or if that
            is not known.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class DeadlineUnreachableError(QueueFullError):
    """The scores cannot be there in time, as far as the work of the queue and the pace of the model tell.

    No work, or no further work, was spent on the call.
    """


class InputTooLargeError(EngineError):
    """Query and text have more tokens than the model takes, and its truncation forbids cutting them."""


class NoInstructionError(EngineError):
    """The model cannot be told what to do."""


class InferenceError(EngineError):
    """The model ran and failed, or gave something that is not a number."""


class EngineClosedError(EngineError):
    """The engine was closed, or is about to be, before the scores were there."""


class ModelLoadError(Exception):
    """Why a model cannot be loaded, and the remedy. Becomes a status detail and a `ModelFailedError`."""


class OutOfDeviceMemoryError(Exception):
    """A batch did not fit on the device; a smaller one may."""


def fresh(error: EngineError) -> EngineError:
    """Return a copy to raise: one exception raised for many calls would accumulate their tracebacks."""
    return type(error)(*error.args)


def inference_error(error: BaseException) -> InferenceError:
    """Return the error of any library in one line."""
    text = str(error).strip()
    first_line = text.splitlines()[0] if text else "no details"
    if isinstance(error, OutOfDeviceMemoryError):
        return InferenceError(f"one text does not fit in the device's memory ({first_line})")
    return InferenceError(f"{type(error).__name__}: {first_line}")


def advice_for_numbers(precision: str) -> str:
    """Say what to do with a model whose outputs are not finite in this precision."""
    match precision:
        case "fp32":
            return "its weights are probably damaged: copy the model again"
        case "int8" | "bf16" | "fp16":
            return "set engine.precision to fp32"
        case _:
            return "ask those who made its backend"
