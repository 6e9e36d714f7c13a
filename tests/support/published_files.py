"""Published models in files."""

from zooaudit.studies.published_names import Benchmark, Pair

REUSED = "train(mbnetv2,Flower102)"
NEW = f"{REUSED}->steal(resnet18)"
REUSE = Benchmark("ModelReuse", "Flower102", 102, 224, 0.2, (Pair(REUSED, NEW, "steal", True),))
