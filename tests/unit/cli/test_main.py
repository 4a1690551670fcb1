"""The entry point."""

import sys
from types import ModuleType

import pytest

from rerank_proxy.__main__ import main


@pytest.mark.parametrize("where", ["while it is imported", "while it runs"])
def test_an_interrupt_has_a_status_and_no_traceback(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> object:
            if name != "run":
                raise AttributeError(name)
            if where == "while it is imported":
                raise KeyboardInterrupt
            return interrupt

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["rerank-proxy", "evaluate"])
    monkeypatch.setitem(sys.modules, "rerank_proxy.cli", Interrupted("rerank_proxy.cli"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
