"""metrics.calculate: figures of the whole cluster, read from the database and shown by this process's metrics."""

from posthorn_maintenance.jobs.job import Tenure
from posthorn_model.errors import PosthornError
from posthorn_node.metrics import Metrics
from posthorn_storage import Storage


class ClusterFigures:
    """The gauges; a process that does not hold the role shows none of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._queue = metrics.gauge("cluster_queue_recipients", "Recipients in the queue", ["state"])
        self._overdue = metrics.gauge(
            "cluster_queue_overdue_seconds", "For how long the recipient that is due the longest has been", ["state"]
        )
        self._index = metrics.gauge("cluster_index_tasks", "Messages not in the search index", ["state"])
        self._index_lag = metrics.gauge(
            "cluster_index_lag_seconds", "Age of the oldest message that waits for the search index", ["state"]
        )
        self._processes = metrics.gauge("cluster_processes", "Live processes", ["service"])
        self._dead = metrics.gauge("cluster_processes_dead", "Processes that ended without leaving", ["service"])

    async def keep(self, storage: Storage, interval: float, tenure: Tenure) -> None:
        """Read the figures every `interval` seconds while the role is held. Of several shares the first one does."""
        while not tenure.ending and tenure.share.part == 0:
            try:
                await self.read(storage)
            except PosthornError as error:
                tenure.log.warning("figures not read", reason=error.public)
            await tenure.pause(interval)
        await tenure.lease.ending.wait()
        self.forget()

    async def read(self, storage: Storage) -> None:
        """Read and show them once. Raises Unavailable, Overloaded."""
        depth = await storage.queue.standings()
        processes = await storage.nodes.all()
        overdue = await storage.queue.overdue()
        lag = await storage.search.lag()
        self.forget()
        self._index.labels("waiting").set(lag.waiting)
        self._index.labels("failed").set(lag.failed)
        self._index_lag.labels("waiting").set(lag.seconds)
        self._overdue.labels("waiting").set(overdue)
        for state, count in depth.items():
            self._queue.labels(state.name.lower()).set(count)
        for process in processes:
            if process.live:
                self._processes.labels(process.service).inc()
            elif process.state != "left":
                self._dead.labels(process.service).inc()

    def forget(self) -> None:
        """Show nothing: another process calculates now."""
        self._queue.clear()
        self._overdue.clear()
        self._index.clear()
        self._index_lag.clear()
        self._processes.clear()
        self._dead.clear()
