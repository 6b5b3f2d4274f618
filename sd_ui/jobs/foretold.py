"""A preflight's report in words and plain values: page, command line and endpoints say the same."""

from typing import Any

from sd_ui.forecast.forecast import KIN, OTHER, Forecast
from sd_ui.jobs.preflight import Report, gigabytes
from sd_ui.spec.fields import FIELDS

UNKNOWN = "Nothing has been measured here yet: the first picture will tell how long this takes."
WORTH = 0.15  # part of the time from which on loading is worth a word
WORTH_SAYING = 10_000_000  # bytes


def headline(report: Report) -> str:
    """One line: time, queue, memory; "" where the request is refused."""
    found = report.forecast
    if found is None:
        return ""
    return " · ".join(part for part in (time_of(found), queue_of(report, found), memory_of(report)) if part)


def time_of(found: Forecast) -> str:
    if not found.runs:
        return UNKNOWN
    time, loading = duration(found.seconds), f", {duration(found.loading)} of it to load the model" if found.loading > WORTH * found.seconds else ""
    if found.basis == OTHER:
        return f"Very roughly {time}, reckoned from {found.source}: this model has not run here yet"
    return f"About {time}{loading}" + (f", going by {found.source}" if found.basis == KIN else "")


def queue_of(report: Report, found: Forecast) -> str:
    ahead = report.ahead
    if not ahead.jobs:
        return ""
    before = f"{ahead.jobs} job{'s' if ahead.jobs > 1 else ''} before it"
    return f"{before}: ready in about {duration(ahead.seconds + found.seconds)}" if ahead.seconds is not None and found.runs else before


def memory_of(report: Report) -> str:
    needs = f"{gigabytes(report.needs)} of memory" if report.needs >= WORTH_SAYING else ""
    free = f"{gigabytes(report.free)} free" if report.free is not None else ""
    return ", ".join(part for part in (needs, free if needs else "") if part)


def duration(seconds: float) -> str:
    """As people say it, no more precise than it is known."""
    if seconds < 1:
        return "a second" if seconds > 0.5 else "half a second"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def labelled(field: str, text: str) -> str:
    """A refusal as Generate says it."""
    return f"{FIELDS[field].label if field in FIELDS else field}: {text}" if field else text


def plain(report: Report) -> dict[str, Any]:
    """seconds: of this job alone; wait: of those before it; both None where they are not known. memory, free: bytes."""
    found = report.forecast
    known = found is not None and found.runs > 0
    return {
        "refused": report.refused,
        "text": headline(report),
        "lines": [{"severity": line.severity, "field": line.field, "text": line.text} for line in report.lines],
        "seconds": round(found.seconds, 2) if found and known else None,
        "basis": found.basis if found else "",
        "runs": found.runs if found else 0,
        "jobs_before": report.ahead.jobs,
        "wait": None if report.ahead.seconds is None else round(report.ahead.seconds, 2),
        "memory": report.needs,
        "free": report.free,
    }
