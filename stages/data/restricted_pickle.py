"""Reading pickles of strangers: a pickle can run any code, so only named things are let in."""

import pickle
from collections.abc import Mapping
from typing import Any, BinaryIO


class RestrictedUnpickler(pickle.Unpickler):
    """Reads the next pickle of a file, admitting no global but those named.

    Strings of Python 2 become `bytes`. `load` raises UnpicklingError, which names it, if another
    global is asked for, and nearly any exception if the pickle is damaged.

    Args:
        file: open for reading; left behind the pickle's last byte.
        admitted: what each admitted global stands for, by its dotted name in the pickle.
    """

    def __init__(self, file: BinaryIO, admitted: Mapping[str, Any]) -> None:
        super().__init__(file, encoding="bytes")
        self._admitted = admitted

    def find_class(self, module: str, name: str) -> Any:
        """Look a global up."""
        wanted = f"{module}.{name}"
        if wanted not in self._admitted:
            raise pickle.UnpicklingError(f"it asks for {wanted!r}, which could run code")
        return self._admitted[wanted]
