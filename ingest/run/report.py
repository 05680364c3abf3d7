"""A track's own `report.json`: what its master is, and what was heard in it."""

import dataclasses
import json

from ingest.encode.toolchain import Toolchain
from ingest.measure.loudness import Energies
from ingest.measure.meters import Findings, decode_energies, encode_energies
from ingest.run.plan import Plan


def track_report(plan: Plan, findings: Findings, toolchain: Toolchain) -> bytes:
    """`report.json`: no times and no paths, so that the same master gives the same bytes."""
    master = plan.master
    document = {
        "format": 1,
        "master": {
            "container": master.container,
            "codec": master.codec,
            "sample_rate": master.sample_rate,
            "channels": master.channels,
            "bit_depth": master.bit_depth,
            "samples": findings.quality.samples,
            "tags": dataclasses.asdict(master.tags),
        },
        "ladder": plan.options.ladder.name,
        "notes": plan.fit.notes,
        "warnings": warnings_of(plan, findings),
        "quality": dataclasses.asdict(findings.quality),
        "loudness": dataclasses.asdict(findings.loudness),
        "energies": encode_energies(findings.energies),
        "toolchain": toolchain.fingerprint,
    }
    return json.dumps(document, sort_keys=True, indent=1).encode()


def warnings_of(plan: Plan, findings: Findings) -> tuple[str, ...]:
    """What the user should know about a track that is published nevertheless."""
    return (*plan.master.warnings, *findings.quality.warnings)


def energies_of(report: bytes) -> Energies:
    """From a stored `report.json`; ValueError, KeyError or TypeError if there are none."""
    return decode_energies(json.loads(report)["energies"])
