"""What was measured, and what the model says to it: tables, a drawing, the tables of a page."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minidl.distributed.cost_model import allreduce_seconds, sum_seconds
from ranks import fitted
from ranks.fitted import ASSUMED, MANY, ONE_HOST, Checked

#: Samples of a step on many ranks where scaling is strong: 4 for each of 1,024.
STRONG_BATCH = 4096


def shown(seconds: float) -> str:
    """Write seconds with three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def percent(ratio: float) -> str:
    """Write a relative error."""
    return f"{100 * ratio:+.0f} %"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cases(results: Mapping[str, Any]) -> list[str]:
    """Name the cases in their order."""
    return list(dict.fromkeys(row["case"] for row in results["alone"]))


def networks_table(results: dict[str, Any]) -> str:
    """Latency and bandwidth, as fitted."""
    rows = []
    for name in results["networks"]:
        link = fitted.link(results, name)
        rate = link.bandwidth / 1e6
        rows.append([name, shown(link.latency), f"{rate:.4g} MB/s", f"{100 * link.busy:.0f} %"])
    rows += [[name, "–", "–", f"not measured: {why}"] for name, why in results["missing"].items()]
    head = ["network", "latency α", "bandwidth 1/β", "of which a core works"]
    return table(head, rows) + f"\n\nMPI adds {fitted.adding(results) / 1e9:.2f} GB/s (1/γ)."


def compute_table(results: dict[str, Any]) -> str:
    """What a rank does alone."""
    rows = []
    for case in cases(results):
        work = fitted.work(results, case)
        sizes = ", ".join(f"{b.nbytes / 1e3:.4g} kB at {b.ready:.2f}" for b in work.buckets)
        rows.append(
            [
                case,
                shown(work.fixed),
                shown(work.per_sample),
                shown(work.update),
                f"{fitted.slowdown(results, case, results['cores']):.2f}",
                sizes,
            ]
        )
    head = ["case", "fixed", "a sample", "update", "slowdown, cores all busy", "messages, ready at"]
    return table(head, rows)


def sums_table(results: dict[str, Any]) -> str:
    """Sums over two ranks, which no number was fitted to."""
    names = list(results["networks"])
    rows = []
    for number, row in enumerate(results["networks"][names[0]]["probe"]["sums"]):
        cells = [f"{row['bytes'] / 1e3:.4g} kB"]
        for name in names:
            found = results["networks"][name]["probe"]["sums"][number]["seconds"]
            said = allreduce_seconds(
                row["bytes"], 2, fitted.link(results, name), adding=fitted.adding(results)
            )
            cells.append(f"{shown(found)} ({shown(said)}, {percent(said / found - 1)})")
        rows.append(cells)
    return table(["bytes", *names], rows)


def _traffic_rows(results: dict[str, Any]) -> Iterable[list[str]]:
    for network, about in results["networks"].items():
        for ranks, rows in about["steps"].items():
            for case in cases(results):
                (off,) = (
                    row for row in rows
                    if row["case"] == case and row["batch"] == results["batch"]
                    and not row["overlap"]
                )  # fmt: skip
                nbytes = sum(sent["bytes"] for sent in off["messages"])
                cable = f"{off['cable'] / 1e3:.4g} kB" if "cable" in off else "–"
                where = fitted.cluster(results, network, case, int(ranks))
                said = sum(sum_seconds(sent["bytes"], where) for sent in off["messages"])
                yield [
                    network, ranks, case, str(len(off["messages"])), f"{nbytes / 1e3:.4g} kB",
                    cable, shown(off["waited"]), shown(said),
                ]  # fmt: skip


def traffic_table(results: dict[str, Any]) -> str:
    """Bytes and seconds of communication, without overlap."""
    head = ["network", "ranks", "case", "messages a step", "bytes given to MPI",
            "bytes sent over the cable", "seconds in sums", "predicted"]  # fmt: skip
    return table(head, _traffic_rows(results))


def _cell(found: Checked) -> str:
    return f"{shown(found.row['step'])} ({shown(found.predicted.step)}, {percent(found.error)})"


def steps_table(results: dict[str, Any], network: str) -> str:
    """Steps over one network: measured (predicted, error)."""
    rows = []
    whole = results["batch"]
    every = [each for each in fitted.checked(results) if each.network == network]
    for case in cases(results):
        alone = fitted.alone_seconds(results, case, whole)
        for kind in ("strong", "weak"):
            for ranks in dict.fromkeys(each.ranks for each in every):
                batch = whole // ranks if kind == "strong" else whole
                on, off = (
                    next(
                        each for each in every
                        if each.ranks == ranks and each.row["overlap"] == overlap
                        and each.row["case"] == case and each.row["batch"] == batch
                    )
                    for overlap in (True, False)
                )  # fmt: skip
                best = min(on.row["step"], off.row["step"])
                gain = f"{alone / best:.2f}" + (" times" if kind == "strong" else " of one rank's")
                rows.append([case, kind, str(ranks), str(batch), _cell(off), _cell(on), gain])
    head = ["case", "scaling", "ranks", "batch of a rank", "without overlap", "with overlap",
            "speed-up, or efficiency"]  # fmt: skip
    return table(head, rows)


def errors_table(results: dict[str, Any]) -> str:
    """How far the predictions of steps are off."""
    rows = []
    every = fitted.checked(results)
    for ranks in dict.fromkeys(each.ranks for each in every):
        for overlap in (False, True):
            errors = [
                each.error for each in every
                if each.ranks == ranks and each.row["overlap"] == overlap
            ]  # fmt: skip
            sizes = sorted(map(abs, errors))
            rows.append(
                [
                    str(ranks),
                    "on" if overlap else "off",
                    str(len(errors)),
                    f"{100 * statistics.median(sizes):.0f} %",
                    percent(min(errors)),
                    percent(max(errors)),
                ]
            )
    head = ["ranks", "overlap", "steps", "median error", "lowest", "highest"]
    return table(head, rows)


def links(results: dict[str, Any]) -> dict[str, Any]:
    """Return the networks between hosts that predictions are printed for."""
    own = {name: fitted.link(results, name) for name in results["networks"] if name != ONE_HOST}
    own = {
        name.removeprefix("two hosts, ") + " (measured)": link
        for name, link in own.items()
        if link.busy < 1  # the cable without a limit is this machine's cores
    }
    return own | ASSUMED


def many_table(results: dict[str, Any], case: str, *, strong: bool) -> str:
    """Predictions for 8 to 1,024 hosts, without and with overlap."""
    rows = []
    work = fitted.work(results, case)
    whole = STRONG_BATCH if strong else results["batch"]
    alone = work.passes(whole) + work.update
    for name, link in links(results).items():
        cells = []
        for hosts in MANY:
            batch = whole / hosts if strong else whole
            steps = fitted.many(results, case, link, hosts, batch)
            off, on = (alone / steps[overlap] for overlap in (False, True))
            cells.append(f"{off:.3g}, {on:.3g}" if strong else f"{off:.2f}, {on:.2f}")
        rows.append([name, *cells])
    return table(["network", *map(str, MANY)], rows)


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Return all tables by their titles."""
    about = f"{results['machine']}.\n\n```sh\n{results['command']}\n```"
    found = {
        "Machine": about,
        "Networks": networks_table(results),
        "Compute": compute_table(results),
        "Sums over two ranks": sums_table(results),
        "Communication of a step": traffic_table(results),
    }
    for network in results["networks"]:
        found[f"Steps: {network}"] = steps_table(results, network)
    found["Errors of the predictions"] = errors_table(results)
    for case in cases(results):
        found[f"Weak scaling, predicted: {case}"] = many_table(results, case, strong=False)
        found[f"Strong scaling, predicted: {case}"] = many_table(results, case, strong=True)
    return found


def plot(results: dict[str, Any], path: Path) -> bool:
    """Draw predictions over measurements, and efficiencies; False where matplotlib is missing."""
    try:
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import pyplot, ticker
    except ImportError:
        return False
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2))
    every = fitted.checked(results)
    for network in results["networks"]:
        mine = [each for each in every if each.network == network]
        measured = [1e3 * each.row["step"] for each in mine]
        left.loglog(measured, [1e3 * each.predicted.step for each in mine], ".", label=network)
    ends = [1e3 * f(each.row["step"] for each in every) for f in (min, max)]
    left.plot(ends, ends, color="black", linewidth=0.6)
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(ticker.NullFormatter())
    left.set(xlabel="step, measured (ms)", ylabel="predicted (ms)", title="2 and 4 ranks")
    left.legend(fontsize=7)
    case = cases(results)[-1]
    work = fitted.work(results, case)
    alone = work.passes(results["batch"]) + work.update
    for number, (name, link) in enumerate(links(results).items()):
        for overlap, style in ((True, "-"), (False, ":")):
            ranks = (2, 4, *MANY)
            efficiency = [
                alone / fitted.many(results, case, link, count, results["batch"])[overlap]
                for count in ranks
            ]
            label = name if overlap else None
            right.semilogx(ranks, efficiency, style, color=f"C{number}", label=label, base=2)
    right.set(
        xlabel="hosts, a rank and a spare core each", ylabel="efficiency", ylim=(0, 1.05),
        title=f"weak scaling of {case}, predicted (dotted: without overlap)",
    )  # fmt: skip
    right.title.set_fontsize(10)
    right.set_xticks([2, *MANY], [str(count) for count in (2, *MANY)])
    right.legend(fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    return True


def renew(page: Path, tables: Mapping[str, str]) -> None:
    """Write tables into a page, each between the comments that name it.

    Raises
    ------
    ValueError
        The page has a place for a table that there is not, or lacks a place for one.
    """
    text = page.read_text()
    places = re.findall(r"<!-- begin: (.+?) -->", text)
    if set(places) != set(tables):
        raise ValueError(f"{page}: places and tables differ: {sorted(set(places) ^ set(tables))}")
    for title, content in tables.items():
        begin, end = f"<!-- begin: {title} -->", f"<!-- end: {title} -->"
        before, rest = text.split(begin, 1)
        after = rest.split(end, 1)[1]
        text = f"{before}{begin}\n{content}\n{end}{after}"
    page.write_text(text)
