"""The table of data that does not fit in memory, from benchmarks/results/large_data*.json."""

from typing import Any

Row = dict[str, Any]
SECONDS, MIB = "{:.1f} s", 2**20


def large_table(found: Row, kit: Row | None) -> str:
    """Reading, against torch's DataLoader; then an audit's time and memory."""
    runs, ratios = found["runs"], found["speed_against_loader"]
    ours = {turn: runs[f"ours, {turn}"] for turn in ("first", "second")}
    lines = [
        (
            f"`{found['command']}`: {found['images']:,} JPEGs of 224 x 224 in 200 classes, batches of 128;"
            f" {place(found)}:"
        ),
        "",
        "| | first pass, decoding | later passes |",
        "|---|---|---|",
        "| first batch, with finding and hashing all files "
        + "".join(f"| {SECONDS.format(r['first_batch_s'])} " for r in ours.values())
        + "|",
        "| images a second, one process "
        + "".join(f"| {r['images_a_second']:,.0f} " for r in ours.values())
        + "|",
    ]
    for way, name in (("loader of 1", "one worker process"), ("loader of 2", "two worker processes")):
        shown = "".join(f"| {ratios[f'{turn} pass against {way}']:.2f} " for turn in ours)
        lines.append(f"| times a DataLoader on ImageFolder, {name} {shown}|")
    lines.append(
        "| memory of the process "
        + "".join(f"| {r['memory_bytes'] / MIB:,.0f} MiB " for r in ours.values())
        + "|"
    )
    if kit:
        most = ", ".join(
            f"{name} {size / MIB:,.0f} MiB" for name, size in kit["most_bytes"].items() if name != "other"
        )
        took = f"{kit['seconds'] / 60:.0f} minutes for {kit['models']} small models"
        lines += ["", f"`{kit['command']}`, an audit of them on Ray ({place(kit)}): {took}; at most {most}."]
    return "\n".join(lines)


def place(found: Row) -> str:
    return f"{found['hardware']}, commit {found['commit']}"
