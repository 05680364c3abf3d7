"""Where a tonearm keeps what it knows: one folder, and nothing outside it."""

from dataclasses import dataclass
from pathlib import Path

from core.errors import InvalidInputError
from core.keyring import KeyRing


@dataclass(frozen=True, slots=True)
class Home:
    """The folder given by ``--home``; sub-folders are made by whoever writes there."""

    path: Path

    def create(self) -> None:
        """Make the folder if it is not there; for its owner alone, since it names listeners.

        Raises:
            InvalidInputError: It cannot be made.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(
                f"the home {self.path} cannot be made: {error.strerror}",
                hint="choose another with --home, or TONEARM_HOME",
            ) from None

    @property
    def keyring(self) -> KeyRing:
        """Secrets of this machine."""
        return KeyRing(self.path / "keyring.json")

    @property
    def work_dir(self) -> Path:
        """Encodes in progress; removed once their track is published."""
        return self.path / "work"

    @property
    def hot_url(self) -> str:
        """The default hot store."""
        return f"local:{self.path / 'hot'}"

    @property
    def cold_url(self) -> str:
        """The default cold store."""
        return f"local:{self.path / 'cold'}"

    @property
    def catalogue_url(self) -> str:
        """The default catalogue, as a database URL."""
        return f"sqlite:///{self.path / 'catalogue.sqlite'}"

    @property
    def state_url(self) -> str:
        """Sessions and other short-lived state."""
        return f"sqlite:{self.path / 'state.sqlite'}"

    @property
    def keys_path(self) -> Path:
        """The key server's database of wrapped content keys."""
        return self.path / "keys.sqlite"
