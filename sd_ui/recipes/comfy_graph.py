"""ComfyUI's graph of nodes, from either of the two texts in its pictures: "prompt" (what was run) or "workflow" (what was on the screen)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sd_ui.recipes import data

MOST_NODES, MOST_INPUTS = 20_000, 200
LONGEST_PATH = 400  # nodes from a sampler to where its chain ends
CONTROL = ("fixed", "randomize", "increment", "decrement")  # what the page does with a seed after a run: a value without a name
NOISE = ("add_noise", "noise_seed", "")
WIDGETS: dict[str, tuple[str, ...]] = {  # the names of a workflow's values, which it gives in the order of the widgets; "": CONTROL
    "KSampler": ("seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (*NOISE, "steps", "cfg", "sampler_name", "scheduler", "start_at_step", "end_at_step", "return_with_leftover_noise"),
    "SamplerCustom": (*NOISE, "cfg"),
    "RandomNoise": ("noise_seed", ""),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "KarrasScheduler": ("steps",),
    "ExponentialScheduler": ("steps",),
    "AlignYourStepsScheduler": ("model_type", "steps", "denoise"),
    "SDTurboScheduler": ("steps", "denoise"),
    "CFGGuider": ("cfg",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CheckpointLoader": ("config_name", "ckpt_name"),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "VAELoader": ("vae_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeSDXL": ("width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l"),
    "CLIPTextEncodeSDXLRefiner": ("ascore", "width", "height", "text"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "RepeatLatentBatch": ("amount",),
    "LoadImage": ("image",),
    "PrimitiveNode": ("value", ""),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "PrimitiveInt": ("value", ""),
    "PrimitiveFloat": ("value",),
    "StringConcatenate": ("string_a", "string_b", "delimiter"),
}
VALUES = ("value", "text", "string", "seed", "noise_seed", "int", "float", "number", "Value", "prompt")  # of a node that only holds one
MUTED, BYPASSED = 2, 4  # modes of a workflow's node


@dataclass(frozen=True)
class Link:
    """Another node's output."""

    node: str
    slot: int


@dataclass(frozen=True)
class Node:
    """kind: its class; "" for one that is bypassed. inputs: values and links by name."""

    id: str
    kind: str
    inputs: dict[str, Any]

    def link(self, *names: str) -> Link | None:
        """The first of these inputs that is a link; where none is called so, the only link there is."""
        links = [value for value in self.inputs.values() if isinstance(value, Link)]
        named = [self.inputs[name] for name in names if isinstance(self.inputs.get(name), Link)]
        return named[0] if named else links[0] if len(links) == 1 else None


@dataclass(frozen=True)
class Graph:
    nodes: dict[str, Node]

    def at(self, link: Any) -> Node | None:
        return self.nodes.get(link.node) if isinstance(link, Link) else None

    def chain(self, start: Any, *names: str) -> Iterator[Node]:
        """The nodes behind a link, each found through one of these inputs of the one before. It ends in a circle as anywhere else."""
        seen: set[str] = set()
        node = self.at(start)
        while node and node.id not in seen and len(seen) < LONGEST_PATH:
            yield node
            seen.add(node.id)
            node = self.at(node.link(*names))

    def value(self, node: Node, *names: str) -> Any:
        """What one of these inputs holds, by way of nodes that only hold a value or join two texts; None where it is computed."""
        said = data.first(node.inputs.get(name) for name in names)
        for _ in range(20):
            source = self.at(said)
            if source is None:
                break
            if "string_a" in source.inputs:
                parts = [self._held(source.inputs.get(name)) for name in ("string_a", "string_b")]
                return data.words(source.inputs.get("delimiter")).join(data.words(part) for part in parts)
            said = data.first(source.inputs.get(name) for name in VALUES) or source.link()
        return None if isinstance(said, Link) else said

    def _held(self, said: Any) -> Any:
        source = self.at(said)
        return said if source is None else data.first(v for v in map(source.inputs.get, VALUES) if not isinstance(v, Link))


# ---------------------------------------------------------------- reading
def from_prompt(found: dict[str, Any]) -> Graph | None:
    """{"3": {"class_type": "KSampler", "inputs": {"seed": 5, "model": ["4", 0]}}}; None where it is something else."""
    rows = {key: row for key, row in found.items() if isinstance(row, dict) and isinstance(row.get("class_type"), str)}
    if not rows or len(rows) > MOST_NODES:
        return None
    return Graph({key: Node(key, row["class_type"], _linked(data.table(row, "inputs"), rows)) for key, row in rows.items()})


def _linked(inputs: dict[str, Any], rows: dict[str, Any]) -> dict[str, Any]:
    some = islice(inputs.items(), MOST_INPUTS)
    return {name: _link(value) if _is_link(value) and str(value[0]) in rows else value for name, value in some}


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and type(value[0]) in (str, int) and type(value[1]) is int


def _link(value: list[Any]) -> Link:
    return Link(str(value[0]), value[1])


def from_workflow(found: dict[str, Any]) -> Graph | None:
    """{"nodes": [{"id": 3, "type": "KSampler", "inputs": [{"name": "model", "link": 7}], "widgets_values": [5, "fixed", ...]}], "links": [...]}."""
    rows = [row for row in data.rows(found.get("nodes")) if isinstance(row, dict) and type(row.get("id")) in (int, str)]
    if not rows or len(rows) > MOST_NODES:
        return None
    links = dict(filter(None, map(_origin, data.rows(found.get("links")))))
    used = [row for row in rows if row.get("mode") != MUTED]
    return Graph({str(row["id"]): _node(row, links) for row in used})


def _origin(row: Any) -> tuple[int, Link] | None:
    """A link's number and where it comes from; the older form is a list, the newer one an object."""
    said = [row.get(name) for name in ("id", "origin_id", "origin_slot")] if isinstance(row, dict) else data.rows(row)[:3]
    if len(said) < 3 or type(said[0]) is not int or type(said[1]) not in (int, str) or type(said[2]) is not int:
        return None
    return said[0], Link(str(said[1]), said[2])


def _node(row: dict[str, Any], links: dict[int, Link]) -> Node:
    kind, said = data.words(row.get("type")), row.get("widgets_values")
    bypassed = row.get("mode") == BYPASSED
    values = {} if bypassed else dict(islice(said.items(), MOST_INPUTS)) if isinstance(said, dict) else _named(kind, data.rows(said)[:MOST_INPUTS])
    inputs = [entry for entry in data.rows(row.get("inputs"))[:MOST_INPUTS] if isinstance(entry, dict) and isinstance(entry.get("name"), str)]
    linked = {entry["name"]: links[entry["link"]] for entry in inputs if type(entry.get("link")) is int and entry["link"] in links}
    return Node(str(row["id"]), "" if bypassed else kind, values | linked)


def _named(kind: str, values: list[Any]) -> dict[str, Any]:
    """The values by the names of their widgets. Those of an unknown node keep their kind: rgthree's LoRAs say what they are."""
    names = WIDGETS.get(kind)
    if names is None:
        return {f"value_{i}": value for i, value in enumerate(values) if isinstance(value, dict)}
    named, place = dict[str, Any](), 0
    for name in names:
        if place < len(values) and (name or values[place] in CONTROL):
            named[name] = values[place]
            place += 1
    named.pop("", None)
    return named
