"""Tables of what the service can do, from benchmarks/results/serving*.json."""

from table_parts import Row, spread

FORMATS = ("JSON", "Arrow", "float32")


def serving_table(found: Row) -> str:
    """Throughput and percentiles, of everybody."""
    names = {
        "plain": "plain FastAPI on uvicorn, no batching",
        "ours": "`zooaudit serve`",
        "empty": "an empty Serve handler",
    }
    lines = [
        (
            f"20 views, N=100, K=10; {found['clients']} clients on the same {found['hardware']}; commit"
            f" {found['commit']}; median [least, most], ratios within a repeat:"
        ),
        "",
        "| | body | scores a second | times plain | of the empty handler | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in (r for r in found["rows"] if r["who"] in names):
        form, ours = row["format"], row["who"] == "ours"
        times = spread(found["ratios"][f"{form} over plain"], "{:.1f}") if ours else ""
        share = spread(found["ratios"][f"{form} over empty"], "{:.0%}") if ours else ""
        body = f"{form}, {row['bytes'] / 1000:.0f} kB"
        figures = [spread(row[k], "{:.0f}") for k in ("per_second", "p50_ms", "p99_ms")]
        lines.append(
            f"| {names[row['who']]} | {body} | {figures[0]} | {times} | {share} | {figures[1]} |"
            f" {figures[2]} |"
        )
    return "\n".join(lines)


def time_table(found: Row) -> str:
    """Where the milliseconds of one request go, of one client that waits for each answer."""
    alone = {(r["who"], r["format"]): r["p50_ms"]["median"] for r in found["rows"]}
    parts = found["milliseconds"]
    rows: dict[str, list[float]] = {
        "Serve: proxy, queues, an empty handler; the client": [
            alone["empty, one client", f] for f in FORMATS
        ],
        "parsing the body": [parts[f"parse {f}"] for f in FORMATS],
        "the score: checks, encoder, 30 t-tests, digest": [parts["score one"] for _ in FORMATS],
    }
    whole = [alone["ours, one client", f] for f in FORMATS]
    rows["FastAPI, keys, schemas, log, `serve.batch`: the rest"] = [
        w - sum(r[i] for r in rows.values()) for i, w in enumerate(whole)
    ]
    rows["**whole, p50 of one client**"] = whole
    lines = ["| milliseconds | " + " | ".join(FORMATS) + " |", "|---|---|---|---|"]
    lines += [
        f"| {name} | " + " | ".join(f"{v:.1f}" if v >= 0.05 else f"{v:.2f}" for v in values) + " |"
        for name, values in rows.items()
    ]
    return "\n".join(lines)


def steady_table(found: Row) -> str:
    """Cold kits, memory, the soak."""
    soak, held = found["soak"], found["mib_by_tens"]
    minutes = soak["mib_by_minute"]
    lines = [
        (
            f"{found['kits']} kits in SeaweedFS, {found['kits_mib']} MiB for kits in memory;"
            f" {found['hardware']}; commit {found['commit']}:"
        ),
        "",
        "| | |",
        "|---|---|",
        f"| cold kit to first score, s | {spread(found['cold_s'], '{:.3f}')} |",
        (
            f"| replica's memory, MiB: before, after 10, 100 and {found['kits']} kits "
            f"| {held[0]:.0f}, {held[1]:.0f}, {held[min(10, len(held) - 1)]:.0f}, {held[-1]:.0f} |"
        ),
        f"| most, scores a second | {found['at_most']['per_second']:.0f} |",
        (
            f"| soak: {soak['requests']:,} requests at {soak['per_second']:.0f} a second, failed |"
            f" {soak['failed']} |"
        ),
        f"| p50, p99 ms | {soak['p50_ms']:.0f}, {soak['p99_ms']:.0f} |",
        (
            f"| memory, MiB: at its start, in the middle, at its end | {minutes[0]:.0f},"
            f" {minutes[len(minutes) // 2]:.0f}, {minutes[-1]:.0f} |"
        ),
    ]
    return "\n".join(lines)
