"""Reading pickles of strangers: a pickle can run any code, so only named things are let in."""

import pickle
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from stages.data.errors import UserError

# What a damaged pickle makes the unpickler raise (seen by altering bytes at random in the tests).
_DAMAGE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)


def load_restricted(
    file: BinaryIO,
    admitted: Mapping[str, Any],
    where: str,
    resolve: Callable[[Any], Any] | None = None,
) -> Any:
    """Read the next pickle of a file, admitting no global but those named.

    Args:
        file: open for reading; left behind the pickle's last byte.
        admitted: what each admitted global stands for, by its dotted name in the pickle.
        where: the file's name, for messages.
        resolve: makes an object of a persistent id, if the format has them.

    Returns:
        The object; strings of Python 2 are `bytes`.

    Raises:
        UserError: the pickle asks for another global, or is truncated or malformed.
    """
    try:
        return _RestrictedUnpickler(file, admitted, where, resolve).load()
    except _DAMAGE as error:
        raise UserError(
            f"{where}: holds a damaged pickle ({type(error).__name__}: {error}); fetch it again"
        ) from error


class _RestrictedUnpickler(pickle.Unpickler):
    def __init__(
        self,
        file: BinaryIO,
        admitted: Mapping[str, Any],
        where: str,
        resolve: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__(file, encoding="bytes")
        self._admitted = admitted
        self._where = where
        self._resolve = resolve

    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        if wanted not in self._admitted:
            raise UserError(
                f"{self._where}: its pickle asks for {wanted!r}, which data of this kind never "
                "needs and which could run code; do not use this file"
            )
        return self._admitted[wanted]

    def persistent_load(self, pid: Any) -> Any:
        if self._resolve is None:
            raise pickle.UnpicklingError("unexpected persistent id")
        return self._resolve(pid)
