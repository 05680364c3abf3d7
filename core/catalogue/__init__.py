"""Which tracks there are: what is published, what was, and on which terms."""

from core.catalogue.catalogue import Catalogue
from core.catalogue.entries import Publication, Status, Tail, Track, TrackEntry

__all__ = ["Catalogue", "Publication", "Status", "Tail", "Track", "TrackEntry"]
