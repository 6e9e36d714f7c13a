"""Tables of what things take: training and UAPs against the public way, a cluster, larger audits, sweeps, and
waiting."""

from table_parts import load, spread

from zooaudit.cli.plan import sizing_table
from zooaudit.planning.measured import DOMAINS
from zooaudit.recipes.named import get_recipe


def speed_table() -> str:
    """Against the plain way and against ART."""
    zoo, uap = load("zoo_build"), load("uap_methods")
    seconds, rates = uap["seconds"], uap["fooling_rate"]
    phases = "; ".join(f"{name} {s['median']:.0f} s" for name, s in zoo["where_the_time_goes_s"].items())
    lines = [
        "| against the public way | theirs | ours | ratio |",
        "|---|---|---|---|",
        (
            "| models an hour, whole zoo (torchvision, DataLoader, float32; the faster of 0 and 2 loader"
            f" workers) | {zoo['plain']['models_an_hour']:.0f} |"
            f" {spread(zoo['farm']['models_an_hour'], '{:.0f}')} |"
            f" {spread(zoo['times_as_many_models'], '{:.1f}')} |"
        ),
        (
            f"| UAP at L-inf {uap['epsilon_linf']:g}: seconds (ART UniversalPerturbation, 2 passes,"
            f" {uap['art_points']} points) | {spread(seconds['art-deepfool'], '{:.1f}')} |"
            f" {spread(seconds['gradient'], '{:.1f}')} | {uap['times_faster']:.0f} |"
        ),
        f"| its held-out fooling rate | {spread(rates['art-deepfool'])} | {spread(rates['gradient'])} | |",
        "",
        (
            f"Where an audit's time goes: {phases}. "
            f"Orchestration (farm start and stop) is {zoo['orchestration_share']['median']:.0%} of the run."
        ),
    ]
    return "\n".join(lines)


def cluster_table() -> str:
    """What the farm and the store cost beside training."""
    farm, read = load("farm_overhead"), load("answers_read")
    overhead, speed = farm["overhead_ms_a_model"], read["speed_against_plain"]
    memory = farm["driver_mib_by_specs"]
    lines = [
        (
            f"Measured on {farm['hardware']}, the S3 server (SeaweedFS) on the same two cores; median [least,"
            " most]:"
        ),
        "",
        "| | |",
        "|---|---|",
        *(
            f"| beside training, a model ({farm['models']:,} tiny models, {place}; n = {s['n']}) |"
            f" {spread(s, '{:.0f}')} ms |"
            for place, s in overhead.items()
        ),
        (
            "| driver's memory, by number of models |"
            f" {', '.join(f'{int(n):,}: {mib:.0f} MiB' for n, mib in memory.items())} |"
        ),
        (
            f"| reading the answers of {read['models']} models from SeaweedFS, checked, against plain files"
            f" (n = {speed['S3']['n']}) | {spread(speed['S3'], '{:.2f}')} of their speed |"
        ),
        f"| the same once the local cache has them | {spread(speed['S3, cached'], '{:.2f}')} |",
    ]
    return "\n".join(lines)


def sizing() -> str:
    """What larger audits take."""
    recipe = get_recipe("fmnist-paper")
    return sizing_table(recipe, DOMAINS[recipe.dataset])


def sweep_table() -> str:
    """A sweep on stored answers against asking anew."""
    found = load("sweep")
    models = found["anew_by_points"]["100"]["models"]
    stored, asked, trained = (
        found["stored_s"],
        found["times_faster_than_asking"],
        found["times_faster_than_training"],
    )
    place = f"{found['hardware']}; commit {found['commit']}"
    once = found["anew_by_points"]["100"]["seconds"]
    anew = f"{found['anew_s'] / 60:.0f} min, {spread(asked, '{:.0f}')} times as long"
    with_asking = f"{found['anew_s'] / (stored['median'] + once):.1f} times"
    retrained = f"{found['trained_s'] / 3600:.0f} h, {spread(trained, '{:,.0f}')} times as long"
    rows = {
        f"{found['trials']} trials over N and top-k, {models} models of `{found['recipe']}`; {place}": "",
        "---": "---",
        f"`zooaudit sweep answers`, Ray's start included (n = {stored['n']})": (
            f"{spread(stored, '{:.0f}')} s"
        ),
        "all models asked anew for each trial, counted from three (N = 10, 50, 100)": anew,
        f"the same, with the {once:.0f} s that asking once takes added to the sweep": with_asking,
        "and the zoo trained anew: counted from records of a busy machine, an upper bound": retrained,
    }
    return "\n".join(f"| {what} | {value} |" for what, value in rows.items())


WAITING = {
    "--version": "`zooaudit --version`",
    "score --help": "`zooaudit score --help`",
    "audit, without Ray": "`zooaudit audit --recipe digits --farm serial`, whole",
    "audit, on Ray": "`zooaudit audit --recipe digits`, whole, on a Ray of its own",
    "serve, first line": "`zooaudit serve`: until its first line",
    "serve, ready": "until it is ready",
    "serve, first page": "until the console's page is there",
    "serve, ended after SIGTERM": "from SIGTERM until it has ended",
}


def waiting_table() -> str:
    """How long a person waits."""
    found = load("waiting")
    rows = [
        f"| {result} | {found['seconds'][name]['n']} | {spread(found['seconds'][name], '{:.2g}')} |"
        for name, result in WAITING.items()
    ]
    head = (
        f"Seconds, median [least, most]; {found['hardware']}; commit {found['commit']}; `{found['command']}`:"
    )
    return "\n".join([head, "", "| | n | s |", "|---|---|---|", *rows])
