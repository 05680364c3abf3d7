"""`POST /v1/rum`: which of a listener's reports count.

A report moves beliefs only if its session was told of that pathway, only once per session,
pathway and `WINDOW_S`, and only as the region that the origin decided: so a listener can lie
about its own experience, seldom, and about nothing else.
"""

from collections import Counter
from hashlib import blake2b

from cdn_router.beacons import Report, parse
from cdn_router.belief import Observation
from cdn_router.router import Router
from cdn_router.sessions import RoutedSession
from cdn_router.steering import BASE_ID, host_of

WINDOW_S = 15
"""A session's reports of one pathway within this count as one."""
ERRORS_PER_WINDOW = 3
"""Errors that count beside it."""
DUPLICATE_S = 600.0
"""How long a body that was sent again is recognised."""


async def take_in(router: Router, session_id: str, body: bytes) -> Counter[str]:
    """Count what may count; how many reports were ``counted``, or why not.

    Raises:
        InvalidInputError: The body is not a report.
    """
    reports = parse(body)
    now_s = router.clock()
    session = await router.sessions.find(session_id, now_s=now_s)
    if session is None:
        return Counter(unexposed=len(reports))
    digest = blake2b(body, digest_size=16).hexdigest()
    sent_before = f"rum/{session_id}/{digest}"
    if await router.state.get(sent_before, now_s=now_s) is not None:
        return Counter(duplicate=len(reports))
    results: Counter[str] = Counter()
    spent: set[str] = set()
    for report in reports:
        results[await _judge(router, session_id, session, report, spent, now_s)] += 1
    if results["counted"]:
        # only then: what counts is bounded, so the state of a session is, too
        await router.state.put(sent_before, b"", ttl_s=DUPLICATE_S, now_s=now_s)
    return +results


async def _judge(  # noqa: PLR0913, PLR0917  one report, its session, and what was spent before it
    router: Router,
    session_id: str,
    session: RoutedSession,
    report: Report,
    spent: set[str],
    now_s: float,
) -> str:
    pathway = _pathway_of(router, session, report)
    if pathway is None:
        return "unknown"
    if pathway != session.start and not session.steered:
        return "unexposed"
    if not report.plausible:
        return "implausible"
    slot = f"rum/{session_id}/{pathway}/{int(now_s // WINDOW_S)}/"
    marks = [f"e{n}" for n in range(ERRORS_PER_WINDOW)] if report.failed else ["ok"]
    for mark in marks:
        # the set spares the store what this body has used up already
        if slot + mark in spent:
            continue
        spent.add(slot + mark)
        taken = await router.state.put_if_absent(
            slot + mark, b"", ttl_s=2.0 * WINDOW_S, now_s=now_s
        )
        if taken is None:
            router.knowledge.note(
                Observation(
                    session.region, pathway, now_s, session_id,
                    report.rtt_ms, report.first_byte_ms,
                )
            )  # fmt: skip
            return "counted"
    return "too-often"


def _pathway_of(router: Router, session: RoutedSession, report: Report) -> str | None:
    """The configured pathway that is meant; by its id, else by the host that was asked."""
    if report.pathway == BASE_ID:
        return session.start
    return next(
        (
            p.id
            for p in router.pathways
            if p.id == report.pathway or (not report.pathway and host_of(p) == report.host)
        ),
        None,
    )
