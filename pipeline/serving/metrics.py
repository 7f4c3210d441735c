"""What a server counts, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counts of one server."""

    TYPE = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._all = CollectorRegistry()
        self._requests = Counter(
            "face18_requests", "Requests, by the HTTP status of their reply.", ["status"], registry=self._all
        )
        self._photos = Counter("face18_photos", "Photos, labelled or refused.", ["result"], registry=self._all)
        self._faces = Counter("face18_faces", "Faces found in labelled photos.", registry=self._all)
        self._seconds = Histogram(
            "face18_request_seconds",
            "Seconds from a request for labels to its reply.",
            buckets=SECONDS,
            registry=self._all,
        )
        self._batches = Histogram(
            "face18_batch_photos", "Photos that were predicted together.", buckets=BATCHES, registry=self._all
        )
        self._waiting = Gauge("face18_waiting_photos", "Photos that wait for their labels.", registry=self._all)

    def replied(self, status: int) -> None:
        self._requests.labels(str(status)).inc()

    def took(self, seconds: float) -> None:
        self._seconds.observe(seconds)

    def photo(self, labelled: bool, faces: int) -> None:
        self._photos.labels("labelled" if labelled else "refused").inc()
        self._faces.inc(faces)

    def predicted(self, photos: int) -> None:
        self._batches.observe(photos)

    def total(self, name: str) -> float:
        """How many `requests` or `photos` were counted, of whatever kind."""
        counter = {"requests": self._requests, "photos": self._photos}[name]
        return sum(one.value for family in counter.collect() for one in family.samples if one.name.endswith("_total"))

    def text(self, waiting: int) -> bytes:
        self._waiting.set(waiting)
        return generate_latest(self._all)
