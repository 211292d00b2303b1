"""`diagnose_scans`: write a report for each of many scans, and one index."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from luna.ct.listing.find import Listing
from luna.report.batch.entry import Entry
from luna.report.batch.folder import PAGE, RECORD, SUMMARY, TABLE
from luna.report.batch.page import write_page
from luna.report.batch.prior import Earlier
from luna.report.batch.scan import DiagnoseScan, Order, ReadAndDiagnose, ReadScan
from luna.report.batch.summary import Summary, write_csv, write_json
from luna.run.batch import Done, Failed, OneAhead, run_batch
from luna.run.batch.cluster import Cluster
from luna.run.config import dump_config
from luna.run.files import remove_files
from luna.run.progress import SILENT, Listener
from luna.run.record import record_run, write_record

Outcome = Done[Entry] | Failed


def diagnose_scans(
    listing: Listing,
    order: Order,
    command: Sequence[str] = (),
    listener: Listener = SILENT,
    each: Callable[[str, Outcome], None] = lambda name, outcome: None,
    *,
    cluster: Cluster | None = None,
    listed: bool = True,
) -> Summary:
    """Diagnose every scan of a listing; write a report for each and one index.

    A scan whose report is there already, made with the same weights and config from the same
    content, is not diagnosed again. One that cannot be read or judged stops no other. `each` is
    called with every outcome as it comes. Ctrl-C leaves a list of what was done and comes through
    as KeyboardInterrupt. Where other runs diagnose other shares of the scans, none is `listed`.
    """
    out = order.out
    outcomes: dict[str, Outcome] = {}

    def note(name: str, outcome: Outcome) -> None:
        outcomes[name] = outcome
        each(name, outcome)

    out.mkdir(parents=True, exist_ok=True)
    remove_files(out, (PAGE, SUMMARY, TABLE))
    write_record(record_run(command, dump_config(order.config), str(order.device)), out / RECORD)
    try:
        _diagnose_all(listing, order, cluster, listener, note)
    except KeyboardInterrupt:
        if listed:
            _write(_summary(listing, outcomes), order)
        raise
    summary = _summary(listing, outcomes)
    if listed:
        _write(summary, order)
    return summary


def _diagnose_all(
    listing: Listing,
    order: Order,
    cluster: Cluster | None,
    listener: Listener,
    note: Callable[[str, Outcome], None],
) -> None:
    after = listing.priors.of if listing.priors else {}
    priors = {
        name: Earlier(listing.sources[prior], order.out / prior) for name, prior in after.items()
    }
    if cluster is not None:
        work = ReadAndDiagnose(order, cluster.threads)
        items = {name: (source, priors.get(name)) for name, source in listing.sources.items()}
        run_batch("scan", items, work, cluster, listener, note, after)
        return
    key = order.key()
    reads = {
        name: ReadScan(source, order.out / name, key, order.dicom, priors.get(name))
        for name, source in listing.sources.items()
    }
    run_batch("scan", reads, DiagnoseScan(order), OneAhead(), listener, note, after)


def _summary(listing: Listing, outcomes: dict[str, Outcome]) -> Summary:
    entries, failures, left = {}, {}, []
    for name in listing.sources:
        outcome = outcomes.get(name)
        if outcome is None:
            left.append(name)
        elif isinstance(outcome, Failed):
            failures[name] = outcome.reason
        else:
            entries[name] = outcome.result
    return Summary(listing=listing, entries=entries, failures=failures, left=tuple(left))


def _write(summary: Summary, order: Order) -> None:
    """Write the list; the page comes last and vouches for the tables."""
    write_csv(summary, order.out / TABLE)
    write_json(summary, order.out / SUMMARY)
    write_page(summary, order.out / PAGE, order.models.notices())
