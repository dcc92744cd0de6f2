"""Figures of trials, for people and for programs."""
import statistics


def number(value, digits=1):
    return "–" if value is None else f"{value:.{digits}f}"


def figures(verdict):
    return {
        "trial": verdict.trial.name, "mode": verdict.trial.mode.name, "leader_seconds": verdict.leader,
        "proxy_seconds": verdict.proxy, "back_seconds": verdict.back, "told_seconds": verdict.told,
        "longest_gap_seconds": verdict.gap,
        "acknowledged": verdict.acknowledged, "lost": verdict.lost, "unknown": verdict.unknown,
        "refused": verdict.refused, "phantoms": verdict.phantoms, "missing": verdict.missing,
        "server_errors": verdict.server_errors, "seconds": verdict.seconds, "notes": verdict.notes,
        "violations": verdict.violations}


def tell(verdict):
    back = ", ".join(f"{way} {number(seconds)} s" for way, seconds in sorted(verdict.back.items()))
    parts = [
        f"leader after {number(verdict.leader)} s", f"appends back after {back}",
        f"told within {number(verdict.told)} s",
        f"{verdict.acknowledged} acknowledged", f"{verdict.lost} lost", f"{verdict.unknown} unknown and settled",
        f"phantoms {verdict.phantoms}", f"missing {verdict.missing}", *verdict.notes, f"took {verdict.seconds:.0f} s"]
    print("  " + "; ".join(parts), flush=True)
    for violation in verdict.violations:
        print(f"  VIOLATION: {violation}", flush=True)


COLUMNS = [
    ("trial", 22), ("n", 3), ("leader", 11), ("proxy", 11), ("back proxy", 11), ("back hosts", 11), ("driver", 11),
    ("told", 11), ("gap", 6), ("acked", 7), ("lost", 6), ("unknown", 8), ("phantoms", 9),
    ("missing", 8), ("500", 4), ("", 4)]


def spread(values):
    """The median and the largest."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    return f"{statistics.median(known):.1f} ≤{max(known):.1f}"


def table(found):
    """A row for each trial. Seconds are the median and the largest of all times it was made."""
    if not found:
        return
    def row(cells):
        texts = [cell.rjust(width) for cell, (_, width) in zip(cells, COLUMNS)]
        texts[0] = cells[0].ljust(COLUMNS[0][1])
        print("".join(texts))

    print()
    row([name for name, _ in COLUMNS])
    for trial in dict.fromkeys(verdict.trial for verdict in found):
        rows = [verdict for verdict in found if verdict.trial is trial]

        def total(name, rows=rows):
            return str(sum(getattr(row, name) for row in rows))

        cells = [
            trial.name, str(len(rows)), spread([row.leader for row in rows]), spread([row.proxy for row in rows]),
            *(spread([row.back.get(by) for row in rows]) for by in ("proxy", "hosts", "driver")),
            spread([row.told for row in rows]), number(max(filter(None, [row.gap for row in rows]), default=None)),
            total("acknowledged"), total("lost"), total("unknown"), total("phantoms"), total("missing"),
            total("server_errors"), "ok" if not any(row.violations for row in rows) else "BAD"]
        row(cells)
    print(
        "\nSeconds: median and largest. leader: until a server accepted writes. proxy: from then until the\n"
        "proxy led to it. back: from then until every caller had an answer; driver: callers of SQL whose own\n"
        "driver has the list of hosts. told: from then until the last reader knew what was lost. gap: the\n"
        "longest time without an event.")
    broken = [verdict for verdict in found if verdict.violations]
    if broken:
        print(f"\n{len(broken)} of {len(found)} trials are not as they must be:")
        for verdict in broken:
            for violation in verdict.violations:
                print(f"  {verdict.trial.name}: {violation}")
