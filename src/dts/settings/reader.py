"""Variables of the environment, read one by one; every mistake is named, not only the first."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from dts.domain.errors import Violation

T = TypeVar("T")

TOKEN_LENGTH = 32
"""Characters of a token that may do everything, at least."""

# The command line reads these itself.
_ELSEWHERE = ("DTS_SERVER",)
_SHOWN = 64


class Reader:
    """Reads variables, and collects what is wrong with them.

    violations: so far, one for each variable that is wrong.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.violations: list[Violation] = []
        self._environ = environ
        self._known: set[str] = set(_ELSEWHERE)

    def text(self, name: str) -> str | None:
        """As it stands there; None if it is empty or not there."""
        self._known.add(name)
        return self._environ.get(name, "").strip() or None

    def value(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """What `parse` makes of the variable; its ValueError is the sentence for people."""
        text = self.text(name)
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError as exc:
            shown = f" {text!r}" if len(text) <= _SHOWN and text.isprintable() else ""
            self.refuse(name, "settings.invalid", f"{exc}; it is{shown or ' something else'}")
            return default

    def path(self, name: str) -> Path | None:
        """A file or a directory, whether or not there is one."""
        return self.value(name, lambda text: Path(text).expanduser().absolute(), None)

    def secret(self, name: str) -> str | None:
        """A secret, from the variable or from the file that `…_FILE` names; never echoed."""
        text, file = self.text(name), self.text(f"{name}_FILE")
        if text is not None and file is not None:
            self.refuse(name, "settings.twice", f"is set beside {name}_FILE; only one of them may be")
        if text is not None or file is None:
            return text
        return self._from_file(f"{name}_FILE", Path(file))

    def installation_token(self) -> str | None:
        """The token that may do everything: long enough that nobody finds it by guessing."""
        token = self.secret("DTS_TOKEN")
        if token is not None and len(token) < TOKEN_LENGTH:
            self.refuse(
                "DTS_TOKEN",
                "settings.short",
                f"has fewer than {TOKEN_LENGTH} characters; `dts token generate` makes one",
            )
        return token

    def secret_file(self, name: str, check: Callable[[str], T]) -> T | None:
        """A secret that may stand in a file only; never echoed, not even by `check`."""
        file = self.text(name)
        text = None if file is None else self._from_file(name, Path(file))
        try:
            return None if text is None else check(text)
        except ValueError as exc:
            self.refuse(name, "settings.invalid", str(exc))
            return None

    def _from_file(self, name: str, file: Path) -> str | None:
        # Whoever put the secret itself here by mistake must not find it in the log.
        shown = f"the file {file}" if file.is_absolute() else "a file"
        text, trouble = "", f"names {shown} that is empty"
        try:
            text = file.read_text("utf-8").strip()
        except OSError as exc:
            trouble = f"names {shown} that cannot be read: {exc.strerror}"
        except UnicodeDecodeError:
            trouble = f"names {shown} that is not UTF-8 text"
        if not text:
            self.refuse(name, "settings.unreadable", trouble)
        return text or None

    def unknown(self) -> tuple[str, ...]:
        """A sentence for each variable that looks like a setting and is none."""
        names = sorted(name for name in self._environ if name.startswith("DTS_") and name not in self._known)
        return tuple(f"{name} is not a setting of dts{self._nearest(name)}" for name in names)

    def _nearest(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._known, n=1, cutoff=0.75)
        return f"; did you mean {near[0]}?" if near else ""

    def refuse(self, name: str, code: str, message: str) -> None:
        """Notes that a variable is wrong."""
        self.violations.append(Violation(name, code, message))
