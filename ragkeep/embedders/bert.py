"""A BERT-family encoder as an OpenVINO graph, built straight from its safetensors: no torch, no ONNX, no export.

Devlin et al. 2019, "BERT", section 3 and appendix A.2; pooling as in Reimers and Gurevych 2019, "Sentence-BERT",
section 3. Rows of a batch have equal lengths, so the graph needs no attention mask: see openvino.py for why.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..models import Encoder


def bert_graph(encoder: Encoder) -> Any:
    """Build the graph: `ids` int32 (rows, tokens) -> unit rows float32 (rows, hidden).

    Raises ModelError when a weight is missing or the activation is unknown.
    """
    import openvino as ov
    from openvino import opset13 as op
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(encoder.weights), "numpy") as file:
            layers = _Layers(op, _Weights(file, encoder), encoder)
            ids = op.parameter([-1, -1], np.int32, name="ids")
            ids.output(0).set_names({"ids"})
            x = layers.embeddings(ids)
            for number in range(encoder.layers):
                x = layers.block(x, f"encoder.layer.{number}.")
            return ov.Model([op.result(layers.pool(x))], [ids], encoder.folder.name)
    except SafetensorError as error:
        raise ModelError(f"{encoder.weights} cannot be read ({error}): fetch the model again") from error


class _Weights:
    """Tensors by their name in the bare encoder, whatever head or prefix they were saved under."""

    def __init__(self, file: Any, encoder: Encoder) -> None:
        names = list(file.keys())
        tail = "embeddings.word_embeddings.weight"
        found = next((n for n in names if n.endswith(tail)), None)
        if found is None:
            raise ModelError(
                f"{encoder.weights} has no {tail}: it is not a BERT-family encoder; use embed.backend: torch"
            )
        self.file, self.names, self.prefix = file, set(names), found.removesuffix(tail)
        self.path = encoder.weights

    def __call__(self, name: str) -> NDArray[np.float32]:
        full = self.prefix + name
        if full not in self.names:
            raise ModelError(f"{self.path} has no tensor {full}: fetch the model again, or use embed.backend: torch")
        return np.ascontiguousarray(self.file.get_tensor(full), dtype=np.float32)


class _Layers:
    """The parts of the encoder as OpenVINO nodes."""

    def __init__(self, op: Any, weights: _Weights, encoder: Encoder) -> None:
        self.op, self.weights, self.encoder = op, weights, encoder
        if encoder.activation not in ("gelu", "relu", "gelu_new", "gelu_pytorch_tanh"):
            raise ModelError(f"{encoder.folder} uses {encoder.activation}: use embed.backend: torch")

    def ints(self, *values: int) -> Any:
        return self.op.constant(np.array(values, np.int64))

    def embeddings(self, ids: Any) -> Any:
        """Word + position + first token type, normalised: (rows, tokens, hidden)."""
        op, first = self.op, self.encoder.first_position
        zero, one = op.constant(np.int32(0)), op.constant(np.int32(1))
        tokens = op.gather(op.shape_of(ids, "i32"), one, zero)
        places = self.weights("embeddings.position_embeddings.weight")[first:]
        places = places + self.weights("embeddings.token_type_embeddings.weight")[0]
        where = op.range(zero, tokens, one, "i32")
        words = op.gather(op.constant(self.weights("embeddings.word_embeddings.weight")), ids, zero)
        return self.norm(op.add(words, op.gather(op.constant(places), where, zero)), "embeddings.LayerNorm")

    def block(self, x: Any, name: str) -> Any:
        """One transformer layer, residuals before the norms: (rows, tokens, hidden) to the same."""
        op = self.op
        q, k, v = (self.heads(self.linear(x, f"{name}attention.self.{part}")) for part in ("query", "key", "value"))
        seen = op.scaled_dot_product_attention(q, k, v, causal=False)
        seen = op.reshape(op.transpose(seen, self.ints(0, 2, 1, 3)), self.ints(0, 0, self.encoder.hidden), True)
        x = self.norm(op.add(x, self.linear(seen, f"{name}attention.output.dense")), f"{name}attention.output.LayerNorm")
        wide = self.activation(self.linear(x, f"{name}intermediate.dense"))
        return self.norm(op.add(x, self.linear(wide, f"{name}output.dense")), f"{name}output.LayerNorm")

    def heads(self, x: Any) -> Any:
        """(rows, tokens, hidden) to (rows, heads, tokens, hidden / heads)."""
        e = self.encoder
        split = self.op.reshape(x, self.ints(0, 0, e.heads, e.hidden // e.heads), True)
        return self.op.transpose(split, self.ints(0, 2, 1, 3))

    def linear(self, x: Any, name: str) -> Any:
        weight, bias = self.weights(f"{name}.weight"), self.weights(f"{name}.bias")
        return self.op.add(self.op.matmul(x, self.op.constant(weight), False, True), self.op.constant(bias))

    def norm(self, x: Any, name: str) -> Any:
        op = self.op
        unit = op.mvn(x, self.ints(-1), True, self.encoder.epsilon, "inside_sqrt")
        scaled = op.multiply(unit, op.constant(self.weights(f"{name}.weight")))
        return op.add(scaled, op.constant(self.weights(f"{name}.bias")))

    def activation(self, x: Any) -> Any:
        kind = self.encoder.activation
        if kind == "relu":
            return self.op.relu(x)
        return self.op.gelu(x, "erf" if kind == "gelu" else "tanh")

    def pool(self, x: Any) -> Any:
        """Mean over the tokens, or the first one, to unit length: (rows, hidden)."""
        op = self.op
        if self.encoder.pooling == "cls":
            pooled = op.gather(x, op.constant(np.int32(0)), op.constant(np.int32(1)))
        else:
            pooled = op.reduce_mean(x, self.ints(1), False)
        return op.normalize_l2(pooled, self.ints(1), 1e-12, "max")
