"""The texts of ComfyUI's conditionings, put together as A1111's language says the same."""

import re
from typing import Any

from sd_ui.recipes import data
from sd_ui.recipes.comfy_graph import Graph, Link, Node
from sd_ui.recipes.recipe import Draft, plain

DEEPEST, MOST = 50, 300  # conditionings within each other, and in all: a few nodes can ask for 2^50 texts
TEXTS = ("text", "text_g", "clip_l", "prompt", "t5xxl", "text_positive")
EMBEDDING = re.compile(r"embedding:([^\s,():]+)")
WEIGHTED = re.compile(r"(?<!\\)\([^()]*[^\\]\)")
HANDED_ON = ("", "Reroute", "FluxGuidance", "InpaintModelConditioning")


class Texts:
    """clip_skip: of the text encoder that read the prompt; 0 where nothing says so."""

    def __init__(self, graph: Graph, draft: Draft) -> None:
        self._graph, self._draft = graph, draft
        self._left = MOST
        self.clip_skip = 0

    def prompt(self, conditioning: Any) -> str:
        """Conditionings that ComfyUI combines have the same weight each."""
        found = [text for text in self._of(conditioning, "positive", 0) if text] or [""]
        share = plain(1 / len(found))
        return found[0] if len(found) == 1 else " AND ".join(f"{text} :{share}" for text in found)

    def negative(self, conditioning: Any) -> str:
        skip = self.clip_skip
        found = [text for text in self._of(conditioning, "negative", 0) if text]
        self.clip_skip = skip or self.clip_skip
        if len(found) > 1:
            self._draft.note("Its negative prompts were combined; here they stand in one text.")
        return ", ".join(found)

    def _of(self, conditioning: Any, side: str, depth: int) -> list[str]:
        """The texts of which a conditioning is combined."""
        node, slot = self._graph.at(conditioning), getattr(conditioning, "slot", 0)
        self._left -= 1
        if node is None or depth > DEEPEST or self._left < 0:
            return []
        inputs = node.inputs
        if "conditioning_to" in inputs and "conditioning_from" in inputs:
            to, behind = (self._of(inputs[f"conditioning_{end}"], side, depth + 1) for end in ("to", "from"))
            if node.kind != "ConditioningConcat":
                self._passed(node)
                return to
            return [" BREAK ".join(filter(None, (text, *behind[:1]))) for text in to]
        if "conditioning_1" in inputs:
            return [text for end in ("1", "2") for text in self._of(inputs.get(f"conditioning_{end}"), side, depth + 1)]
        if node.kind == "ConditioningZeroOut":
            return []
        has_words = isinstance(inputs.get(side), str) or any(name in inputs for name in TEXTS)
        return self._text(node, side) if has_words else self._behind(node, slot, side, depth)

    def _text(self, node: Node, side: str) -> list[str]:
        said = [self._graph.value(node, name) for name in TEXTS if name in node.inputs]
        if "positive" in node.inputs and isinstance(node.inputs.get(side), str):  # a loader that has the texts in itself
            said, skip = [node.inputs[side]], node.inputs.get("clip_skip")
        else:
            skip = next((s for n in self._graph.chain(node.inputs.get("clip"), "clip") if (s := self._graph.value(n, "stop_at_clip_layer"))), None)
        layer = data.number(skip, 0)
        self.clip_skip = int(-layer) if -12 <= layer < 0 else self.clip_skip
        texts = list(dict.fromkeys(text for text in map(data.words, said) if text))
        if len(texts) > 1:
            self._draft.note("Its two text encoders were given different texts; the first one's is used.")
        if not texts and any(value for name in TEXTS if (value := self._graph.at(node.inputs.get(name)))):
            self._draft.note(f"The {side} text was made by another node while the graph ran; it does not say which.")
        return [self._ours(text) for text in texts[:1]]

    def _behind(self, node: Node, slot: int, side: str, depth: int) -> list[str]:
        """What a node changes that has a conditioning of its own, or one for each side."""
        through = ("positive", "negative")[slot] if slot in (0, 1) and "negative" in node.inputs else "conditioning"
        link = next((value for name in (through, "conditioning", side, "") if isinstance(value := node.inputs.get(name), Link)), None)
        if link and node.kind not in HANDED_ON:
            self._passed(node)
        return self._of(link, side, depth + 1)

    def _passed(self, node: Node) -> None:
        self._draft.note(f"{data.shown(node.kind)} changed what the words do; that was not taken over.")

    def _ours(self, text: str) -> str:
        """Square brackets are letters there; embeddings are called by their name alone here."""
        if WEIGHTED.search(text):
            self._draft.note("ComfyUI weighs words in another way, so that (words:1.2) are not equally strong.")
        if "#" in text:
            self._draft.note("What stands behind a # is a comment here.")
        return re.sub(r"(?<!\\)([\[\]])", r"\\\1", EMBEDDING.sub(lambda found: data.stem(found[1]), text))
