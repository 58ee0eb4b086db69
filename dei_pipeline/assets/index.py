"""Layer index: the composite-index engine on the DEI framework, each intermediate a table of its own."""

from dei_pipeline.methods import composite, reference_basis
from dei_pipeline.methods.framework import Framework, load
from dei_pipeline.provenance import Table
from dei_pipeline.tables import Inputs, table

DEI_FILES = ("methodology/dei.yaml", "methodology/rubrics")


def _dei(inputs: Inputs) -> Framework:
    return load(inputs.settings.methodology / "dei.yaml")


@table(
    "index/dei_inputs",
    needs=["mart/city_indicators", "core/city_lists", "core/framework"],
    split="year",
    files=DEI_FILES,
)
def dei_inputs(inputs: Inputs) -> Table:
    framework = _dei(inputs)
    cities = inputs.read("core/city_lists")
    return composite.inputs(framework, inputs.read("mart/city_indicators"), cities.filter(list_id=framework.city_list))


@table("index/thresholds", needs=["index/dei_inputs"], files=DEI_FILES)
def thresholds(inputs: Inputs) -> Table:
    return composite.thresholds(_dei(inputs), inputs.read("index/dei_inputs"))


@table("index/dei_normalised", needs=["index/dei_inputs", "index/thresholds"], split="year", files=DEI_FILES)
def dei_normalised(inputs: Inputs) -> Table:
    return composite.normalised(_dei(inputs), inputs.read("index/dei_inputs"), inputs.read("index/thresholds"))


@table("index/dei_weights", needs=["core/framework"], files=DEI_FILES)
def dei_weights(inputs: Inputs) -> Table:
    return composite.weights(_dei(inputs))


@table("index/dei_scores", needs=["index/dei_normalised", "index/dei_weights"], split="year", files=DEI_FILES)
def dei_scores(inputs: Inputs) -> Table:
    return composite.scores(_dei(inputs), inputs.read("index/dei_normalised"), inputs.read("index/dei_weights"))


@table("index/dei_ranks", needs=["index/dei_scores", "index/dei_inputs"], split="year", files=DEI_FILES)
def dei_ranks(inputs: Inputs) -> Table:
    return composite.ranks(_dei(inputs), inputs.read("index/dei_scores"), inputs.read("index/dei_inputs"))


@table(
    "index/dei_city_scores",
    needs=["core/observations", "core/tiers"],
    uses=["index/dei_ranks"],
    split="year",
)
def dei_city_scores(inputs: Inputs) -> Table:
    ranks = inputs.existing(["index/dei_ranks"]).get("index/dei_ranks")
    tiers = inputs.read("core/tiers").filter(index_id="dei")
    return reference_basis.city_scores(ranks, inputs.read("core/observations"), tiers)


TABLES = [dei_inputs, thresholds, dei_normalised, dei_weights, dei_scores, dei_ranks, dei_city_scores]
